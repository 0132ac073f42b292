/* locks.h: locks that know who holds them, which of Python's is threading.RLock (_thread.RLock; a
 * Lock does not). Nothing leads from what a thread waits for in the kernel to the lock's object but
 * the thread's own frame or C stack: what is found there counts only if it is an RLock and its lock
 * is the one that is waited for. */
#ifndef ONLOOKER_LOCKS_H
#define ONLOOKER_LOCKS_H

#include "memory.h"
#include "recorder.h"

/* The address of the RLock that the thread TSTATE waits for, asleep in a futex at WAITS_AT with
 * this stack pointer (0: not known); 0 if it is none, or none that either shows. */
uint64_t locks_find(memory *source, const layout *layout, uint64_t tstate, uint64_t waits_at,
                    uint64_t stack_pointer);

/* Whether a thread that is asleep in a futex at WAITS_AT, on its own C stack, waits for a condition
 * variable of musl's in [START, START + SIZE), which is at most LOCKS_SIZE_LIMIT. */
#define LOCKS_SIZE_LIMIT 256u
bool locks_waits_inside(memory *source, uint64_t start, uint32_t size, uint64_t waits_at);

/* The pthread_t of who holds the RLock; 0: nobody, or it can't be read. */
uint64_t locks_owner(memory *source, const layout *layout, uint64_t lock);

#endif
