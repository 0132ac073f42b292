/* cpu.h: the CPU time that the kernel charged, shared out among the samples.
 *
 * A sample tells what a thread was doing at one instant; what it weighs is the thread's own run
 * time since its CPU sample before. So the shares are those of a fair sample and the sum is the
 * kernel's. */
#ifndef ONLOOKER_CPU_H
#define ONLOOKER_CPU_H

#include "stacks.h"
#include "tasks.h"
#include "threads.h"

typedef struct cpu {
    tasks *tasks;
    stacks *stacks;
    threads *threads;
    uint64_t period_ns;
    uint64_t process_base_ns, process_ns; /* of the whole process: at the start, when last read */
    uint64_t orphans_given_ns;
} cpu;

/* From now on CPU time counts. */
void cpu_init(cpu *cpu, tasks *tasks, stacks *stacks, threads *threads, uint64_t period_ns);

/* A CPU sample of TASK was counted in row ROW_INDEX; task_account has just been called. */
void cpu_charge(cpu *cpu, task *task, uint32_t row_index);

/* Gives the time of threads that are not Python's to rows of their own: they have no Python stack,
 * but the process's CPU time is theirs too. Looks for new and ended threads. */
void cpu_charge_native_threads(cpu *cpu);

/* Gives what no sample has taken yet to each thread's last CPU sample. */
void cpu_finish(cpu *cpu);

#endif
