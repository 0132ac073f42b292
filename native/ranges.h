/* ranges.h: pieces of the target's memory that are read together, sorted and merged so that
 * neighbours cost one piece of the vector. */
#ifndef ONLOOKER_RANGES_H
#define ONLOOKER_RANGES_H

#include <sys/uio.h>

#include "recorder.h"

/* Bounds of what one sample reads. */
#define RANGES_LIMIT 4096u
#define RANGES_BYTES_LIMIT (1u << 20)

typedef struct range {
    uint64_t start, end;
    uint32_t at; /* where its copy lies in a buffer of `bytes` bytes; set by ranges_place */
} range;

typedef struct ranges {
    range *items; /* ascending, disjoint */
    uint32_t count, capacity;
    uint32_t bytes;
} ranges;

/* Adds [START, START + LENGTH). Merges it with neighbours on the same or the next page, never over
 * a page in between, which might not be mapped. False when a bound is reached, memory runs out or
 * the address cannot be one of user space. */
bool ranges_add(ranges *ranges, uint64_t start, uint32_t length);

/* Lays the copies out. Call after the last ranges_add, before ranges_vector and ranges_find. */
void ranges_place(ranges *ranges);

/* Makes a piece of a vector for each of at most MOST ranges from FIRST on, copies going to COPY (at
 * least `bytes` long). Returns the number of pieces. */
uint32_t ranges_vector(const ranges *ranges, uint32_t first, uint32_t most, unsigned char *copy,
                       struct iovec *local, struct iovec *remote);

/* Offset in the copy of [START, START + LENGTH), or -1. */
int64_t ranges_search(const ranges *ranges, uint64_t start, uint32_t length, uint32_t *index);

static inline bool range_contains(const range *range, uint64_t start, uint32_t length)
{
    return start >= range->start && start < range->end && range->end - start >= length;
}

/* The same, with the index of a likely range in *HINT; it is updated. */
static inline int64_t ranges_find(const ranges *ranges, uint64_t start, uint32_t length,
                                  uint32_t *hint)
{
    if (*hint < ranges->count && range_contains(&ranges->items[*hint], start, length))
        return (int64_t)(ranges->items[*hint].at + (start - ranges->items[*hint].start));
    return ranges_search(ranges, start, length, hint);
}

void ranges_clear(ranges *ranges);
void ranges_free(ranges *ranges);

#endif
