/* recorder.h: what the recorder's C files share. Every one of them includes it and nothing else of
 * ours but the headers of the modules it uses. */
#ifndef ONLOOKER_RECORDER_H
#define ONLOOKER_RECORDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "onlooker.h"

#define PAGE_SIZE 4096u
#define PAGE_OF(address) ((address) & ~(uint64_t)(PAGE_SIZE - 1))

/* PyASCIIObject.state: interned 2 bits (3.14 free-threaded builds apart), kind 3 bits, then compact
 * and ascii, in all of 3.8-3.15; scripts/layout_probe.c checks it. */
#define STATE_INTERNED(state) ((state) & 3)
#define STATE_KIND(state) ((state) >> 2 & 7)
#define STATE_COMPACT(state) ((state) >> 5 & 1)
#define STATE_ASCII(state) ((state) >> 6 & 1)

/* CLOCK_MONOTONIC, nanoseconds. */
uint64_t monotonic_ns(void);

/* CPU time of the calling thread, nanoseconds. */
uint64_t own_cpu_ns(void);

/* Makes room for one more item in an array that grows by doubling, up to LIMIT items. False when
 * memory or the limit is reached; the array is then unchanged. */
bool array_reserve(void **items, uint32_t *capacity, uint32_t count, size_t item_size,
                   uint32_t limit);

/* Words of a copied struct; offsets have been checked by layout_check. */
static inline uint64_t load_u64(const unsigned char *bytes, int32_t offset)
{
    uint64_t value;
    memcpy(&value, bytes + offset, sizeof value);
    return value;
}

static inline uint32_t load_u32(const unsigned char *bytes, int32_t offset)
{
    uint32_t value;
    memcpy(&value, bytes + offset, sizeof value);
    return value;
}

/* 64-bit mixing (the finaliser of MurmurHash3) and hashing of bytes, for tables only. */
static inline uint64_t hash_u64(uint64_t value)
{
    value ^= value >> 33;
    value *= 0xff51afd7ed558ccdu;
    value ^= value >> 33;
    value *= 0xc4ceb9fe1a85ec53u;
    value ^= value >> 33;
    return value;
}

uint64_t hash_bytes(uint64_t seed, const unsigned char *bytes, size_t length);

#endif
