#include "displace.h"

/* Times that we follow a thread from CPU to CPU. */
#define FOLLOW_LIMIT 4u

bool displace_hurry(displacement *displacement)
{
    if (displacement->hurried)
        return true;
    displacement->policy = sched_getscheduler(0);
    struct sched_param least = {.sched_priority = sched_get_priority_min(SCHED_FIFO)};
    displacement->hurried = displacement->policy >= 0 &&
                            sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &least) == 0;
    return displacement->hurried;
}

bool displace_to(displacement *displacement, int32_t cpu, bool reluctantly)
{
    cpu_set_t cpus;
    if (cpu < 0 || cpu >= CPU_SETSIZE || (!displace_hurry(displacement) && !reluctantly))
        return false;
    if (displacement->bound && displacement->cpu == cpu)
        return true;
    CPU_ZERO(&cpus);
    CPU_SET((size_t)cpu, &cpus);
    if (!displacement->bound &&
        sched_getaffinity(0, sizeof displacement->cpus, &displacement->cpus))
        return false;
    if (sched_setaffinity(0, sizeof cpus, &cpus))
        return false;
    displacement->bound = true;
    displacement->cpu = cpu;
    return true;
}

enum displaced displace_begin(displacement *displacement, tasks *tasks, task *task,
                              bool reluctantly)
{
    /* It has just been looked at, from where we are. */
    if (displacement->bound && task->ours_since && task->ours_since == task->slices) {
        displacement->slices = task->slices;
        return DISPLACED;
    }
    /* It has most likely stayed where it was last seen. */
    displace_to(displacement, task->cpu, reluctantly);
    for (uint32_t i = 0; i < FOLLOW_LIMIT; i++) {
        if (!task_account(tasks, task) || !task->slices)
            return DISPLACED_NOT;
        displacement->slices = task->slices;
        if (!task_on_cpu(tasks, task))
            return DISPLACED_ASLEEP;
        if (task->ours_since)
            return DISPLACED;
        if (!displace_to(displacement, task->cpu, reluctantly))
            return DISPLACED_NOT;
    }
    return DISPLACED_NOT;
}

bool displace_held(const displacement *displacement, tasks *tasks, task *task)
{
    task->ours_since = 0;
    return task_account(tasks, task) && task->slices == displacement->slices;
}

void displace_avoid(int32_t cpu)
{
    cpu_set_t cpus, others;
    if (cpu != sched_getcpu() || sched_getaffinity(0, sizeof cpus, &cpus))
        return;
    others = cpus;
    CPU_CLR((size_t)cpu, &others);
    if (CPU_COUNT(&others) && !sched_setaffinity(0, sizeof others, &others))
        sched_setaffinity(0, sizeof cpus, &cpus);
}

void displace_elsewhere(displacement *displacement)
{
    if (!displacement->bound)
        return;
    displacement->bound = false;
    sched_setaffinity(0, sizeof displacement->cpus, &displacement->cpus);
    displace_avoid(displacement->cpu);
}

void displace_end(displacement *displacement)
{
    displace_elsewhere(displacement);
    if (displacement->hurried) {
        struct sched_param none = {0};
        sched_setscheduler(0, displacement->policy, &none);
        displacement->hurried = false;
    }
}
