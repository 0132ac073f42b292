#include "cpu.h"

#include <string.h>

void cpu_init(cpu *cpu, tasks *tasks, stacks *stacks, threads *threads, uint64_t period_ns)
{
    cpu->tasks = tasks;
    cpu->stacks = stacks;
    cpu->threads = threads;
    cpu->period_ns = period_ns;
    tasks_scan(tasks);
    cpu->process_base_ns = cpu->process_ns = tasks_process_cpu_ns(tasks);
}

/* CPU time of threads that have ended without a sample having taken it. */
static uint64_t orphaned_ns(const cpu *cpu)
{
    uint64_t all_ns = cpu->process_ns - cpu->process_base_ns;
    uint64_t accounted_ns =
        tasks_live_cpu_ns(cpu->tasks) + cpu->tasks->dead_ns + cpu->orphans_given_ns;
    return all_ns > accounted_ns ? all_ns - accounted_ns : 0;
}

/* A thread that lives shorter than a period is met with a chance in proportion to its CPU time, but
 * most of them are not met at all and of those that are, what they run afterwards is missed. That
 * time goes to the ones that are met, so that the sum is right and the shares are too. */
static void adopt_orphans(cpu *cpu, uint32_t row_index)
{
    uint64_t orphans_ns = orphaned_ns(cpu);
    cpu->stacks->rows[row_index].cpu_ns += orphans_ns;
    cpu->orphans_given_ns += orphans_ns;
}

void cpu_charge(cpu *cpu, task *task, uint32_t row_index)
{
    /* The kernel accounts a running thread only at its own ticks, so what it reports now belongs to
     * all CPU samples since it last reported something. */
    uint64_t accounted_ns = task->run_ns - task->charged_ns;
    if (task->pending_count == PENDING_LIMIT)
        memmove(task->pending, task->pending + 1, --task->pending_count * sizeof *task->pending);
    task->pending[task->pending_count++] = row_index;
    task->last_cpu_row = row_index;
    if (accounted_ns) {
        uint64_t count = task->pending_count;
        for (uint64_t i = 0; i < count; i++)
            cpu->stacks->rows[task->pending[i]].cpu_ns +=
                accounted_ns * (i + 1) / count - accounted_ns * i / count;
        task->charged_ns = task->run_ns;
        task->pending_count = 0;
    }
    if (task->newborn) {
        task->newborn = false;
        adopt_orphans(cpu, row_index);
    }
}

static void charge_native_thread(cpu *cpu, task *task)
{
    uint64_t run_ns = task->run_ns - task->charged_ns;
    uint32_t index = stacks_row(cpu->stacks, stacks_pseudo(cpu->stacks, ONLOOKER_CODE_NATIVE),
                                threads_native_record(cpu->threads, task), ONLOOKER_ON_CPU, 0);
    cpu->stacks->rows[index].count += (uint32_t)(run_ns / cpu->period_ns) + 1;
    cpu->stacks->rows[index].cpu_ns += run_ns;
    task->charged_ns = task->run_ns;
}

void cpu_charge_native_threads(cpu *cpu)
{
    uint64_t process_ns = tasks_process_cpu_ns(cpu->tasks);
    if (process_ns && process_ns == cpu->process_ns)
        return; /* nobody ran */
    /* Read before the threads' own accounts, so that what they run meanwhile is nobody's orphan.
     * Unknown, once the process has ended and its parent knows: then what it was last. */
    if (process_ns > cpu->process_ns)
        cpu->process_ns = process_ns;
    tasks_scan(cpu->tasks);
    for (uint32_t i = 0; i < cpu->tasks->count; i++) {
        task *task = cpu->tasks->items[i];
        bool foreign = !task->python;
        /* A thread of Python's that has just been created has no thread state of its own yet. */
        bool sure = foreign && (task->foreign || !task->newborn);
        task->foreign = foreign;
        if (task_account(cpu->tasks, task) && sure && task->run_ns != task->charged_ns)
            charge_native_thread(cpu, task);
    }
}

void cpu_finish(cpu *cpu)
{
    uint32_t unsampled = stacks_pseudo(cpu->stacks, ONLOOKER_CODE_UNSAMPLED);
    cpu_charge_native_threads(cpu);
    for (uint32_t i = 0; i < cpu->tasks->count; i++) {
        task *task = cpu->tasks->items[i];
        uint64_t rest_ns = task->run_ns - task->charged_ns;
        if (!rest_ns || task->gone)
            continue;
        uint32_t index = task->last_cpu_row;
        if (index == UINT32_MAX)
            index = stacks_row(cpu->stacks, unsampled, threads_native_record(cpu->threads, task),
                               ONLOOKER_ON_CPU, 0);
        cpu->stacks->rows[index].cpu_ns += rest_ns;
        task->charged_ns = task->run_ns;
    }
    if (orphaned_ns(cpu))
        adopt_orphans(
            cpu, stacks_row(cpu->stacks, unsampled, THREADS_SHARED_RECORD, ONLOOKER_ON_CPU, 0));
}
