#include "freeze_target.h"

#include <linux/futex.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/timerfd.h>

static freeze_report freeze_well(int how)
{
    freeze_options options = make_options(how);
    freeze_report report = freeze_once(&options);
    CHECK_EQUAL(report.outcome, ONLOOKER_FROZEN);
    CHECK_EQUAL(report.zombies, 0);
    CHECK(!report.held);
    return report;
}

static void check_free(void)
{
    int32_t child;
    CHECK(status_is(target->pid, "TracerPid", "0"));
    CHECK_EQUAL(children(&child, 1), 0);
    await_turns(0, 2);
}

static volatile uint64_t own_count; /* which no other process shares */

static void count_on(void)
{
    for (;;) {
        own_count++;
        turn(0);
    }
}

TEST(a_snapshot_stands_still_while_the_target_goes_on)
{
    start_target(count_on);
    for (int i = 0; i < 5; i++) {
        freeze_options options = make_options(ONLOOKER_FREEZE_SNAPSHOT);
        freeze *frozen = begin_freeze(&options);
        freeze_report report;
        freeze_look(frozen, &report);
        CHECK_EQUAL(report.outcome, ONLOOKER_FROZEN);
        CHECK_EQUAL(report.threads, 1);
        CHECK(report.held && report.child > 0);
        CHECK(status_is(report.child, "State", "t"));
        CHECK(status_is(target->pid, "TracerPid", "0"));
        char path[64];
        snprintf(path, sizeof path, "/proc/%d/mem", report.child);
        int fd = open(path, O_RDONLY);
        uint64_t first = 0, second = 0;
        CHECK_EQUAL(pread(fd, &first, 8, (off_t)(uintptr_t)&own_count), 8);
        await_turns(0, 10);
        CHECK_EQUAL(pread(fd, &second, 8, (off_t)(uintptr_t)&own_count), 8);
        CHECK(first > 0);
        CHECK_EQUAL(first, second);
        close(fd);
        freeze_close(frozen);
        CHECK(status_is(report.child, "State", "none"));
        check_free();
    }
    end_target();
}

TEST(a_stop_holds_the_target_until_it_is_ended)
{
    start_target(count_on);
    freeze_options options = make_options(ONLOOKER_FREEZE_STOP);
    freeze *frozen = begin_freeze(&options);
    CHECK(status_is(target->pid, "State", "t"));
    uint64_t from = target->counts[0];
    for (int i = 0; i < 100; i++)
        sched_yield();
    CHECK_EQUAL(target->counts[0], from);
    freeze_end(frozen);
    freeze_end(frozen);
    freeze_close(frozen);
    check_free();
    end_target();
}

TEST(a_stop_ends_by_itself)
{
    start_target(count_on);
    char path[64], byte;
    snprintf(path, sizeof path, "/proc/%d/mem", target->pid);
    freeze_options options = make_options(ONLOOKER_FREEZE_STOP);
    options.memory_fd = open(path, O_RDONLY);
    options.hold_limit_ns = 20000000;
    freeze *frozen = begin_freeze(&options);
    freeze_report report;
    do {
        freeze_look(frozen, &report);
        sched_yield();
    } while (report.held);
    CHECK(report.expired);
    CHECK(report.hold_ns >= options.hold_limit_ns);
    check_free();
    CHECK_EQUAL(pread(options.memory_fd, &byte, 1, (off_t)(uintptr_t)&own_count), 0);
    freeze_close(frozen);
    close(options.memory_fd);
    end_target();
}

static void close_when_told(void)
{
    while (!target->flag)
        turn(0);
    close(target->pipe[1]);
    count_on();
}

TEST(what_the_target_closes_is_closed_though_the_clone_lives)
{
    char byte;
    start_target(close_when_told);
    close(target->pipe[1]);
    freeze_options options = make_options(ONLOOKER_FREEZE_SNAPSHOT);
    freeze *frozen = begin_freeze(&options);
    target->flag = 1;
    CHECK_EQUAL(read(target->pipe[0], &byte, 1), 0);
    freeze_report report;
    freeze_look(frozen, &report);
    CHECK(report.held);
    freeze_close(frozen);
    check_free();
    end_target();
}

/* --- threads that wait in the kernel --- */

#define WAIT_NS 20000000

static int epoll_fd, listener, other_pipe[2];
static struct sockaddr_un {
    sa_family_t family;
    char path[32];
} address = {.family = AF_UNIX};
static socklen_t address_bytes = sizeof address; /* of the one that the kernel chooses */

static bool sleeps(void)
{
    return !nanosleep(&(struct timespec){.tv_nsec = WAIT_NS}, NULL);
}

static bool sleeps_until(void)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += WAIT_NS;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    return !clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
}

static bool polls(void)
{
    return !poll(&(struct pollfd){other_pipe[0], POLLIN, 0}, 1, WAIT_NS / 1000000);
}

static bool selects(void)
{
    fd_set set;
    FD_ZERO(&set);
    FD_SET(other_pipe[0], &set);
    return !select(other_pipe[0] + 1, &set, NULL, NULL,
                   &(struct timeval){.tv_usec = WAIT_NS / 1000});
}

static bool waits_for_futex(void)
{
    int word = 0;
    return syscall(SYS_futex, &word, FUTEX_WAIT, 0, &(struct timespec){.tv_nsec = WAIT_NS}) < 0 &&
           errno == ETIMEDOUT;
}

/* epoll_wait is never resumed by the kernel (signal(7)): with a timeout it says so. */
static bool epolls_for_a_time(void)
{
    struct epoll_event event;
    int result = epoll_wait(epoll_fd, &event, 1, WAIT_NS / 1000000);
    if (result < 0 && errno == EINTR)
        sleeps(); /* it need not have lasted */
    return !result || errno == EINTR;
}

/* Those that follow are ended by the last thread. */

static bool epolls(void)
{
    static uint64_t expirations;
    struct epoll_event event;
    static int timer = -1, poller;
    if (timer < 0) {
        timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
        poller = epoll_create1(EPOLL_CLOEXEC);
        epoll_ctl(poller, EPOLL_CTL_ADD, timer, &(struct epoll_event){.events = EPOLLIN});
    }
    timerfd_settime(timer, 0, &(struct itimerspec){.it_value.tv_nsec = WAIT_NS}, NULL);
    return epoll_wait(poller, &event, 1, -1) == 1 && read(timer, &expirations, 8) == 8;
}

static bool reads(void)
{
    char byte;
    return read(target->pipe[0], &byte, 1) == 1;
}

static bool accepts(void)
{
    int fd = accept(listener, NULL, NULL);
    return fd >= 0 && !close(fd);
}

static bool awaits_signal(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    return sigtimedwait(&set, NULL, NULL) == SIGUSR1;
}

static bool serves(void)
{
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    bool connected = !connect(fd, (struct sockaddr *)&address, address_bytes);
    close(fd);
    kill(getpid(), SIGUSR1);
    return sleeps() && connected && write(target->pipe[1], "x", 1) == 1;
}

static bool (*const waits[])(void) = {sleeps,          sleeps_until,      polls,  selects,
                                      waits_for_futex, epolls_for_a_time, epolls, reads,
                                      accepts,         awaits_signal,     serves};
#define WAITS (sizeof waits / sizeof *waits)
#define TIMED 7 /* how many of them, the first ones, have a time to last */

static void *wait_on(void *argument)
{
    int which = (int)(intptr_t)argument;
    for (;;) {
        uint64_t start_ns = monotonic_ns();
        if (!waits[which]() || (which < TIMED && monotonic_ns() < start_ns + WAIT_NS))
            target->errors |= UINT64_C(1) << which;
        turn(which);
    }
    return NULL;
}

static void wait_in_all_ways(void)
{
    sigset_t set;
    pthread_t thread;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set, NULL);
    listener = socket(AF_UNIX, SOCK_STREAM, 0);
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (bind(listener, (struct sockaddr *)&address, sizeof address.family) ||
        getsockname(listener, (struct sockaddr *)&address, &address_bytes) || listen(listener, 9) ||
        pipe2(other_pipe, O_CLOEXEC))
        _exit(1);
    for (size_t i = 1; i < WAITS; i++)
        if (pthread_create(&thread, NULL, wait_on, (void *)i))
            _exit(1);
    wait_on(NULL);
}

TEST(no_wait_is_cut_short)
{
    start_target(wait_in_all_ways);
    for (int i = 0; i < 60; i++) {
        freeze_report report = freeze_well(i % 2 ? ONLOOKER_FREEZE_STOP : ONLOOKER_FREEZE_SNAPSHOT);
        if (i > 3)
            CHECK_EQUAL(report.threads, WAITS);
        await_turns(i % (int)WAITS, 1);
    }
    for (int i = 0; i < (int)WAITS; i++)
        await_turns(i, 2);
    end_target();
}

/* --- signals, jobs, children --- */

static void on_signal(int signal)
{
    (void)signal;
    target->signals++;
}

static void count_signals(void)
{
    signal(SIGRTMIN, on_signal);
    count_on();
}

TEST(signals_that_come_meanwhile_come_once)
{
    start_target(count_signals);
    uint64_t sent = 0;
    for (int i = 0; i < 60; i++) {
        freeze_options options =
            make_options(i % 2 ? ONLOOKER_FREEZE_STOP : ONLOOKER_FREEZE_SNAPSHOT);
        CHECK(!sigqueue(target->pid, SIGRTMIN, (union sigval){0})); /* some stops come with it */
        freeze *frozen = begin_freeze(&options);
        CHECK(!sigqueue(target->pid, SIGRTMIN, (union sigval){0}));
        freeze_end(frozen);
        freeze_close(frozen);
        CHECK(!sigqueue(target->pid, SIGRTMIN, (union sigval){0}));
        sent += 3;
        check_free();
    }
    while (target->signals < sent)
        sched_yield();
    check_free();
    CHECK_EQUAL(target->signals, sent);
    CHECK(status_is(target->pid, "SigBlk", "0000000000000000"));
    end_target();
}

TEST(a_stopped_job_stays_stopped)
{
    siginfo_t info;
    start_target(count_on);
    CHECK(!kill(target->pid, SIGSTOP));
    CHECK(!waitid(P_PID, (id_t)target->pid, &info, WSTOPPED));
    uint64_t count = target->counts[0];
    for (int i = 0; i < 10; i++) {
        freeze_well(i % 2 ? ONLOOKER_FREEZE_STOP : ONLOOKER_FREEZE_SNAPSHOT);
        while (!status_is(target->pid, "State", "T"))
            sched_yield();
        CHECK_EQUAL(target->counts[0], count);
    }
    CHECK(!kill(target->pid, SIGCONT));
    check_free();
    /* So it does if the signal comes while it is frozen. */
    freeze_options options = make_options(ONLOOKER_FREEZE_STOP);
    freeze *frozen = begin_freeze(&options);
    CHECK(!kill(target->pid, SIGSTOP));
    freeze_close(frozen);
    CHECK(!waitid(P_PID, (id_t)target->pid, &info, WSTOPPED));
    CHECK(!kill(target->pid, SIGCONT));
    check_free();
    end_target();
}

static void look_for_children(void)
{
    signal(SIGCHLD, on_signal);
    for (;;) {
        if (waitpid(-1, NULL, WNOHANG) != -1 || errno != ECHILD)
            target->errors++;
        turn(0);
    }
}

TEST(no_child_is_seen)
{
    start_target(look_for_children);
    for (int i = 0; i < 100; i++) {
        freeze_well(ONLOOKER_FREEZE_SNAPSHOT);
        await_turns(0, 10);
    }
    CHECK_EQUAL(target->signals, 0);
    check_free();
    end_target();
}

/* --- threads --- */

static void *end_at_once(void *argument)
{
    turn(1);
    return argument;
}

static void start_threads(void)
{
    for (pthread_t threads[4];;) {
        for (int i = 0; i < 4; i++)
            if (pthread_create(&threads[i], NULL, end_at_once, NULL))
                _exit(1);
        for (int i = 0; i < 4; i++)
            pthread_join(threads[i], NULL);
        own_count++;
        turn(0);
    }
}

TEST(threads_that_come_and_go)
{
    start_target(start_threads);
    for (int i = 0; i < 200; i++) {
        freeze_well(i % 2 ? ONLOOKER_FREEZE_STOP : ONLOOKER_FREEZE_SNAPSHOT);
        check_free();
    }
    end_target();
}

enum { MANY = 2000 };

static void *wait_for_ever(void *argument)
{
    for (;;)
        pause();
    return argument;
}

static void start_many(void)
{
    pthread_t thread;
    pthread_attr_t small;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 65536);
    for (int i = 0; i < MANY; i++)
        if (pthread_create(&thread, &small, wait_for_ever, NULL))
            _exit(1);
    count_on();
}

TEST(thousands_of_threads)
{
    start_target(start_many);
    for (int i = 0; i < 3; i++) {
        CHECK_EQUAL(freeze_well(ONLOOKER_FREEZE_SNAPSHOT).threads, MANY + 1);
        CHECK_EQUAL(freeze_well(ONLOOKER_FREEZE_STOP).threads, MANY + 1);
        check_free();
    }
    end_target();
}
