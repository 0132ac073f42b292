/* pause.h: stops one thread of the target for as long as a read takes. Nothing stays behind: the
 * thread is seized, stopped, read and let go in one breath, and if this process dies in between
 * the kernel lets it go. */
#ifndef ONLOOKER_PAUSE_H
#define ONLOOKER_PAUSE_H

#include "recorder.h"

#include "onlooker_pause.h"

struct thread_stop {
    int32_t leader; /* the target's pid */
    bool own_child; /* never reap the leader: somebody waits for it */
    int32_t tid;    /* stopped now, or asked to stop; 0: none */
    int32_t signal; /* that the stop held back */
    bool stopped;
    uint64_t stopped_ns; /* when */
};

/* Stops TID, which should be running: a system call that it blocks in might return EINTR. Returns
 * 0, or an errno: ESRCH (the thread is gone), EPERM (not allowed, or another tracer has it),
 * ETIMEDOUT (it did not stop; it will be let go as soon as it does), EBUSY (still waiting for
 * one like that). */
int pause_begin(thread_stop *stop, int32_t tid);

/* Lets the thread go, with the signal that arrived meanwhile. Returns the length of the stop, ns.
 */
uint64_t pause_end(thread_stop *stop);

/* Lets go of a thread that stops later than pause_begin waited for it, as soon as it does. Returns
 * then, at UNTIL_NS (CLOCK_MONOTONIC) or when a signal comes; at once if there is no such thread.
 * Call it whenever there is nothing else to do: nobody else lets go of the thread. */
void pause_settle(thread_stop *stop, uint64_t until_ns);

/* Call after the last stop: waits a moment for a thread that did not stop in time, or that was
 * killed while it was stopped, to let go of it. (The kernel does so when this process ends.) */
void pause_finish(thread_stop *stop);

#endif
