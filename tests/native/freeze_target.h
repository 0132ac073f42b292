/* freeze_target.h: targets for the tests of native/freeze.c. They account for themselves in memory
 * that they share with the test: a clone that ran would show there too. */
#ifndef FREEZE_TARGET_H
#define FREEZE_TARGET_H

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include "check.h"
#include "onlooker_freeze.h"

#define THREADS 16

typedef struct shared {
    volatile int32_t pid;
    volatile uint64_t counts[THREADS]; /* turns of each thread */
    volatile uint64_t errors;          /* a wrong result, a wait cut short, EINTR */
    volatile uint64_t rogues;          /* turns in another process than the target */
    volatile uint64_t signals;
    volatile uint64_t calls; /* that an agent made */
    volatile int flag;
    int pipe[2];
} shared;

static shared *target;

static inline void make_target(void)
{
    target = mmap(NULL, sizeof *target, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(target != MAP_FAILED);
    CHECK(!pipe2(target->pipe, O_CLOEXEC));
}

static inline void turn(int thread)
{
    if (getpid() != target->pid)
        target->rogues++;
    target->counts[thread]++;
}

static inline void await_turns(int thread, uint64_t turns)
{
    uint64_t from = target->counts[thread];
    while (target->counts[thread] < from + turns)
        sched_yield();
}

/* Starts a process that runs BODY, which never returns. */
static inline void start_target(void (*body)(void))
{
    make_target();
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (!pid) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        target->pid = getpid();
        body();
    }
    while (!target->counts[0])
        sched_yield();
}

static inline void end_target(void)
{
    CHECK_EQUAL(target->errors, 0);
    CHECK_EQUAL(target->rogues, 0);
    kill(target->pid, SIGKILL);
    while (wait(NULL) > 0)
        ;
    close(target->pipe[0]);
    close(target->pipe[1]);
    munmap(target, sizeof *target);
}

/* A word of /proc/PID/status; "none" if it is not there. */
static inline void read_status(int32_t tid, const char *field, char out[32])
{
    char path[64], line[256];
    snprintf(path, sizeof path, "/proc/%d/status", tid);
    FILE *file = fopen(path, "r");
    snprintf(out, 32, "none");
    while (file && fgets(line, sizeof line, file))
        if (!strncmp(line, field, strlen(field)) && line[strlen(field)] == ':')
            sscanf(line + strlen(field) + 1, "%31s", out);
    if (file)
        fclose(file);
}

static inline bool status_is(int32_t tid, const char *field, const char *value)
{
    char now[32];
    read_status(tid, field, now);
    return !strcmp(now, value);
}

/* The target's children. */
static inline uint32_t children(int32_t *out, uint32_t limit)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", target->pid, target->pid);
    FILE *file = fopen(path, "r");
    CHECK(file);
    uint32_t count = 0;
    while (count < limit && fscanf(file, "%d", &out[count]) == 1)
        count++;
    fclose(file);
    return count;
}

/* Targets are forked from us, so what is here is there. */
static inline uint64_t find_code(const char *code, size_t size)
{
    static char line[512];
    uint64_t start, end, found = 0;
    FILE *file = fopen("/proc/self/maps", "r");
    CHECK(file);
    while (!found && fgets(line, sizeof line, file))
        if (strstr(line, "r-xp") && strstr(line, "libc") &&
            sscanf(line, "%lx-%lx", &start, &end) == 2)
            found = (uint64_t)(uintptr_t)memmem((void *)start, end - start, code, size);
    fclose(file);
    CHECK(found);
    return found;
}

static inline freeze_options make_options(int how)
{
    return (freeze_options){
        .pid = target->pid,
        .how = how,
        .own_child = true,
        .memory_fd = -1,
        .syscall_return = find_code("\x0f\x05\xc3", 3),
        .sigreturn = find_code("\x48\xc7\xc0\x0f\0\0\0\x0f\x05", 9),
        .stop_limit_ns = UINT64_C(60000000000),
        .hold_limit_ns = UINT64_C(60000000000),
    };
}

static inline freeze *begin_freeze(const freeze_options *options)
{
    freeze *frozen = freeze_open(options);
    CHECK(frozen);
    CHECK_EQUAL(freeze_begin(frozen), 0);
    return frozen;
}

static inline freeze_report freeze_once(const freeze_options *options)
{
    freeze_report report;
    freeze *frozen = begin_freeze(options);
    freeze_end(frozen);
    freeze_look(frozen, &report);
    freeze_close(frozen);
    return report;
}

#endif
