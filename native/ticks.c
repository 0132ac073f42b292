#include "ticks.h"

#include <time.h>

void ticks_init(ticks *ticks, uint64_t period_ns, uint64_t seed, uint64_t start_ns)
{
    *ticks = (struct ticks){.start_ns = start_ns, .period_ns = period_ns, .random = seed};
    ticks_plan(ticks, start_ns, 0);
}

uint64_t ticks_random(ticks *ticks, uint64_t limit)
{
    ticks->random += 0x9e3779b97f4a7c15u;
    return limit ? hash_u64(ticks->random) % limit : 0;
}

/* Each slot's tick comes at a random moment of it: evenly spread, but never in step with anything
 * periodic in the target. */
uint64_t ticks_plan(ticks *ticks, uint64_t now_ns, uint64_t not_before_ns)
{
    uint64_t period_ns = ticks->period_ns, slot = ticks->next_slot, late = 0;
    uint64_t current = (now_ns - ticks->start_ns) / period_ns;
    if (slot < current) {
        late = current - slot;
        slot = current;
    }
    /* A rate beyond reach is as fast as it can be; waiting for a moment of so short a slot would
     * only burn CPU. */
    ticks->due_ns = period_ns <= SPIN_NS && slot == current
                        ? now_ns
                        : ticks->start_ns + slot * period_ns + ticks_random(ticks, period_ns);
    if (ticks->due_ns < not_before_ns)
        ticks->due_ns = not_before_ns;
    ticks->next_slot = slot + 1;
    return late;
}

int ticks_wait(uint64_t due_ns, bool asleep)
{
    if (asleep) {
        struct timespec due = {.tv_sec = (time_t)(due_ns / 1000000000u),
                               .tv_nsec = (long)(due_ns % 1000000000u)};
        return clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL) ? ONLOOKER_INTERRUPTED
                                                                           : ONLOOKER_OK;
    }
    while (monotonic_ns() < due_ns)
        ;
    return ONLOOKER_OK;
}
