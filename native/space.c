#include "space.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define WINDOWS_LEAST 256u

#define ADDRESS_LIMIT (UINT64_C(1) << 63)

/* Makes room for the ranges, and for windows in which there is nothing yet. */
static bool make_room(space *space, uint64_t windows)
{
    space->mask = windows - 1;
    space->ranges = calloc(space->count + UINT64_C(1), sizeof *space->ranges);
    space->tags = malloc(windows * sizeof *space->tags);
    /* As large arrays of malloc's are not: the kernel copies page by page, and `rep movsb` to 8 or
     * 16 bytes behind the place in a page that it copies from takes three times as long (Zen). */
    space->windows = aligned_alloc(WINDOW_BYTES, windows * WINDOW_BYTES);
    if (!space->ranges || !space->tags || !space->windows)
        return false;
    madvise(space->windows, windows * WINDOW_BYTES, MADV_HUGEPAGE);
    memset(space->tags, 0xff, windows * sizeof *space->tags);
    return true;
}

bool space_init(space *space, int fd, const heap_range *ranges, uint32_t count,
                uint64_t cache_bytes)
{
    *space = (struct space){.fd = fd, .count = count};
    uint64_t windows = WINDOWS_LEAST;
    while (windows * WINDOW_BYTES * 2 <= cache_bytes)
        windows *= 2;
    if (!make_room(space, windows))
        return false;
    uint64_t end = 0, limit = 0;
    for (uint32_t i = 0; i < count; i++) {
        const heap_range *range = &ranges[i];
        if (range->start < end || range->end <= range->start || range->limit < range->end ||
            range->limit > ADDRESS_LIMIT || (range->start | range->end) % PAGE_SIZE ||
            (range->start < limit && range->limit != limit))
            return false;
        space->mapped_bytes += range->limit - (range->start < limit ? limit : range->start);
        end = range->end;
        limit = range->limit;
        space->ranges[i] = (struct range){.start = range->start,
                                          .end = range->end,
                                          .first = space->units,
                                          .limit = range->limit,
                                          .image = range->image};
        space->units += range_units(&space->ranges[i]);
    }
    return true;
}

bool space_share(space *space, const struct space *other)
{
    *space = (struct space){.fd = other->fd,
                            .count = other->count,
                            .units = other->units,
                            .mapped_bytes = other->mapped_bytes};
    if (!make_room(space, other->mask + 1))
        return false;
    memcpy(space->ranges, other->ranges, space->count * sizeof *space->ranges);
    return true;
}

void space_forget(space *space)
{
    if (space->tags != &space->no_tag)
        free(space->tags);
    free(space->windows);
    space->no_tag = UINT64_MAX;
    space->tags = &space->no_tag;
    space->mask = 0;
    space->windows = NULL;
}

void space_free(space *space)
{
    space_forget(space);
    free(space->ranges);
}

const range *space_find_range(space *space, uint64_t address)
{
    uint32_t low = 0, high = space->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (space->ranges[middle].end <= address)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == space->count || address < space->ranges[low].start)
        return NULL;
    space->recent[(address >> 20) % RECENT_RANGES] = low;
    return &space->ranges[low];
}

static bool is_unit_in(const range *range, uint64_t unit)
{
    return unit >= range->first && unit - range->first < range_units(range);
}

uint64_t space_address(space *space, uint64_t unit)
{
    uint32_t low = 0, high = space->count;
    if (!is_unit_in(&space->ranges[space->last], unit)) {
        while (high - low > 1) {
            uint32_t middle = low + (high - low) / 2;
            if (space->ranges[middle].first <= unit)
                low = middle;
            else
                high = middle;
        }
        space->last = low;
    }
    return range_address(&space->ranges[space->last], unit);
}

/* By a file, not by process_vm_readv: that pins pages, and to pin one that a snapshot shares with
 * its process the kernel copies it first (gup_must_unshare in mm/internal.h, since 5.19). */
static bool load(space *space, uint64_t address, unsigned char *out, uint64_t length)
{
    for (uint64_t done = 0; done < length;) {
        ssize_t got = pread(space->fd, out + done, length - done, (off_t)(address + done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return false;
        done += (uint64_t)got;
    }
    space->read_bytes += length;
    return true;
}

/* The same; what can't be read is zero. A mapping may have pages that nobody may touch: glibc's
 * guard pages are such from 2.42 on (MADV_GUARD_INSTALL). False if nothing can be read. */
static bool load_what_there_is(space *space, uint64_t address, unsigned char *out, uint64_t length)
{
    if (load(space, address, out, length))
        return true;
    bool any = false;
    for (uint64_t at = 0; at < length; at += PAGE_SIZE) {
        if (load(space, address + at, out + at, PAGE_SIZE))
            any = true;
        else
            memset(out + at, 0, PAGE_SIZE);
    }
    return any;
}

/* The window with this address, or NULL. It may have parts of several ranges; the rest is zero. */
static const unsigned char *window(space *space, uint64_t address)
{
    uint64_t base = address & ~(WINDOW_BYTES - 1), slot = (base >> WINDOW_BITS) & space->mask;
    unsigned char *bytes = space->windows + slot * WINDOW_BYTES;
    if (space->tags[slot] == base)
        return bytes;
    space->tags[slot] = UINT64_MAX;
    const range *last = space->ranges + space->count, *range = space_range(space, address);
    if (!range)
        return NULL;
    while (range > space->ranges && range[-1].end > base)
        range--;
    bool any = false;
    uint64_t end = base; /* of what is set so far */
    for (; range < last && range->start < base + WINDOW_BYTES; range++) {
        uint64_t start = range->start > base ? range->start : base;
        memset(bytes + (end - base), 0, start - end);
        end = range->end < base + WINDOW_BYTES ? range->end : base + WINDOW_BYTES;
        any |= load_what_there_is(space, start, bytes + (start - base), end - start);
    }
    memset(bytes + (end - base), 0, base + WINDOW_BYTES - end);
    if (!any)
        return NULL;
    space->tags[slot] = base;
    return bytes;
}

bool space_load(space *space, uint64_t address, void *out, uint64_t length)
{
    unsigned char *to = out;
    if (!space->windows || !space_has(space, address, length))
        return false;
    while (length) {
        uint64_t offset = address % WINDOW_BYTES;
        uint64_t here = WINDOW_BYTES - offset < length ? WINDOW_BYTES - offset : length;
        const unsigned char *from = window(space, address);
        if (!from)
            return false;
        memcpy(to, from + offset, here);
        to += here;
        address += here;
        length -= here;
    }
    return true;
}

bool space_peek(space *space, uint64_t address, void *out, uint64_t length)
{
    const range *range = space_range(space, address);
    return range && length <= range->end - address && load(space, address, out, length);
}
