#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "creator.h"
#include "state.h"
#include "tracee.h"

#include "onlooker_watch.h"

#define THREADS_LIMIT (1u << 20)

/* Looks at the list of threads: each finds those that came while the one before it was made. */
#define ROUNDS_LIMIT 100

/* How long another tracer, such as a recorder that has stopped a thread, is waited for. */
#define TRACER_LIMIT_NS 100000000u
#define TRACER_NAP_NS 100000u

/* How soon the end is noticed. */
#define NAP_NS 20000000u

struct watch {
    recorder *recorder;
    int32_t pid;
    bool own_child;
    pthread_t worker;
    bool works;
    siginfo_t event;      /* the worker's */
    pthread_mutex_t lock; /* for the recorder and what follows */
    pthread_cond_t changed;
    bool begun, ended;
    int error;
    int32_t *present;
    uint32_t present_count, present_capacity;
};

/* Who traces a thread, as /proc tells; 0: nobody. */
static int32_t tracer_of(int32_t pid, int32_t tid)
{
    char path[64], line[256];
    int32_t tracer = 0;
    snprintf(path, sizeof path, "/proc/%d/task/%d/status", pid, tid);
    FILE *file = fopen(path, "re");
    while (file && fgets(line, sizeof line, file) && sscanf(line, "TracerPid: %d", &tracer) != 1)
        ;
    if (file)
        fclose(file);
    return tracer;
}

/* A clone that is no thread of the process (its exit signal is not SIGCHLD, or it would not be
 * traced). A thread that has ended is neither there nor here. */
static bool is_foreign(const watch *watch, int32_t tid)
{
    char thread[64], process[32];
    snprintf(thread, sizeof thread, "/proc/%d/task/%d", watch->pid, tid);
    snprintf(process, sizeof process, "/proc/%d", tid);
    return access(thread, F_OK) && !access(process, F_OK);
}

/* --- the worker: what happens to the threads --- */

static bool count_created(watch *watch, int32_t creator)
{
    unsigned long created = 0;
    if (ptrace(PTRACE_GETEVENTMSG, creator, NULL, &created) < 0 ||
        is_foreign(watch, (int32_t)created))
        return true;
    pthread_mutex_lock(&watch->lock);
    int result = creator_count(watch->recorder, creator);
    pthread_mutex_unlock(&watch->lock);
    return result == ONLOOKER_OK;
}

/* The worker is ended where it waits, and then no frame on its stack may have anything that an
 * address was taken of: AddressSanitizer is not told that they have gone. So these stay functions.
 */
#define APART __attribute__((noinline))

/* Lets a thread go on to which something has happened. False if the process is not there any more,
 * or another program. */
static APART bool attend(watch *watch, int32_t tid)
{
    tracee thread = {.tid = tid, .keep = watch->own_child && tid == watch->pid};
    bool goes_on = true;
    switch (tracee_poll(&thread)) {
    case TRACEE_NONE: /* it has been killed meanwhile, of which we will be told */
        return true;
    case TRACEE_GONE:
        return tid != watch->pid;
    case TRACEE_STOP:
        if (is_foreign(watch, tid)) {
            tracee_detach(&thread);
            return true;
        }
        tracee_continue(&thread, thread.of_job ? PTRACE_LISTEN : PTRACE_CONT);
        return true;
    case TRACEE_CLONE:
        goes_on = count_created(watch, tid);
        break;
    case TRACEE_SYSCALL:
    case TRACEE_SIGNAL:
        break;
    }
    tracee_continue(&thread, PTRACE_CONT);
    return goes_on;
}

/* Attends to the next thread. WAITING is where, and only where, the worker can be ended. */
static bool attend_next(watch *watch, bool waiting)
{
    int flags = WSTOPPED | WEXITED | WNOWAIT | __WALL | __WNOTHREAD;
    watch->event.si_pid = 0;
    if (waiting)
        pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL);
    int result = waitid(P_ALL, 0, &watch->event, waiting ? flags : flags | WNOHANG);
    if (waiting)
        pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
    if (result < 0)
        return waiting && errno == EINTR;
    return watch->event.si_pid ? attend(watch, watch->event.si_pid) : waiting;
}

/* --- the worker: seizing all threads --- */

/* Returns an errno if the thread is another tracer's. */
static int seize(watch *watch, int32_t tid)
{
    uint64_t until_ns = monotonic_ns() + TRACER_LIMIT_NS;
    for (;;) {
        int error = tracee_seize(tid, PTRACE_O_TRACECLONE);
        if (!error) {
            /* There is room: seize_new has asked for it. */
            watch->present[watch->present_count++] = tid;
            return 0;
        }
        int32_t tracer = tracer_of(watch->pid, tid);
        /* It has ended, or is the kernel's (of io_uring), or is ours since it was created. */
        if (!tracer || tracer == (int32_t)syscall(SYS_gettid))
            return 0;
        if (monotonic_ns() > until_ns)
            return error;
        nanosleep(&(struct timespec){.tv_nsec = TRACER_NAP_NS}, NULL);
    }
}

/* Seizes threads that are not KNOWN yet. */
static int seize_new(watch *watch, DIR *tasks, map *known)
{
    rewinddir(tasks);
    for (const struct dirent *entry; (entry = readdir(tasks));) {
        int32_t tid = atoi(entry->d_name);
        if (tid <= 0 || map_get(known, (uint32_t)tid) != MAP_ABSENT)
            continue;
        if (!array_reserve((void **)&watch->present, &watch->present_capacity, watch->present_count,
                           sizeof *watch->present, THREADS_LIMIT) ||
            !map_set(known, (uint32_t)tid, 0))
            return ENOMEM;
        int error = seize(watch, tid);
        if (error)
            return error;
    }
    return 0;
}

/* Only who is not seized yet can create threads that are not, so there are none when a look at the
 * list shows no new one. */
static APART int seize_all(watch *watch)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/task", watch->pid);
    DIR *tasks = opendir(path);
    if (!tasks)
        return ESRCH;
    map known = {0};
    int error = 0;
    uint32_t before = UINT32_MAX;
    for (int round = 0; !error && before != watch->present_count && round < ROUNDS_LIMIT; round++) {
        before = watch->present_count;
        error = seize_new(watch, tasks, &known);
        while (attend_next(watch, false))
            ;
    }
    map_free(&known);
    closedir(tasks);
    return error || watch->present_count ? error : EPERM;
}

static void *work(void *argument)
{
    watch *watch = argument;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
    /* Threads stand still for as long as this one waits for a CPU. Where it may not, well. */
    setpriority(PRIO_PROCESS, 0, -20); /* on Linux, of this thread only */
    int error = seize_all(watch);
    pthread_mutex_lock(&watch->lock);
    watch->error = error;
    watch->begun = true;
    pthread_cond_broadcast(&watch->changed);
    pthread_mutex_unlock(&watch->lock);
    while (!error && attend_next(watch, true))
        ;
    pthread_mutex_lock(&watch->lock);
    watch->ended = true;
    pthread_mutex_unlock(&watch->lock);
    return NULL; /* with that, the kernel lets go of all threads */
}

/* --- the boundary --- */

watch *watch_open(recorder *recorder)
{
    watch *new = calloc(1, sizeof *new);
    if (!new)
        return NULL;
    new->recorder = recorder;
    new->pid = recorder->tasks.pid;
    new->own_child = recorder->options.own_child != 0;
    pthread_mutex_init(&new->lock, NULL);
    pthread_cond_init(&new->changed, NULL);
    return new;
}

int watch_begin(watch *watch)
{
    sigset_t all, own;
    /* Signals are for the threads of whoever called us. But where SIGCHLD, of which there is one
     * for each stop, is ignored it is so only if the tracer does not block it (sig_ignored). */
    sigfillset(&all);
    sigdelset(&all, SIGCHLD);
    pthread_sigmask(SIG_SETMASK, &all, &own);
    int error = pthread_create(&watch->worker, NULL, work, watch);
    pthread_sigmask(SIG_SETMASK, &own, NULL);
    if (error)
        return error;
    watch->works = true;
    pthread_mutex_lock(&watch->lock);
    while (!watch->begun)
        pthread_cond_wait(&watch->changed, &watch->lock);
    error = watch->error;
    pthread_mutex_unlock(&watch->lock);
    return error;
}

const int32_t *watch_present(const watch *watch, uint32_t *count)
{
    *count = watch->present_count;
    return watch->present;
}

int watch_run(watch *watch, uint64_t until_ns)
{
    for (;;) {
        watch_hold(watch);
        bool ended = watch->ended;
        watch_release(watch);
        uint64_t now_ns = monotonic_ns();
        if (ended || !memory_alive(watch->recorder->source))
            return ONLOOKER_GONE;
        if (now_ns >= until_ns)
            return ONLOOKER_OK;
        uint64_t nap_ns = until_ns - now_ns < NAP_NS ? until_ns - now_ns : NAP_NS;
        if (nanosleep(&(struct timespec){.tv_nsec = (long)nap_ns}, NULL))
            return ONLOOKER_INTERRUPTED;
    }
}

void watch_hold(watch *watch)
{
    pthread_mutex_lock(&watch->lock);
}

void watch_release(watch *watch)
{
    pthread_mutex_unlock(&watch->lock);
}

void watch_end(watch *watch)
{
    if (!watch->works)
        return;
    pthread_cancel(watch->worker);
    pthread_join(watch->worker, NULL);
    watch->works = false;
}

void watch_close(watch *watch)
{
    if (!watch)
        return;
    watch_end(watch);
    pthread_cond_destroy(&watch->changed);
    pthread_mutex_destroy(&watch->lock);
    free(watch->present);
    free(watch);
}
