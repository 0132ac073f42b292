#include "ranges.h"

#include <stdlib.h>
#include <string.h>

/* Bytes between two neighbours that are cheaper to copy along than to ask for separately: a piece
 * costs about 0.1 us, a copied kilobyte much less. */
#define MERGE_GAP 1024u

/* User space ends below 2^56 everywhere on x86-64 and aarch64; page 0 is never mapped. */
#define USER_SPACE_END (UINT64_C(1) << 56)

static bool joins(const range *left, const range *right)
{
    return right->start <= left->end ||
           (right->start - left->end <= MERGE_GAP &&
            PAGE_OF(right->start) - PAGE_OF(left->end - 1) <= PAGE_SIZE);
}

bool ranges_add(ranges *ranges, uint64_t start, uint32_t length)
{
    if (start < PAGE_SIZE || start >= USER_SPACE_END || !length || length > RANGES_BYTES_LIMIT)
        return false;
    range new = {.start = start, .end = start + length};
    uint32_t low = 0, high = ranges->count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (ranges->items[middle].start < start)
            low = middle + 1;
        else
            high = middle;
    }
    uint32_t first = low, last = low; /* ranges [first, last) are replaced by the new one */
    if (first > 0 && joins(&ranges->items[first - 1], &new))
        first--;
    uint64_t end = new.end;
    while (last < ranges->count &&
           joins(&(range){.start = new.start, .end = end}, &ranges->items[last])) {
        if (ranges->items[last].end > end)
            end = ranges->items[last].end;
        last++;
    }
    if (first < last || first < low) {
        if (ranges->items[first].start < new.start)
            new.start = ranges->items[first].start;
        if (ranges->items[first].end > end)
            end = ranges->items[first].end;
        if (last == first)
            last = first + 1;
    }
    new.end = end;
    uint64_t replaced = 0;
    for (uint32_t i = first; i < last; i++)
        replaced += ranges->items[i].end - ranges->items[i].start;
    if (ranges->bytes - replaced + (new.end - new.start) > RANGES_BYTES_LIMIT)
        return false;
    if (first == last && !array_reserve((void **)&ranges->items, &ranges->capacity, ranges->count,
                                        sizeof *ranges->items, RANGES_LIMIT))
        return false;
    memmove(ranges->items + first + 1, ranges->items + last,
            (ranges->count - last) * sizeof *ranges->items);
    ranges->items[first] = new;
    ranges->count = ranges->count + 1 - (last - first);
    ranges->bytes = (uint32_t)(ranges->bytes - replaced + (new.end - new.start));
    return true;
}

void ranges_place(ranges *ranges)
{
    uint32_t at = 0;
    for (uint32_t i = 0; i < ranges->count; i++) {
        ranges->items[i].at = at;
        at += (uint32_t)(ranges->items[i].end - ranges->items[i].start);
    }
}

uint32_t ranges_vector(const ranges *ranges, uint32_t first, uint32_t most, unsigned char *copy,
                       struct iovec *local, struct iovec *remote)
{
    uint32_t count = ranges->count - first < most ? ranges->count - first : most;
    for (uint32_t i = 0; i < count; i++) {
        const range *range = &ranges->items[first + i];
        size_t length = range->end - range->start;
        local[i] = (struct iovec){copy + range->at, length};
        remote[i] = (struct iovec){(void *)(uintptr_t)range->start, length};
    }
    return count;
}

int64_t ranges_search(const ranges *ranges, uint64_t start, uint32_t length, uint32_t *index)
{
    uint32_t low = 0, high = ranges->count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (ranges->items[middle].start <= start)
            low = middle + 1;
        else
            high = middle;
    }
    if (!low || !range_contains(&ranges->items[low - 1], start, length))
        return -1;
    *index = low - 1;
    return (int64_t)(ranges->items[low - 1].at + (start - ranges->items[low - 1].start));
}

void ranges_clear(ranges *ranges)
{
    ranges->count = 0;
    ranges->bytes = 0;
}

void ranges_free(ranges *ranges)
{
    free(ranges->items);
    memset(ranges, 0, sizeof *ranges);
}
