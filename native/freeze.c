#include "recorder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "inject.h"
#include "onlooker_freeze.h"

#define STATUS_LIMIT 16384
#define THREADS_LIMIT 100000u
#define LEFTOVERS_LIMIT 1000u
#define ROUNDS_LIMIT 1000
#define CANDIDATES_LIMIT 64
/* What a recording of ours stops a thread for takes microseconds, but it may do so all the time. */
#define OWN_TRACER_NS 500000000u
#define BIRTH_LIMIT_NS UINT64_C(10000000000)
/* Any thread will do to wait for a zombie: one that does not stop soon is left for another. */
#define REAP_CANDIDATES 10

/* Of field 9 of /proc/PID/stat: a thread that only works for the kernel (include/linux/sched.h). */
#define PF_IO_WORKER 0x10u
#define PF_USER_WORKER 0x4000u

struct freeze {
    freeze_options options;
    int32_t *leftovers;
    inject_site site;
    pthread_t worker;
    bool works;           /* the worker is to be joined */
    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t changed;
    freeze_report report;
    bool begun, ending;
    /* Only the worker's. */
    tracee *tracees; /* by rising tid, but for those that came last */
    uint32_t count, capacity;
    tracee child;
    int32_t inside; /* the child, as the target knows it */
};

/* --- what /proc tells --- */

/* A file of /proc/PID/task/TID. False if it is not there, or longer than what it is read into. */
static bool read_task_file(int32_t pid, int32_t tid, const char *name, char *out, size_t size)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/task/%d/%s", pid, tid, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t length = fd < 0 ? -1 : read(fd, out, size);
    if (fd >= 0)
        close(fd);
    bool whole = length > 0 && (size_t)length < size;
    out[whole ? length : 0] = 0;
    return whole;
}

/* Some fields of /proc/PID/task/TID/stat. */
typedef struct thread_stat {
    char state;
    int32_t parent;
    uint32_t flags;
} thread_stat;

static bool read_stat(int32_t pid, int32_t tid, thread_stat *out)
{
    char text[1024];
    if (!read_task_file(pid, tid, "stat", text, sizeof text))
        return false;
    const char *rest = strrchr(text, ')'); /* the name may have some too */
    return rest && sscanf(rest + 1, " %c %d %*d %*d %*d %*d %u", &out->state, &out->parent,
                          &out->flags) == 3;
}

/* A number of /proc/PID/task/TID/status; 0 if it is not there. */
static int status_number(const char *status, const char *field)
{
    const char *line = strstr(status, field);
    int value;
    return line && sscanf(line + strlen(field), " %d", &value) == 1 ? value : 0;
}

/* Whether a filter may kill the process for a system call of this thread, or a shadow stack for
 * its return to where it was not called from. */
static bool is_guarded(int32_t pid, int32_t tid)
{
    char status[STATUS_LIMIT];
    return !read_task_file(pid, tid, "status", status, sizeof status) ||
           status_number(status, "\nSeccomp:") || strstr(status, "shstk");
}

/* --- stopping all threads --- */

static int fail(freeze *frozen, int outcome, int32_t tid, int error)
{
    pthread_mutex_lock(&frozen->lock);
    frozen->report.tid = tid;
    frozen->report.error = error;
    pthread_mutex_unlock(&frozen->lock);
    return outcome;
}

#define SEIZED_AFTER_ALL -1

/* After the kernel has not let us seize a thread: ONLOOKER_FROZEN if it need not be stopped. */
static int judge_refusal(freeze *frozen, tracee *thread, int error)
{
    int32_t pid = frozen->options.pid;
    uint64_t until_ns = monotonic_ns() + OWN_TRACER_NS;
    for (;;) {
        thread_stat stat;
        if (error == ESRCH || !read_stat(pid, thread->tid, &stat) || strchr("ZXx", stat.state) ||
            stat.flags & (PF_IO_WORKER | PF_USER_WORKER))
            return ONLOOKER_FROZEN;
        char status[STATUS_LIMIT];
        thread_stat ours;
        read_task_file(pid, thread->tid, "status", status, sizeof status);
        int tracer = status_number(status, "\nTracerPid:");
        if (tracer && !read_stat(getpid(), tracer, &ours))
            return fail(frozen, ONLOOKER_FREEZE_REFUSED, thread->tid, error);
        error = tracee_interrupt_new(thread);
        if (!error)
            return SEIZED_AFTER_ALL;
        if (monotonic_ns() > until_ns)
            return fail(frozen, tracer ? ONLOOKER_FREEZE_TRACED : ONLOOKER_FREEZE_REFUSED,
                        thread->tid, error);
        nanosleep(&(struct timespec){.tv_nsec = 20000}, NULL);
    }
}

static int compare_tids(const void *left, const void *right)
{
    int32_t a = ((const tracee *)left)->tid, b = ((const tracee *)right)->tid;
    return (a > b) - (a < b);
}

/* Seizes the threads that are not among the tracees yet. */
static int seize_new(freeze *frozen, DIR *tasks)
{
    uint32_t known = frozen->count;
    rewinddir(tasks);
    for (const struct dirent *entry; (entry = readdir(tasks));) {
        tracee thread = {.tid = atoi(entry->d_name)};
        if (thread.tid <= 0 ||
            (known && bsearch(&thread, frozen->tracees, known, sizeof thread, compare_tids)))
            continue;
        thread.keep = frozen->options.own_child && thread.tid == frozen->options.pid;
        if (!array_reserve((void **)&frozen->tracees, &frozen->capacity, frozen->count,
                           sizeof thread, THREADS_LIMIT))
            return fail(frozen, ONLOOKER_FREEZE_CROWDED, thread.tid, 0);
        int error = tracee_interrupt_new(&thread);
        if (error) {
            int outcome = judge_refusal(frozen, &thread, error);
            if (outcome == ONLOOKER_FROZEN)
                continue;
            if (outcome != SEIZED_AFTER_ALL)
                return outcome;
        }
        frozen->tracees[frozen->count++] = thread;
    }
    return ONLOOKER_FROZEN;
}

static int await_stops(freeze *frozen, uint32_t from, uint64_t until_ns)
{
    for (uint32_t i = from; i < frozen->count; i++) {
        tracee *thread = &frozen->tracees[i];
        switch (tracee_wait_stop(thread, until_ns)) {
        case TRACEE_STOP:
            inject_resume_wait(thread->tid);
            break;
        case TRACEE_GONE:
            thread->stopped = false;
            break;
        default:
            return fail(frozen, ONLOOKER_FREEZE_STUCK, thread->tid, 0);
        }
    }
    return ONLOOKER_FROZEN;
}

/* Stops all threads: only who runs can make new ones, so there are none when a look at the list,
 * taken when all others had stopped, shows no new one. */
static int stop_all(freeze *frozen, DIR *tasks)
{
    uint64_t until_ns = monotonic_ns() + frozen->options.stop_limit_ns;
    for (int round = 0; round < ROUNDS_LIMIT; round++) {
        uint32_t known = frozen->count;
        int outcome = seize_new(frozen, tasks);
        if (outcome == ONLOOKER_FROZEN)
            outcome = await_stops(frozen, known, until_ns);
        if (outcome != ONLOOKER_FROZEN)
            return outcome;
        if (frozen->count == known)
            break;
        qsort(frozen->tracees, frozen->count, sizeof *frozen->tracees, compare_tids);
        if (round == ROUNDS_LIMIT - 1)
            return fail(frozen, ONLOOKER_FREEZE_CROWDED, frozen->options.pid, 0);
    }
    for (uint32_t i = 0; i < frozen->count; i++)
        frozen->report.threads += frozen->tracees[i].stopped;
    return frozen->report.threads ? ONLOOKER_FROZEN : ONLOOKER_FREEZE_GONE;
}

static void let_all_go(freeze *frozen)
{
    for (uint32_t i = 0; i < frozen->count; i++)
        if (frozen->tracees[i].stopped)
            tracee_detach(&frozen->tracees[i]);
    frozen->count = 0;
}

/* --- the clone --- */

static int make_clone(freeze *frozen)
{
    int outcome = fail(frozen, ONLOOKER_FREEZE_NO_THREAD, 0, 0);
    int candidates = 0;
    for (int fitness = 0; fitness < INJECT_UNFIT; fitness++) {
        for (uint32_t i = 0; i < frozen->count && candidates < CANDIDATES_LIMIT; i++) {
            tracee *thread = &frozen->tracees[i];
            if (!thread->stopped || inject_fitness(thread->tid) != fitness)
                continue;
            candidates++;
            if (!inject_site_holds(thread->tid, &frozen->site))
                return ONLOOKER_FREEZE_NO_SITE;
            if (is_guarded(frozen->options.pid, thread->tid))
                continue;
            int error = inject_clone(thread, &frozen->site, &frozen->child, &frozen->inside);
            if (error != EFAULT) /* else its stack has no room */
                return error || !frozen->child.tid
                           ? fail(frozen, ONLOOKER_FREEZE_NO_CLONE, thread->tid, error)
                           : ONLOOKER_FROZEN;
        }
    }
    return outcome;
}

/* Should memory run out, the kernel kills the clone and not the target for it. It is also how a
 * clone that was killed is told from other zombies, so it comes before what kills the clone. */
static void mark(const tracee *child)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/oom_score_adj", child->tid);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd >= 0) {
        dprintf(fd, "%d", ONLOOKER_FREEZE_OOM_SCORE_ADJ);
        close(fd);
    }
}

/* The clone has its memory as soon as it exists; that it stands still is not to be waited for
 * while the target does. From here on it dies with us. */
static int await_birth(freeze *frozen)
{
    tracee *child = &frozen->child;
    mark(child);
    if (tracee_wait(child, monotonic_ns() + BIRTH_LIMIT_NS) == TRACEE_STOP &&
        ptrace(PTRACE_SETOPTIONS, child->tid, NULL, (void *)(intptr_t)PTRACE_O_EXITKILL) == 0)
        return ONLOOKER_FROZEN;
    return fail(frozen, ONLOOKER_FREEZE_NO_CLONE, child->tid, ESRCH);
}

/* Has a thread of the target wait for its zombies, so many of COUNT as it could. */
static uint32_t reap_inside(freeze *frozen, DIR *tasks, const int32_t *zombies, uint32_t count)
{
    uint64_t limit_ns = frozen->options.stop_limit_ns / REAP_CANDIDATES;
    uint32_t done = 0;
    int candidates = 0;
    rewinddir(tasks);
    for (const struct dirent *entry;
         done < count && candidates < REAP_CANDIDATES && (entry = readdir(tasks));) {
        tracee thread = {.tid = atoi(entry->d_name)};
        if (thread.tid <= 0 || is_guarded(frozen->options.pid, thread.tid))
            continue;
        thread.keep = frozen->options.own_child && thread.tid == frozen->options.pid;
        candidates++;
        int error = tracee_interrupt_new(&thread);
        if ((error && judge_refusal(frozen, &thread, error) != SEIZED_AFTER_ALL) ||
            tracee_wait_stop(&thread, monotonic_ns() + limit_ns) != TRACEE_STOP)
            continue;
        inject_resume_wait(thread.tid);
        if (inject_fitness(thread.tid) != INJECT_UNFIT &&
            inject_site_holds(thread.tid, &frozen->site))
            while (done < count && !inject_wait(&thread, &frozen->site, zombies[done]))
                done++;
        if (thread.stopped)
            tracee_detach(&thread);
    }
    return done;
}

static void end_clone(freeze *frozen, DIR *tasks)
{
    tracee *child = &frozen->child;
    siginfo_t info;
    thread_stat stat;
    uint32_t done = 0, count = frozen->options.leftover_count;
    kill(child->tid, SIGKILL);
    /* Of what we trace, the kernel tells stops too, whatever is asked for (wait_task_stopped). */
    while (waitid(P_PID, (id_t)child->tid, &info, WEXITED | __WALL) == 0
               ? info.si_code == CLD_TRAPPED
               : errno == EINTR)
        ;
    /* If the target has ended, the clone has got another parent, which waits for it. */
    if (frozen->inside > 0 && read_stat(child->tid, child->tid, &stat) && stat.state == 'Z' &&
        stat.parent == frozen->options.pid)
        frozen->leftovers[count++] = frozen->inside;
    uint64_t start_ns = monotonic_ns();
    if (count)
        done = reap_inside(frozen, tasks, frozen->leftovers, count);
    pthread_mutex_lock(&frozen->lock);
    frozen->report.reap_ns = monotonic_ns() - start_ns;
    frozen->report.zombies = (int32_t)(count - done);
    pthread_mutex_unlock(&frozen->lock);
}

/* --- the worker --- */

static int begin(freeze *frozen, DIR *tasks)
{
    freeze_report *report = &frozen->report;
    bool snapshot = frozen->options.how == ONLOOKER_FREEZE_SNAPSHOT;
    uint64_t start_ns = monotonic_ns();
    int outcome = stop_all(frozen, tasks);
    uint64_t stopped_ns = monotonic_ns();
    if (outcome == ONLOOKER_FROZEN && snapshot)
        outcome = make_clone(frozen);
    uint64_t cloned_ns = monotonic_ns();
    if (snapshot || outcome != ONLOOKER_FROZEN)
        let_all_go(frozen);
    report->resume_ns = monotonic_ns() - cloned_ns;
    report->stop_ns = stopped_ns - start_ns;
    report->clone_ns = cloned_ns - stopped_ns;
    if (outcome == ONLOOKER_FROZEN && snapshot)
        outcome = await_birth(frozen);
    return outcome;
}

/* Until somebody ends it or a stop has lasted too long. Called with the lock. */
static void hold(freeze *frozen)
{
    freeze_report *report = &frozen->report;
    if (frozen->options.how == ONLOOKER_FREEZE_SNAPSHOT) {
        while (!frozen->ending)
            pthread_cond_wait(&frozen->changed, &frozen->lock);
        return;
    }
    uint64_t start_ns = monotonic_ns(), until_ns = start_ns + frozen->options.hold_limit_ns;
    struct timespec until = {.tv_sec = (time_t)(until_ns / 1000000000u),
                             .tv_nsec = (long)(until_ns % 1000000000u)};
    while (!frozen->ending &&
           pthread_cond_timedwait(&frozen->changed, &frozen->lock, &until) != ETIMEDOUT)
        ;
    report->expired = !frozen->ending;
    if (report->expired && frozen->options.memory_fd >= 0) {
        int nothing = open("/dev/null", O_RDONLY | O_CLOEXEC);
        if (nothing >= 0) {
            dup3(nothing, frozen->options.memory_fd, O_CLOEXEC);
            close(nothing);
        }
    }
    uint64_t end_ns = monotonic_ns();
    let_all_go(frozen);
    report->hold_ns = end_ns - start_ns;
    report->resume_ns = monotonic_ns() - end_ns;
}

static void *work(void *argument)
{
    freeze *frozen = argument;
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/task", frozen->options.pid);
    /* The target stands still for as long as this thread waits for a CPU. Where it may not, well.
     */
    setpriority(PRIO_PROCESS, 0, -20); /* on Linux, of this thread only */
    DIR *tasks = opendir(path);
    int outcome = tasks ? begin(frozen, tasks) : ONLOOKER_FREEZE_GONE;
    pthread_mutex_lock(&frozen->lock);
    frozen->report.outcome = outcome;
    frozen->report.child = outcome == ONLOOKER_FROZEN ? frozen->child.tid : 0;
    frozen->report.held = outcome == ONLOOKER_FROZEN;
    frozen->begun = true;
    pthread_cond_broadcast(&frozen->changed);
    if (frozen->report.held)
        hold(frozen);
    frozen->report.held = false;
    pthread_mutex_unlock(&frozen->lock);
    if (tasks) {
        if (frozen->child.tid)
            end_clone(frozen, tasks);
        closedir(tasks);
    }
    return NULL; /* with that, the kernel lets go of whatever did not stop in time */
}

/* --- the boundary --- */

static void discard(freeze *frozen)
{
    free(frozen->leftovers);
    free(frozen->tracees);
    free(frozen);
}

freeze *freeze_open(const freeze_options *options)
{
    pthread_condattr_t clock;
    uint32_t count =
        options->leftover_count < LEFTOVERS_LIMIT ? options->leftover_count : LEFTOVERS_LIMIT;
    freeze *frozen = calloc(1, sizeof *frozen);
    if (!frozen)
        return NULL;
    frozen->leftovers = calloc(count + 1, sizeof *frozen->leftovers); /* one more is our own */
    if (!frozen->leftovers) {
        discard(frozen);
        return NULL;
    }
    if (count)
        memcpy(frozen->leftovers, options->leftovers, count * sizeof *frozen->leftovers);
    frozen->options = *options;
    frozen->options.leftover_count = count;
    frozen->site = (inject_site){options->syscall_return, options->sigreturn};
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_mutex_init(&frozen->lock, NULL);
    pthread_cond_init(&frozen->changed, &clock);
    pthread_condattr_destroy(&clock);
    return frozen;
}

int freeze_begin(freeze *frozen)
{
    sigset_t all, own;
    /* Signals are for the threads of whoever called us. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &own);
    int error = pthread_create(&frozen->worker, NULL, work, frozen);
    pthread_sigmask(SIG_SETMASK, &own, NULL);
    if (error)
        return error;
    frozen->works = true;
    pthread_mutex_lock(&frozen->lock);
    while (!frozen->begun)
        pthread_cond_wait(&frozen->changed, &frozen->lock);
    pthread_mutex_unlock(&frozen->lock);
    return 0;
}

void freeze_look(freeze *frozen, freeze_report *report)
{
    pthread_mutex_lock(&frozen->lock);
    *report = frozen->report;
    pthread_mutex_unlock(&frozen->lock);
}

void freeze_end(freeze *frozen)
{
    pthread_mutex_lock(&frozen->lock);
    frozen->ending = true;
    pthread_cond_broadcast(&frozen->changed);
    pthread_mutex_unlock(&frozen->lock);
    if (frozen->works)
        pthread_join(frozen->worker, NULL);
    frozen->works = false;
}

void freeze_close(freeze *frozen)
{
    if (!frozen)
        return;
    freeze_end(frozen);
    pthread_cond_destroy(&frozen->changed);
    pthread_mutex_destroy(&frozen->lock);
    discard(frozen);
}
