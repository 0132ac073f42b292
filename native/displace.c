#include "displace.h"

#include <sys/syscall.h>
#include <unistd.h>

/* Times that we follow a thread from CPU to CPU. */
#define FOLLOW_LIMIT 4u

/* A waking thread takes the CPU at once from one with a longer slice; with equal slices it may have
 * to wait some milliseconds (EEVDF since Linux 6.12; older kernels ignore the wish). */
#define SLICE_NS 100000u

/* struct sched_attr of <linux/sched/types.h>, first version, which can't be included together with
 * <sched.h> everywhere. `runtime` is the slice of a SCHED_OTHER thread. */
typedef struct attributes {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime, deadline, period;
} attributes;

/* Returns the slice as it was, or 0 when it can't be changed. */
static uint64_t set_slice(uint64_t slice_ns)
{
    attributes attributes = {0};
    if (syscall(SYS_sched_getattr, 0, &attributes, sizeof attributes, 0) ||
        attributes.policy != SCHED_OTHER)
        return 0;
    uint64_t old_ns = attributes.runtime;
    attributes.runtime = slice_ns;
    return syscall(SYS_sched_setattr, 0, &attributes, 0) ? 0 : old_ns;
}

static bool bind_to(displacement *displacement, int32_t cpu)
{
    cpu_set_t cpus;
    if (cpu < 0 || cpu >= CPU_SETSIZE)
        return false;
    CPU_ZERO(&cpus);
    CPU_SET((size_t)cpu, &cpus);
    if (!displacement->bound &&
        sched_getaffinity(0, sizeof displacement->cpus, &displacement->cpus))
        return false;
    if (!displacement->slice_ns)
        displacement->slice_ns = set_slice(SLICE_NS);
    if (sched_setaffinity(0, sizeof cpus, &cpus))
        return false;
    displacement->bound = true;
    return true;
}

enum displaced displace_begin(displacement *displacement, tasks *tasks, task *task)
{
    /* It has most likely stayed where it was last seen; reading its CPU anew takes longer than all
     * the rest. */
    if (task->cpu != sched_getcpu())
        bind_to(displacement, task->cpu);
    for (uint32_t i = 0; i < FOLLOW_LIMIT; i++) {
        if (!task_account(tasks, task) || !task->slices)
            return DISPLACED_NOT;
        displacement->slices = task->slices;
        if (!task_on_cpu(tasks, task))
            return DISPLACED_ASLEEP;
        /* We are on this CPU, so the thread is not, and task->slices was counted before. */
        if (task->cpu == sched_getcpu())
            return DISPLACED;
        if (!bind_to(displacement, task->cpu))
            return DISPLACED_NOT;
    }
    return DISPLACED_NOT;
}

bool displace_held(const displacement *displacement, tasks *tasks, task *task)
{
    return task_account(tasks, task) && task->slices == displacement->slices;
}

void displace_end(displacement *displacement)
{
    if (displacement->bound)
        sched_setaffinity(0, sizeof displacement->cpus, &displacement->cpus);
    displacement->bound = false;
}

void displace_finish(displacement *displacement)
{
    displace_end(displacement);
    if (displacement->slice_ns)
        set_slice(displacement->slice_ns);
    displacement->slice_ns = 0;
}
