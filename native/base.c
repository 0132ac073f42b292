#include "recorder.h"

#include <stdlib.h>
#include <time.h>

uint64_t monotonic_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint64_t own_cpu_ns(void)
{
    struct timespec used;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
    return (uint64_t)used.tv_sec * 1000000000u + (uint64_t)used.tv_nsec;
}

bool array_reserve(void **items, uint32_t *capacity, uint32_t count, size_t item_size,
                   uint32_t limit)
{
    if (count < *capacity)
        return true;
    if (count >= limit)
        return false;
    uint32_t wanted = *capacity ? *capacity : 16;
    while (wanted <= count)
        wanted *= 2;
    if (wanted > limit)
        wanted = limit;
    void *grown = realloc(*items, (size_t)wanted * item_size);
    if (!grown)
        return false;
    *items = grown;
    *capacity = wanted;
    return true;
}

uint64_t hash_bytes(uint64_t seed, const unsigned char *bytes, size_t length)
{
    uint64_t hash = hash_u64(seed ^ length);
    while (length >= 8) {
        hash = hash_u64(hash ^ load_u64(bytes, 0)) + 0x9e3779b97f4a7c15u;
        bytes += 8;
        length -= 8;
    }
    uint64_t rest = 0;
    memcpy(&rest, bytes, length);
    return hash_u64(hash ^ rest);
}
