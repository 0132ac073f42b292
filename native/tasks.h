/* tasks.h: the target's threads as the kernel sees them, through /proc/PID/task. */
#ifndef ONLOOKER_TASKS_H
#define ONLOOKER_TASKS_H

#include "map.h"
#include "recorder.h"

/* CPU samples that wait for the kernel to account the time they stand for: it does so at its own
 * timer tick, which comes later than a fast recorder's. */
#define PENDING_LIMIT 16u

typedef struct task {
    int32_t tid;                           /* as our pid namespace knows it */
    int32_t target_tid;                    /* as the target's does */
    int schedstat_fd, stat_fd, syscall_fd; /* -1: not open */
    bool gone;
    bool python;            /* some Python thread state refers to it */
    bool foreign;           /* none did when the CPU time of such threads was last given out */
    bool asleep;            /* was off CPU when run_ns and slices were what they are now */
    bool wait_known;        /* wait and waits_at are of this sleep */
    uint32_t wait;          /* ONLOOKER_WAIT_... */
    uint64_t waits_at;      /* the call's first argument: what a futex is waited for at */
    uint64_t stack_pointer; /* in that call */
    uint32_t record;        /* as a thread that is not Python's; UINT32_MAX: none yet */
    uint32_t python_record; /* as a Python thread, the last one; UINT32_MAX: none yet */
    uint64_t run_ns;        /* on CPU since it was created, by the kernel's account */
    uint64_t slices;        /* times it got a CPU */
    int32_t cpu;            /* that it was on or waited for when that was last asked; or -1 */
    uint64_t ours_since;    /* its slices before that, if that was our own CPU: as long as they stay
                             * the same it has not run since; else 0 */
    uint64_t base_ns;       /* run_ns when the recording began; 0 for younger threads */
    uint64_t charged_ns;    /* part of run_ns that samples have got, base_ns included */
    uint32_t pending[PENDING_LIMIT]; /* rows that share what is accounted next */
    uint32_t pending_count;
    uint32_t last_cpu_row; /* UINT32_MAX: none yet */
    bool newborn;          /* created since the recording began, without a CPU sample yet */
    uint32_t seen;         /* number of the last scan that met it */
} task;

typedef struct tasks {
    int32_t pid;
    bool namespaced;
    int task_fd;    /* /proc/PID/task */
    int kept_below; /* files with a lower number stay open between reads */
    task **items;
    uint32_t count, capacity;
    map by_tid, by_target_tid; /* -> items */
    uint32_t scan;             /* number of the last scan */
    uint64_t dead_ns;          /* what samples got of threads that have ended */
} tasks;

/* False with errno set when /proc/PID/task cannot be opened. */
bool tasks_init(tasks *tasks, int32_t pid, bool namespaced);

/* The thread whose id in the target's own pid namespace is TARGET_TID; NULL when there is none (any
 * more). */
task *tasks_find(tasks *tasks, int32_t target_tid);

/* Looks for new and ended threads, and forgets the ended ones that no Python thread state refers
 * to. Threads met before the first scan has ended are older than the recording. */
void tasks_scan(tasks *tasks);

/* Updates run_ns and slices, and clears `asleep` if the thread may have run since. False, and
 * `gone`, when the thread has ended. */
bool task_account(tasks *tasks, task *task);

/* True when the thread is on a CPU or waits for one, at this instant; that is task->cpu then. */
bool task_on_cpu(tasks *tasks, task *task);

/* Finds out what a thread that is `asleep` waits in. */
void task_find_wait(tasks *tasks, task *task);

/* CPU time of the whole process, threads that ended included; 0 when unknown. */
uint64_t tasks_process_cpu_ns(const tasks *tasks);

/* CPU time since the recording began of the threads alive, as of their last task_account. */
uint64_t tasks_live_cpu_ns(const tasks *tasks);

void tasks_free(tasks *tasks);

#endif
