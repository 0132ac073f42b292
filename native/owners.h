/* owners.h: what the C files that find owners share. */
#ifndef ONLOOKER_OWNERS_H
#define ONLOOKER_OWNERS_H

#include "arrays.h"
#include "recorder.h"

#include "onlooker_owners.h"

/* Loops ask so often whether they shall end early. */
#define STEPS_UNSTOPPED 65536u

static inline bool stopped(const volatile int32_t *stop, uint32_t step)
{
    return step % STEPS_UNSTOPPED == 0 && stop && *stop;
}

static inline bool bit_get(const uint64_t *bits, uint64_t index)
{
    return __atomic_load_n(&bits[index / 64], __ATOMIC_RELAXED) >> (index % 64) & 1;
}

static inline void bit_set(uint64_t *bits, uint64_t index)
{
    bits[index / 64] |= UINT64_C(1) << (index % 64);
}

/* Sets a bit that other threads may set too, and tells whether it was not set before. */
static inline bool bit_claim(uint64_t *bits, uint64_t index)
{
    uint64_t bit = UINT64_C(1) << (index % 64);
    return !bit_get(bits, index) &&
           !(__atomic_fetch_or(&bits[index / 64], bit, __ATOMIC_RELAXED) & bit);
}

static inline uint64_t node_bytes(const graph *graph, uint32_t node)
{
    uint32_t bytes = graph->bytes[node];
    return bytes & ONLOOKER_BYTES_LARGE ? graph->large_bytes[bytes & ~ONLOOKER_BYTES_LARGE] : bytes;
}

#endif
