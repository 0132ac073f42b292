/* contention.h: who makes others wait for the GIL. Threads that wait for it and the sample of its
 * holder are met one after the other in a tick; at its end the one is charged to the other. */
#ifndef ONLOOKER_CONTENTION_H
#define ONLOOKER_CONTENTION_H

#include "stacks.h"

/* GILs of one process that are told apart. What waits for a further one is not counted. */
#define GIL_LIMIT 256u

typedef struct gil_contention {
    uint64_t gil; /* its address */
    uint32_t waits;
    uint64_t waited_ns;
    uint32_t holder_row; /* of this tick; UINT32_MAX: none yet */
} gil_contention;

typedef struct contention {
    gil_contention gils[GIL_LIMIT];
    uint32_t count;
} contention;

/* A thread waits for GIL, since ELAPSED_NS by its share of time; BEGUN if it did not before. */
void contention_wait(contention *contention, uint64_t gil, uint64_t elapsed_ns, bool begun);

/* GIL's holder was sampled, into ROW. */
void contention_hold(contention *contention, uint64_t gil, uint32_t row);

/* After a tick. What no holder was found for goes to the next one. */
void contention_settle(contention *contention, stacks *stacks);

#endif
