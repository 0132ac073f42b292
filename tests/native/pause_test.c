#include "check.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "pause.h"

/* What a target and the test share. */
typedef struct shared {
    volatile int32_t pid, tids[2]; /* of its main thread and its second one, which both count */
    volatile uint64_t counts[2];
    volatile uint64_t signals;
    volatile int reaped; /* its parent has waited for it */
    volatile int second_ends;
    volatile uint64_t stops; /* that an agent made */
} shared;

static shared *make_shared(void)
{
    shared *new =
        mmap(NULL, sizeof *new, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(new != MAP_FAILED);
    return new;
}

static shared *target;

static void on_signal(int signal)
{
    (void)signal;
    __atomic_add_fetch(&target->signals, 1, __ATOMIC_SEQ_CST);
}

static void *count_in_second(void *argument)
{
    (void)argument;
    target->tids[1] = (int32_t)syscall(SYS_gettid);
    while (!target->second_ends)
        target->counts[1]++;
    return NULL;
}

/* The target's main. Its handler is for real-time signals, which are counted and not merged. */
static void run_target(void)
{
    pthread_t second;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGRTMIN, on_signal);
    target->tids[0] = target->pid = getpid();
    if (pthread_create(&second, NULL, count_in_second, NULL))
        _exit(1);
    for (;;)
        target->counts[0]++;
}

static void await_count(int thread)
{
    uint64_t from = target->counts[thread];
    while (target->counts[thread] == from)
        sched_yield();
}

/* A target that is our child. */
static void start_child(void)
{
    target = make_shared();
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (!pid)
        run_target();
    await_count(0);
    await_count(1);
}

/* A target whose parent is another process, which waits for its end as a shell would. */
static void start_stranger(void)
{
    target = make_shared();
    pid_t parent = fork();
    CHECK(parent >= 0);
    if (!parent) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        pid_t pid = fork();
        if (!pid)
            run_target();
        target->reaped = waitpid(pid, NULL, 0) == pid ? 1 : -1;
        _exit(0);
    }
    await_count(0);
    await_count(1);
}

static void end_target(void)
{
    kill(target->pid, SIGKILL);
    while (wait(NULL) > 0)
        ;
    munmap(target, sizeof *target);
}

/* A word of /proc/PID/task/TID/status, such as State's letter. */
static void read_status(int32_t tid, const char *field, char out[32])
{
    char path[64], line[256];
    snprintf(path, sizeof path, "/proc/%d/task/%d/status", target->pid, tid);
    FILE *file = fopen(path, "r");
    snprintf(out, 32, "none");
    while (file && fgets(line, sizeof line, file))
        if (!strncmp(line, field, strlen(field)) && line[strlen(field)] == ':')
            sscanf(line + strlen(field) + 1, "%31s", out);
    if (file)
        fclose(file);
}

static void check_status(int32_t tid, const char *field, const char *value)
{
    char now[32];
    read_status(tid, field, now);
    if (strcmp(now, value)) {
        fprintf(stderr, "%s is %s, not %s\n", field, now, value);
        exit(1);
    }
}

static void check_free(void)
{
    for (int i = 0; i < 2; i++) {
        check_status(target->tids[i], "TracerPid", "0");
        await_count(i);
    }
}

static thread_stop make_stop(bool own_child)
{
    return (thread_stop){.leader = target->pid, .own_child = own_child};
}

/* A busy machine may let a thread wait for a CPU for longer than pause_begin waits for it. */
static int begin(thread_stop *stop, int32_t tid)
{
    int error;
    while ((error = pause_begin(stop, tid)) == ETIMEDOUT || error == EBUSY)
        sched_yield();
    return error;
}

TEST(one_thread_stands_still_and_goes_on)
{
    for (int own_child = 0; own_child < 2; own_child++) {
        if (own_child)
            start_child();
        else
            start_stranger();
        thread_stop stop = make_stop(own_child);
        for (int thread = 0; thread < 2; thread++) {
            CHECK_EQUAL(begin(&stop, target->tids[thread]), 0);
            CHECK(stop.stopped);
            check_status(target->tids[thread], "State", "t");
            uint64_t count = target->counts[thread];
            for (int i = 0; i < 5; i++)
                await_count(!thread);
            CHECK_EQUAL(target->counts[thread], count);
            uint64_t length_ns = pause_end(&stop);
            CHECK(length_ns > 0 && length_ns < UINT64_C(60000000000));
            CHECK(!stop.stopped);
            check_free();
        }
        end_target();
    }
}

TEST(a_thousand_stops_leave_nothing_behind)
{
    start_stranger();
    thread_stop stop = make_stop(false);
    for (int i = 0; i < 1000; i++) {
        CHECK_EQUAL(begin(&stop, target->tids[i % 2]), 0);
        pause_end(&stop);
    }
    check_free();
    CHECK_EQUAL(target->signals, 0);
    end_target();
}

static void send_signal(int thread)
{
    siginfo_t info = {.si_signo = SIGRTMIN, .si_code = SI_QUEUE};
    info.si_pid = getpid();
    info.si_uid = getuid();
    while (syscall(SYS_rt_tgsigqueueinfo, target->pid, target->tids[thread], SIGRTMIN, &info)) {
        CHECK_EQUAL(errno, EAGAIN); /* the queue is full */
        sched_yield();
    }
}

TEST(signals_that_come_meanwhile_are_passed_on)
{
    enum { SIGNALS = 600 };
    start_stranger();
    thread_stop stop = make_stop(false);
    uint64_t sent = 0;
    for (int i = 0; i < SIGNALS; i++) {
        int thread = i % 2;
        if (i % 3 == 0) { /* just before the stop */
            send_signal(thread);
            sent++;
        }
        CHECK_EQUAL(begin(&stop, target->tids[thread]), 0);
        if (i % 3 == 1) { /* while it stands still */
            send_signal(thread);
            sent++;
        }
        pause_end(&stop);
        if (i % 3 == 2) {
            send_signal(thread);
            sent++;
        }
    }
    while (target->signals < sent)
        sched_yield();
    check_free();
    CHECK_EQUAL(target->signals, sent);
    end_target();
}

TEST(a_stopped_job_stays_stopped)
{
    start_child();
    thread_stop stop = make_stop(true);
    siginfo_t info;
    CHECK(!kill(target->pid, SIGSTOP));
    CHECK(!waitid(P_PID, (id_t)target->pid, &info, WSTOPPED));
    uint64_t counts[] = {target->counts[0], target->counts[1]};
    for (int i = 0; i < 20; i++) {
        CHECK_EQUAL(begin(&stop, target->tids[i % 2]), 0);
        pause_end(&stop);
    }
    for (int i = 0; i < 2; i++) {
        check_status(target->tids[i], "TracerPid", "0");
        CHECK_EQUAL(target->counts[i], counts[i]);
    }
    CHECK(!kill(target->pid, SIGCONT));
    check_free();
    /* SIGSTOP that comes during the stop counts too. */
    CHECK_EQUAL(begin(&stop, target->tids[1]), 0);
    CHECK(!kill(target->pid, SIGSTOP));
    pause_end(&stop);
    CHECK(!waitid(P_PID, (id_t)target->pid, &info, WSTOPPED));
    CHECK(!kill(target->pid, SIGCONT));
    check_free();
    end_target();
}

TEST(threads_that_are_not_there_cannot_be_stopped)
{
    start_stranger();
    thread_stop stop = make_stop(false);
    target->second_ends = 1;
    char state[32];
    do
        read_status(target->tids[1], "State", state);
    while (strcmp(state, "none"));
    CHECK_EQUAL(begin(&stop, target->tids[1]), ESRCH);
    CHECK_EQUAL(begin(&stop, INT32_MAX), ESRCH);
    CHECK_EQUAL(begin(&stop, target->pid), 0);
    pause_end(&stop);
    end_target();
    CHECK_EQUAL(begin(&stop, stop.leader), ESRCH);
}

TEST(a_thread_that_ends_on_its_way_to_the_stop)
{
    for (int i = 0; i < 60; i++) {
        start_stranger();
        thread_stop stop = make_stop(false);
        target->second_ends = 1; /* so it ends before, during or after the next line */
        int error = begin(&stop, target->tids[1]);
        if (error)
            CHECK_EQUAL(error, ESRCH);
        else
            pause_end(&stop);
        check_status(target->tids[0], "TracerPid", "0");
        await_count(0);
        /* It must be gone in the end: a thread that we did not reap would stay for ever. */
        char state[32];
        do
            read_status(target->tids[1], "State", state);
        while (strcmp(state, "none"));
        CHECK_EQUAL(begin(&stop, target->tids[0]), 0);
        pause_end(&stop);
        end_target();
    }
}

TEST(a_target_killed_while_stopped_is_its_parents_to_bury)
{
    for (int thread = 0; thread < 2; thread++) {
        start_stranger();
        thread_stop stop = make_stop(false);
        CHECK_EQUAL(begin(&stop, target->tids[thread]), 0);
        CHECK(!kill(target->pid, SIGKILL));
        pause_end(&stop);
        pause_finish(&stop);
        while (!target->reaped) /* its parent waits in vain as long as we trace a zombie */
            sched_yield();
        CHECK_EQUAL(target->reaped, 1);
        CHECK_EQUAL(begin(&stop, stop.leader), ESRCH);
        end_target();
    }
}

TEST(our_own_child_killed_while_stopped_is_ours_to_wait_for)
{
    for (int thread = 0; thread < 2; thread++) {
        start_child();
        thread_stop stop = make_stop(true);
        CHECK_EQUAL(begin(&stop, target->tids[thread]), 0);
        CHECK(!kill(target->pid, SIGKILL));
        pause_end(&stop);
        pause_finish(&stop);
        int status;
        CHECK_EQUAL(waitpid(target->pid, &status, 0), target->pid);
        CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        end_target();
    }
}

TEST(another_tracer_is_respected)
{
    start_stranger();
    int32_t tid = target->tids[1];
    volatile int *seized = (volatile int *)make_shared();
    pid_t tracer = fork();
    CHECK(tracer >= 0);
    if (!tracer) {
        *seized = !ptrace(PTRACE_SEIZE, tid, NULL, NULL);
        for (;;)
            pause();
    }
    while (!*seized)
        sched_yield();
    thread_stop stop = make_stop(false);
    CHECK_EQUAL(begin(&stop, tid), EPERM);
    CHECK_EQUAL(begin(&stop, target->tids[0]), 0);
    pause_end(&stop);
    kill(tracer, SIGKILL);
    CHECK_EQUAL(waitpid(tracer, NULL, 0), tracer);
    CHECK_EQUAL(begin(&stop, tid), 0);
    pause_end(&stop);
    check_free();
    end_target();
}

TEST(an_agent_that_is_killed_leaves_the_target_running)
{
    start_stranger();
    for (int i = 0; i < 60; i++) {
        target->stops = 0;
        pid_t agent = fork();
        CHECK(agent >= 0);
        if (!agent) {
            thread_stop stop = make_stop(false);
            for (;;) {
                if (begin(&stop, target->tids[1]))
                    _exit(1);
                target->stops++;
                if (i % 2) /* is killed while the thread stands still */
                    for (;;)
                        pause();
                pause_end(&stop);
            }
        }
        uint64_t wanted = check_random(20) + 1;
        while (target->stops < (i % 2 ? 1 : wanted))
            sched_yield();
        kill(agent, SIGKILL);
        CHECK_EQUAL(waitpid(agent, NULL, 0), agent);
        check_free();
    }
    CHECK_EQUAL(target->signals, 0);
    end_target();
}

/* --- a thread that cannot stop: its vfork child runs, so it sleeps where only death wakes it ---
 */

static void run_vforker(void)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    target->tids[0] = target->pid = getpid();
    for (;;) {
        target->counts[0]++;
        while (target->second_ends) {
            pid_t child = vfork();
            if (!child) {
                prctl(PR_SET_PDEATHSIG, SIGKILL);
                target->counts[1]++;
                while (target->second_ends)
                    ;
                _exit(0);
            }
            waitpid(child, NULL, 0);
        }
    }
}

/* Lets the target have a child until second_ends is 0 again. */
static void begin_vfork(void)
{
    uint64_t from = target->counts[1];
    target->second_ends = 1;
    while (target->counts[1] == from)
        sched_yield();
}

TEST(a_thread_that_does_not_stop_is_let_go_later)
{
    target = make_shared();
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (!pid)
        run_vforker();
    begin_vfork();
    thread_stop stop = make_stop(true);
    CHECK_EQUAL(pause_begin(&stop, pid), ETIMEDOUT);
    CHECK(!stop.stopped);
    CHECK_EQUAL(pause_begin(&stop, pid), EBUSY);
    target->second_ends = 0;
    CHECK_EQUAL(begin(&stop, pid), 0);
    pause_end(&stop);
    check_status(pid, "TracerPid", "0");
    await_count(0);
    /* As soon as it stops, for whoever has time to wait, and not later than they have it. */
    begin_vfork();
    CHECK_EQUAL(pause_begin(&stop, pid), ETIMEDOUT);
    uint64_t until_ns = monotonic_ns() + 5000000;
    pause_settle(&stop, until_ns);
    CHECK(monotonic_ns() >= until_ns && stop.tid == pid);
    pause_settle(&stop, 0);
    CHECK_EQUAL(stop.tid, pid);
    target->second_ends = 0;
    pause_settle(&stop, UINT64_MAX);
    check_status(pid, "TracerPid", "0");
    await_count(0);
    pause_settle(&stop, UINT64_MAX); /* there is nothing to wait for */
    /* Also when nobody wants to stop a thread any more. */
    begin_vfork();
    CHECK_EQUAL(pause_begin(&stop, pid), ETIMEDOUT);
    target->second_ends = 0;
    pause_finish(&stop);
    check_status(pid, "TracerPid", "0");
    await_count(0);
    end_target();
}
