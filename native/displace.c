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
    CPU_ZERO(&cpus);
    CPU_SET((size_t)cpu, &cpus);
    if (displacement->cpu == DISPLACE_UNBOUND) {
        if (sched_getaffinity(0, sizeof displacement->cpus, &displacement->cpus))
            return false;
        displacement->slice_ns = set_slice(SLICE_NS);
    }
    if (sched_setaffinity(0, sizeof cpus, &cpus)) {
        displace_end(displacement);
        return false;
    }
    displacement->cpu = cpu;
    return true;
}

enum displaced displace_begin(displacement *displacement, tasks *tasks, task *task)
{
    for (uint32_t i = 0; i < FOLLOW_LIMIT; i++) {
        if (!task_account(tasks, task) || !task->slices)
            return DISPLACED_NOT;
        displacement->slices = task->slices;
        int32_t cpu = task_cpu(tasks, task);
        if (cpu == TASK_OFF_CPU)
            return DISPLACED_ASLEEP;
        /* We are on this CPU, so the thread is not, and task->slices was counted before. (Somebody
         * else may have unbound us.) */
        if (cpu == displacement->cpu && cpu == sched_getcpu())
            return DISPLACED;
        if (cpu >= CPU_SETSIZE || !bind_to(displacement, cpu))
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
    if (displacement->cpu != DISPLACE_UNBOUND)
        sched_setaffinity(0, sizeof displacement->cpus, &displacement->cpus);
    if (displacement->slice_ns)
        set_slice(displacement->slice_ns);
    displacement->cpu = DISPLACE_UNBOUND;
    displacement->slice_ns = 0;
}
