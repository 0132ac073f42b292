/* ticks.h: when the samples are taken. */
#ifndef ONLOOKER_TICKS_H
#define ONLOOKER_TICKS_H

#include "recorder.h"

/* A sleep shorter than this overshoots by as much as it lasts; wait awake instead. */
#define SPIN_NS 15000u

typedef struct ticks {
    uint64_t start_ns, period_ns;
    uint64_t random;
    uint64_t next_slot; /* ticks have slots of one period each, counted from the start */
    uint64_t due_ns;    /* of the next tick */
} ticks;

void ticks_init(ticks *ticks, uint64_t period_ns, uint64_t seed, uint64_t start_ns);

/* Plans the next tick, for NOT_BEFORE_NS at the earliest. How many were due before NOW_NS, and are
 * left out. */
uint64_t ticks_plan(ticks *ticks, uint64_t now_ns, uint64_t not_before_ns);

/* Evenly spread below LIMIT. */
uint64_t ticks_random(ticks *ticks, uint64_t limit);

/* Waits until CLOCK_MONOTONIC reaches DUE_NS. ONLOOKER_OK or _INTERRUPTED. */
int ticks_wait(uint64_t due_ns, bool asleep);

#endif
