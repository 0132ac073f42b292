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
    bool bound; /* to one CPU: */
    int32_t cpu;
    cpu_set_t cpus;  /* those that the calling thread may use otherwise */
    bool hurried;    /* it is a real-time thread for the moment */
    int policy;      /* that it has otherwise */
    uint64_t slices; /* of the thread that stands still */
} displacement;

enum displaced {
    DISPLACED,        /* stands still: read it now, then ask displace_held */
    DISPLACED_ASLEEP, /* it neither runs nor waits for a CPU */
    DISPLACED_NOT,    /* can't be done: its CPU is not for us, or the kernel doesn't count */
};

/* Puts the calling thread before all ordinary threads, until displace_end. False if it has no right
 * to real time (CAP_SYS_NICE).
 *
 * An ordinary thread that is woken, or comes to a CPU, may have to wait there until the other makes
 * a system call (lazy preemption, since Linux 6.13), and then finds it nowhere else. */
bool displace_hurry(displacement *displacement);

/* Puts the calling thread on CPU, in a hurry, until displace_end. False if it may not; RELUCTANTLY
 * does without the hurry.
 *
 * Best go there and sleep: the timer that wakes us then interrupts whatever runs. To take a running
 * thread's CPU at once another CPU has to be interrupted, which takes its time; on some virtual
 * machines as long as until the next system call, and then that is where the thread is found. */
bool displace_to(displacement *displacement, int32_t cpu, bool reluctantly);

/* Takes TASK's CPU in this way, if we are not on it already. */
enum displaced displace_begin(displacement *displacement, tasks *tasks, task *task,
                              bool reluctantly);

/* True if the thread hasn't run since displace_begin. */
bool displace_held(const displacement *displacement, tasks *tasks, task *task);

/* Goes to another CPU if the calling thread is on this one: who sleeps in a hurry wakes up where it
 * was, whoever runs there. */
void displace_avoid(int32_t cpu);

/* Gives the CPU back: whatever we do next is not for this one. */
void displace_elsewhere(displacement *displacement);

/* Likewise, and ends the hurry. */
void displace_end(displacement *displacement);

#endif
