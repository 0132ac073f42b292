/* watch_target.h: a program that creates threads, sleeps and gets signals, and an agent that
 * watches it, in whatever process wants to. Each is used by one test at a time. */
#ifndef WATCH_TARGET_H
#define WATCH_TARGET_H

#include "check.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include "recorder.h"

#include "onlooker_watch.h"

#define CREATORS 3
#define SLEEPERS 4

/* What a target and the test share. The target has no Python: its _PyRuntime is all zeros. */
typedef struct shared {
    volatile int32_t pid;
    volatile uint64_t wanted; /* threads that each creator is to have created */
    volatile uint64_t created[CREATORS];
    volatile uint64_t ran; /* threads that did */
    volatile uint64_t sent, signals, sleeps, interrupted;
    volatile int does; /* what DOES says */
    volatile int reaped;
    volatile int32_t other; /* the target's child */
} shared;

enum does { CREATES, EXITS, EXECUTES, CLONES };

static shared *target;
static uint64_t no_runtime[64];

static inline void on_signal(int signal)
{
    (void)signal;
    __atomic_add_fetch(&target->signals, 1, __ATOMIC_SEQ_CST);
}

static inline void *run(void *argument)
{
    (void)argument;
    __atomic_add_fetch(&target->ran, 1, __ATOMIC_SEQ_CST);
    return NULL;
}

static inline void *create(void *argument)
{
    volatile uint64_t *created = argument;
    for (;;) {
        pthread_t made;
        if (*created >= target->wanted) {
            usleep(100);
            continue;
        }
        if (pthread_create(&made, NULL, run, NULL))
            continue; /* while another thread executes a program (copy_fs in kernel/fork.c) */
        pthread_join(made, NULL);
        (*created)++;
    }
    return NULL;
}

/* System calls that a stop interrupts for good, if anything stops them. */
static inline void *sleep_in(void *argument)
{
    struct epoll_event event;
    struct timespec tick = {.tv_nsec = 2000000};
    sigset_t none;
    sigemptyset(&none);
    sigaddset(&none, SIGRTMAX);
    int epoll = epoll_create1(0);
    for (;;) {
        int result = 0;
        switch ((intptr_t)argument % SLEEPERS) {
        case 0:
            result = epoll_wait(epoll, &event, 1, 2);
            break;
        case 1:
            result = nanosleep(&tick, NULL);
            break;
        case 2:
            result = sigtimedwait(&none, NULL, &tick) < 0 && errno == EAGAIN ? 0 : -1;
            break;
        default:
            result = select(0, NULL, NULL, NULL, &(struct timeval){.tv_usec = 2000});
        }
        __atomic_add_fetch(&target->sleeps, 1, __ATOMIC_SEQ_CST);
        if (result < 0)
            __atomic_add_fetch(&target->interrupted, 1, __ATOMIC_SEQ_CST);
    }
    return NULL;
}

static inline int run_foreign(void *argument)
{
    (void)argument;
    for (;;)
        pause();
    return 0;
}

static inline void clone_foreign(void)
{
    static char stack[1 << 16];
    if (target->other)
        return;
    pid_t made = clone(run_foreign, stack + sizeof stack, 0, NULL);
    target->other = made;
}

static inline void run_target(void)
{
    pthread_t made;
    sigset_t signals;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    target->pid = getpid();
    /* For the main thread only, which sleeps in nothing that minds. */
    sigemptyset(&signals);
    sigaddset(&signals, SIGRTMIN);
    signal(SIGRTMIN, on_signal);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    for (int i = 0; i < CREATORS; i++)
        if (pthread_create(&made, NULL, create, (void *)&target->created[i]))
            _exit(1);
    for (intptr_t i = 0; i < SLEEPERS; i++)
        if (pthread_create(&made, NULL, sleep_in, (void *)i))
            _exit(1);
    pthread_sigmask(SIG_UNBLOCK, &signals, NULL);
    for (;;) {
        switch (target->does) {
        case EXITS:
            _exit(7);
        case EXECUTES:
            execl("/bin/sleep", "sleep", "1000", NULL);
            _exit(1);
        case CLONES:
            clone_foreign();
            break;
        default:
            break;
        }
        usleep(100);
    }
}

static inline void await_creations(void)
{
    uint64_t from[CREATORS];
    memcpy(from, (void *)target->created, sizeof from);
    for (int i = 0; i < CREATORS; i++)
        while (target->created[i] == from[i])
            usleep(100);
}

/* A target whose parent is the test, or another process that waits for its end as a shell would. */
static inline void start(bool own_child, uint64_t wanted)
{
    target = mmap(NULL, sizeof *target, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(target != MAP_FAILED);
    pid_t parent = own_child ? 0 : fork();
    CHECK(parent >= 0);
    if (own_child || !parent) {
        if (!own_child)
            prctl(PR_SET_PDEATHSIG, SIGKILL);
        pid_t pid = fork();
        if (!pid)
            run_target();
        if (!own_child) {
            target->reaped = waitpid(pid, NULL, 0) == pid ? 1 : -1;
            _exit(0);
        }
    }
    while (target->sleeps < 2 * SLEEPERS)
        usleep(100);
    target->wanted = wanted;
    if (wanted)
        await_creations();
}

static inline void end_target(void)
{
    kill(target->pid, SIGKILL);
    while (wait(NULL) > 0)
        ;
    munmap(target, sizeof *target);
}

/* An agent. */
typedef struct agent {
    memory *source;
    recorder *recorder;
    watch *watch;
    int error;
} agent;

static inline agent open_agent(bool own_child)
{
    layout layout;
    memset(&layout, 0, sizeof layout);
    layout.bytes_data = 1; /* or it would be no layout */
    options options = {.runtime = (uint64_t)(uintptr_t)no_runtime,
                       .period_ns = 1000000,
                       .depth = 8,
                       .pthread_tid_offset = ONLOOKER_NONE,
                       .own_child = own_child};
    agent agent = {.source = memory_open_process(target->pid)};
    CHECK(agent.source);
    agent.recorder = recorder_open(agent.source, target->pid, &layout, &options);
    CHECK(agent.recorder);
    agent.watch = watch_open(agent.recorder);
    CHECK(agent.watch);
    agent.error = watch_begin(agent.watch);
    return agent;
}

static inline void close_agent(agent *agent)
{
    watch_close(agent->watch);
    recorder_close(agent->recorder);
    memory_close(agent->source);
}

/* A word of /proc/TID/status of every thread of the target: all of them are one of these words. */
static inline bool all_are(const char *field, const char *words)
{
    char command[256];
    snprintf(command, sizeof command,
             "! cat /proc/%d/task/*/status 2>/dev/null | grep '^%s:' | grep -vq '^%s:.*[%s]'",
             target->pid, field, field, words);
    return system(command) == 0;
}

static inline void check_free(void)
{
    CHECK(all_are("TracerPid", "\t"));
    char command[256];
    snprintf(command, sizeof command,
             "! cat /proc/%d/task/*/status 2>/dev/null | grep TracerPid | grep -q '[1-9]'",
             target->pid);
    CHECK_EQUAL(system(command), 0);
    await_creations();
    CHECK_EQUAL(target->interrupted, 0);
}

static inline uint64_t send_signals(int count)
{
    for (int i = 0; i < count; i++) {
        while (sigqueue(target->pid, SIGRTMIN, (union sigval){0})) {
            CHECK_EQUAL(errno, EAGAIN); /* the queue is full */
            usleep(100);
        }
    }
    return (uint64_t)count;
}

#endif
