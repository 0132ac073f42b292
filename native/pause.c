#include "pause.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <time.h>

/* A running thread stops within microseconds, one that waits for a CPU when it gets one. */
#define STOP_DEADLINE_NS 200000000u
#define SPIN_NS 100000u
#define NAP_LIMIT_NS 500000u

/* Looks whether the thread has stopped: 0, EAGAIN (not yet) or ESRCH (it ended). */
static int poll_stop(thread_stop *stop)
{
    /* Our own child's leader must stay for whoever waits for it; any other thread that dies while
     * traced is ours to reap, or it would stay a zombie. */
    bool keep = stop->own_child && stop->tid == stop->leader;
    id_t tid = (id_t)stop->tid;
    siginfo_t info = {0};
    /* The stops are only looked at: a signal whose stop was waited for would be lost if we were
     * killed before we pass it on (wait_task_stopped). */
    if (waitid(P_PID, tid, &info, WSTOPPED | WEXITED | WNOHANG | WNOWAIT | __WALL) < 0)
        return errno == EINTR ? EAGAIN : ESRCH;
    if (!info.si_pid)
        return EAGAIN;
    if (info.si_code != CLD_TRAPPED && info.si_code != CLD_STOPPED) {
        if (!keep)
            waitid(P_PID, tid, &info, WEXITED | WNOHANG | __WALL);
        return ESRCH;
    }
    /* Either the stop we asked for, or one to deliver a signal, which we pass on. */
    stop->signal = info.si_status >> 8 == PTRACE_EVENT_STOP ? 0 : info.si_status & 0x7f;
    stop->stopped = true;
    return 0;
}

static void let_go(thread_stop *stop)
{
    /* A thread that was killed meanwhile is no longer stopped, and is to be reaped. */
    if (ptrace(PTRACE_DETACH, stop->tid, NULL, (void *)(intptr_t)stop->signal) == 0 ||
        errno != ESRCH)
        stop->tid = 0;
    stop->stopped = false;
}

/* The kernel has no way to take back the wish that a thread stop: one that did not stop in time
 * cannot be let go before it does. It misses nothing until then, for it has no CPU. */
static bool still_waiting(thread_stop *stop)
{
    if (!stop->tid)
        return false;
    int result = poll_stop(stop);
    if (result == 0)
        let_go(stop);
    else if (result == ESRCH)
        stop->tid = 0;
    return stop->tid != 0;
}

/* The longer it has taken, the less does a little more matter. False: a signal came. */
static bool wait_a_little(uint64_t waited_ns)
{
    if (waited_ns < SPIN_NS)
        return !sched_yield();
    uint64_t nap_ns = waited_ns / 8 < NAP_LIMIT_NS ? waited_ns / 8 : NAP_LIMIT_NS;
    return !nanosleep(&(struct timespec){.tv_nsec = (long)nap_ns}, NULL);
}

int pause_begin(thread_stop *stop, int32_t tid)
{
    if (still_waiting(stop))
        return EBUSY;
    if (ptrace(PTRACE_SEIZE, tid, NULL, NULL) < 0)
        return errno;
    stop->tid = tid;
    stop->signal = 0;
    if (ptrace(PTRACE_INTERRUPT, tid, NULL, NULL) < 0 && errno == ESRCH) {
        stop->tid = 0;
        return ESRCH;
    }
    uint64_t start_ns = monotonic_ns();
    for (;;) {
        int result = poll_stop(stop);
        if (result == 0)
            break;
        if (result == ESRCH) {
            stop->tid = 0;
            return ESRCH;
        }
        uint64_t waited_ns = monotonic_ns() - start_ns;
        if (waited_ns > STOP_DEADLINE_NS)
            return ETIMEDOUT;
        wait_a_little(waited_ns);
    }
    stop->stopped_ns = monotonic_ns();
    return 0;
}

uint64_t pause_end(thread_stop *stop)
{
    uint64_t length_ns = monotonic_ns() - stop->stopped_ns;
    let_go(stop);
    return length_ns;
}

void pause_settle(thread_stop *stop, uint64_t until_ns)
{
    uint64_t start_ns = stop->tid ? monotonic_ns() : 0, now_ns = start_ns;
    while (still_waiting(stop) && now_ns < until_ns && wait_a_little(now_ns - start_ns))
        now_ns = monotonic_ns();
}

void pause_finish(thread_stop *stop)
{
    pause_settle(stop, monotonic_ns() + STOP_DEADLINE_NS);
}

thread_stop *pause_thread(int32_t pid, int32_t tid, int32_t own_child)
{
    thread_stop *stop = calloc(1, sizeof *stop);
    if (!stop)
        return NULL;
    *stop = (thread_stop){.leader = pid, .own_child = own_child != 0};
    int error = pause_begin(stop, tid);
    if (!error)
        return stop;
    pause_finish(stop);
    free(stop);
    errno = error;
    return NULL;
}

void pause_release(thread_stop *stop)
{
    pause_end(stop);
    pause_finish(stop);
    free(stop);
}
