/* displace.h: makes a thread that runs stand still without stopping it, by being on its CPU.
 *
 * A thread that is runnable on the very CPU that we run on isn't running. The kernel counts how
 * often each thread has been given a CPU (the third number of /proc/PID/task/TID/schedstat); while
 * this number stays the same the thread has not run, on whichever CPU. So what is read in between
 * is what the thread's memory was at one instant: proof, where an unchanged stack in two readings
 * is only evidence. The thread loses what it loses to any other process that gets a turn. It sees
 * no signal, no tracer and no interrupted system call, and if we lose the CPU ourselves it goes on.
 */
#ifndef ONLOOKER_DISPLACE_H
#define ONLOOKER_DISPLACE_H

#include <sched.h>

#include "recorder.h"
#include "tasks.h"

typedef struct displacement {
    bool bound;        /* to one CPU */
    cpu_set_t cpus;    /* those that the calling thread may use otherwise */
    uint64_t slice_ns; /* as it was; 0: not changed */
    uint64_t slices;   /* of the thread that stands still */
} displacement;

enum displaced {
    DISPLACED,        /* stands still: read it now, then ask displace_held */
    DISPLACED_ASLEEP, /* it neither runs nor waits for a CPU */
    DISPLACED_NOT,    /* can't be done: its CPU is not for us, or the kernel doesn't count */
};

/* Binds the calling thread to TASK's CPU; it stays so until displace_end. */
enum displaced displace_begin(displacement *displacement, tasks *tasks, task *task);

/* True if the thread hasn't run since displace_begin. */
bool displace_held(const displacement *displacement, tasks *tasks, task *task);

/* Gives the calling thread back the CPUs that it had. */
void displace_end(displacement *displacement);

/* And the slices. Setting them costs the calling thread its turn, so it is not for every read. */
void displace_finish(displacement *displacement);

#endif
