/* owners.h: what the C files that find owners share. */
#ifndef ONLOOKER_OWNERS_H
#define ONLOOKER_OWNERS_H

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
    return bits[index / 64] >> (index % 64) & 1;
}

static inline void bit_set(uint64_t *bits, uint64_t index)
{
    bits[index / 64] |= UINT64_C(1) << (index % 64);
}

static inline uint64_t node_bytes(const graph *graph, uint32_t node)
{
    uint32_t bytes = graph->bytes[node];
    return bytes & ONLOOKER_BYTES_LARGE ? graph->large_bytes[bytes & ~ONLOOKER_BYTES_LARGE] : bytes;
}

#endif
