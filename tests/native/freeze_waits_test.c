#include <linux/aio_abi.h>
#include <sys/epoll.h>
#include <sys/sem.h>
#include <sys/socket.h>

#include "freeze_target.h"

/* Waits that the kernel ends with EINTR when their thread is stopped (signal(7)): without an end
 * they go on, unless a signal comes; with one they end. */

#define TIMEOUT_S 1000

static int poller, semaphores, sockets[2];
static aio_context_t aio;
static sigset_t user_signal;
static struct timespec timeout = {.tv_sec = TIMEOUT_S};
static struct epoll_event event;

static long epoll_until(long ms)
{
    return syscall(SYS_epoll_wait, poller, &event, 1, ms);
}

static long epoll_until_time(const struct timespec *time)
{
    return syscall(SYS_epoll_pwait2, poller, &event, 1, time, NULL, 8);
}

static long take_until(const struct timespec *time)
{
    return syscall(SYS_semtimedop, semaphores, &(struct sembuf){0, -1, 0}, 1, time);
}

static long await_signal_until(const struct timespec *time)
{
    return syscall(SYS_rt_sigtimedwait, &user_signal, NULL, time, 8);
}

static long get_events_until(struct timespec *time)
{
    struct io_event done;
    return syscall(SYS_io_getevents, aio, 1, 1, &done, time);
}

static long receive(void)
{
    char byte;
    return syscall(SYS_recvfrom, sockets[0], &byte, 1, 0, NULL, NULL);
}

static long call(int which, bool endless)
{
    struct timespec *time = endless ? NULL : &timeout;
    switch (which) {
    case 0:
        return epoll_until(endless ? -1 : TIMEOUT_S * 1000);
    case 1:
        return epoll_until_time(time);
    case 2:
        return take_until(time);
    case 3:
        return await_signal_until(time);
    case 4:
        return get_events_until(time);
    default: /* with SO_RCVTIMEO: without, the kernel resumes it */
        return receive();
    }
}

static const long numbers[] = {SYS_epoll_wait,      SYS_epoll_pwait2, SYS_semtimedop,
                               SYS_rt_sigtimedwait, SYS_io_getevents, SYS_recvfrom};
#define CALLS (int)(sizeof numbers / sizeof *numbers)

static void on_signal(int number)
{
    (void)number;
    target->signals++;
}

static void wait_in_all(bool endless)
{
    struct timeval limit = {.tv_sec = TIMEOUT_S};
    sigaction(SIGUSR1, &(struct sigaction){.sa_handler = on_signal}, NULL);
    sigaddset(&user_signal, SIGUSR2);
    sigprocmask(SIG_BLOCK, &user_signal, NULL);
    if ((poller = epoll_create1(0)) < 0 || syscall(SYS_io_setup, 1, &aio) ||
        socketpair(AF_UNIX, SOCK_STREAM, 0, sockets) ||
        setsockopt(sockets[0], SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit))
        _exit(1);
    turn(0);
    for (int which = 0; which < CALLS - endless; which++) {
        if (call(which, endless) >= 0 || errno != EINTR)
            target->errors++;
        turn(0);
    }
    for (;;)
        pause();
}

static void wait_endlessly(void)
{
    wait_in_all(true);
}

static void wait_for_a_time(void)
{
    wait_in_all(false);
}

/* Until the target waits in a system call. */
static void await_call(long number)
{
    char path[64];
    long now = -1;
    snprintf(path, sizeof path, "/proc/%d/syscall", target->pid);
    while (now != number) {
        FILE *file = fopen(path, "r");
        CHECK(file);
        if (fscanf(file, "%ld", &now) != 1)
            now = -1;
        fclose(file);
        sched_yield();
    }
}

static void start_waits(void (*body)(void))
{
    semaphores = semget(IPC_PRIVATE, 1, 0600);
    CHECK(semaphores >= 0);
    start_target(body);
}

static void end_waits(void)
{
    end_target();
    semctl(semaphores, 0, IPC_RMID);
}

TEST(a_wait_without_an_end_is_not_interrupted_but_by_signals)
{
    start_waits(wait_endlessly);
    for (int which = 0; which < CALLS - 1; which++) {
        uint64_t turns = target->counts[0];
        for (int how = ONLOOKER_FREEZE_SNAPSHOT; how <= ONLOOKER_FREEZE_STOP; how++) {
            await_call(numbers[which]);
            freeze_options options = make_options(how);
            CHECK_EQUAL(freeze_once(&options).outcome, ONLOOKER_FROZEN);
        }
        await_call(numbers[which]);
        CHECK_EQUAL(target->counts[0], turns);
        freeze_options options = make_options(ONLOOKER_FREEZE_STOP);
        freeze *frozen = begin_freeze(&options);
        kill(target->pid, SIGUSR1);
        freeze_close(frozen);
        while (target->counts[0] == turns)
            sched_yield();
        CHECK_EQUAL(target->signals, which + 1);
    }
    end_waits();
}

TEST(a_wait_with_an_end_is_interrupted)
{
    start_waits(wait_for_a_time);
    for (int which = 0; which < CALLS; which++) {
        uint64_t turns = target->counts[0];
        await_call(numbers[which]);
        freeze_options options = make_options(ONLOOKER_FREEZE_STOP);
        CHECK_EQUAL(freeze_once(&options).outcome, ONLOOKER_FROZEN);
        while (target->counts[0] == turns)
            sched_yield();
    }
    end_waits();
}
