#include "watch_target.h"

#include <stdarg.h>

TEST(an_agent_that_is_killed_leaves_the_target_as_it_was)
{
    start(false, UINT64_MAX);
    for (int i = 0; i < 100; i++) {
        volatile int *begun = (volatile int *)&target->other;
        *begun = 0;
        pid_t pid = fork();
        CHECK(pid >= 0);
        if (!pid) {
            agent agent = open_agent(false);
            *begun = agent.error ? -1 : 1;
            for (;;)
                pause();
        }
        /* While it seizes the threads, or later. */
        while (i % 4 && !*begun)
            usleep(100);
        CHECK(*begun >= 0);
        target->sent += send_signals(10);
        usleep((useconds_t)check_random(3000));
        target->sent += send_signals(10);
        kill(pid, SIGKILL);
        CHECK_EQUAL(waitpid(pid, NULL, 0), pid);
        await_creations();
    }
    check_free();
    while (target->signals < target->sent)
        usleep(100);
    CHECK_EQUAL(target->signals, target->sent);
    end_target();
}

/* What an agent does last: the calls that make a thread go on, of which it is killed before one. */
static volatile int last_words;

long __real_ptrace(int request, ...);
long __wrap_ptrace(int request, ...);

long __wrap_ptrace(int request, ...)
{
    va_list rest;
    va_start(rest, request);
    pid_t pid = va_arg(rest, pid_t);
    void *address = va_arg(rest, void *), *data = va_arg(rest, void *);
    va_end(rest);
    bool goes_on = request == PTRACE_CONT || request == PTRACE_LISTEN;
    if (goes_on && last_words && (last_words == request || data) && check_random(4) == 0)
        raise(SIGKILL);
    return __real_ptrace(request, pid, address, data);
}

/* LAST is a request, or else: when a signal is passed on. */
static void run_agent_until(int last)
{
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (!pid) {
        check_random_state += (uint64_t)getpid();
        last_words = last;
        open_agent(false);
        for (;;)
            pause();
    }
    siginfo_t info;
    while (waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && !info.si_pid)
        if (last == PTRACE_LISTEN) {
            kill(target->pid, SIGSTOP);
            usleep(500);
            kill(target->pid, SIGCONT);
        } else {
            target->sent += send_signals(last != PTRACE_CONT);
        }
    CHECK_EQUAL(waitpid(pid, NULL, 0), pid);
}

TEST(an_agent_that_is_killed_takes_nothing_with_it)
{
    int last[] = {PTRACE_CONT, PTRACE_LISTEN, -1};
    start(false, UINT64_MAX);
    for (int i = 0; i < 30; i++) {
        run_agent_until(last[i % 3]);
        kill(target->pid, SIGCONT);
        await_creations();
    }
    target->interrupted = 0; /* SIGSTOP does that, whoever looks on: signal(7) */
    check_free();
    while (target->signals < target->sent)
        usleep(100);
    CHECK_EQUAL(target->signals, target->sent);
    end_target();
}
