/* contention.h: who makes others wait for a GIL or an RLock. Threads that wait for one and the
 * sample of its holder are met one after the other in a tick; at its end the one is charged to the
 * other. */
#ifndef ONLOOKER_CONTENTION_H
#define ONLOOKER_CONTENTION_H

#include "stacks.h"

/* Locks of one process that are told apart. What waits for a further one is not counted. */
#define CONTENTION_LIMIT 256u

typedef struct contended_lock {
    uint64_t address;
    bool is_gil;
    uint32_t waits;
    uint64_t waited_ns;
    uint32_t holder_row; /* of this tick; UINT32_MAX: none yet */
} contended_lock;

typedef struct contention {
    contended_lock locks[CONTENTION_LIMIT];
    uint32_t count;
} contention;

/* A thread waits for LOCK, since ELAPSED_NS by its share of time; BEGUN if it did not before. */
void contention_wait(contention *contention, uint64_t lock, bool is_gil, uint64_t elapsed_ns,
                     bool begun);

/* GIL's holder was sampled, into ROW. */
void contention_hold(contention *contention, uint64_t gil, uint32_t row);

/* After a tick. What no holder of a GIL was found for goes to the next one; RLocks are forgotten.
 */
void contention_settle(contention *contention, stacks *stacks);

#endif
