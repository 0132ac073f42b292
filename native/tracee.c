#include "tracee.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <time.h>

/* How often a thread may stop for other reasons on its way to where it shall stop. */
#define EVENTS_LIMIT 1000
#define SPIN_NS 200000u
#define NAP_LIMIT_NS 1000000u

static int request(int call, int32_t tid, intptr_t data)
{
    return ptrace(call, tid, NULL, (void *)data) < 0 ? errno : 0;
}

int tracee_seize(int32_t tid, int options)
{
    return request(PTRACE_SEIZE, tid, options);
}

int tracee_interrupt_new(tracee *thread)
{
    int error = tracee_seize(thread->tid, 0);
    if (!error)
        request(PTRACE_INTERRUPT, thread->tid, 0); /* fails if it has ended, which waiting tells */
    return error;
}

static bool has_ended(const siginfo_t *info)
{
    return info->si_code == CLD_EXITED || info->si_code == CLD_KILLED ||
           info->si_code == CLD_DUMPED;
}

static bool wait_event(const tracee *thread, int flags, siginfo_t *info)
{
    *info = (siginfo_t){0};
    return waitid(P_PID, (id_t)thread->tid, info, flags | WEXITED | WNOHANG | __WALL) == 0 ||
           errno == EINTR;
}

tracee_event tracee_poll(tracee *thread)
{
    siginfo_t info;
    /* A signal whose stop was waited for would be lost if we were killed before we pass it on: the
     * kernel forgets it with the wait (wait_task_stopped). So all are only looked at. */
    if (!wait_event(thread, WSTOPPED | WNOWAIT, &info))
        return TRACEE_GONE;
    if (!info.si_pid)
        return TRACEE_NONE;
    if (has_ended(&info)) {
        if (!thread->keep)
            wait_event(thread, 0, &info);
        return TRACEE_GONE;
    }
    thread->stopped = true;
    thread->signal = 0;
    thread->of_job = info.si_status != (PTRACE_EVENT_STOP << 8 | SIGTRAP);
    if (info.si_status >> 8 == PTRACE_EVENT_STOP)
        return TRACEE_STOP;
    if (info.si_status >> 8 == PTRACE_EVENT_CLONE)
        return TRACEE_CLONE;
    if (info.si_status == (SIGTRAP | 0x80)) /* by PTRACE_O_TRACESYSGOOD */
        return TRACEE_SYSCALL;
    thread->signal = info.si_status & 0x7f;
    return TRACEE_SIGNAL;
}

tracee_event tracee_wait(tracee *thread, uint64_t until_ns)
{
    uint64_t start_ns = monotonic_ns();
    for (;;) {
        tracee_event event = tracee_poll(thread);
        uint64_t now_ns = monotonic_ns(), waited_ns = now_ns - start_ns;
        if (event != TRACEE_NONE || now_ns > until_ns)
            return event;
        if (waited_ns < SPIN_NS) {
            sched_yield();
        } else {
            uint64_t nap_ns = waited_ns / 8 < NAP_LIMIT_NS ? waited_ns / 8 : NAP_LIMIT_NS;
            nanosleep(&(struct timespec){.tv_nsec = (long)nap_ns}, NULL);
        }
    }
}

tracee_event tracee_wait_stop(tracee *thread, uint64_t until_ns)
{
    for (int events = 0; events < EVENTS_LIMIT; events++) {
        tracee_event event = tracee_wait(thread, until_ns);
        if (event == TRACEE_STOP || event == TRACEE_GONE || event == TRACEE_NONE)
            return event;
        if (tracee_continue(thread, PTRACE_CONT))
            return TRACEE_GONE;
    }
    return TRACEE_NONE;
}

int tracee_continue(tracee *thread, int call)
{
    int error = request(call, thread->tid, thread->signal);
    thread->stopped = false;
    thread->signal = 0;
    return error;
}

void tracee_detach(tracee *thread)
{
    if (request(PTRACE_DETACH, thread->tid, thread->signal) == ESRCH)
        tracee_poll(thread); /* it was killed, and is reaped unless it is kept */
    thread->stopped = false;
}
