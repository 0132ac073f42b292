/* space.h: the part of a target's address space that may hold objects, read through a file.
 *
 * It is made of units of 8 bytes, on which every object begins, numbered without the holes between
 * the ranges: a set of objects is a bitmap over them. Reads go through a cache of windows, since
 * what is near an address is likely to be read next. They are as large as pymalloc's pools
 * from 3.10 on: in one walk some pools' objects are followed, in another those of the pools between
 * them. */
#ifndef ONLOOKER_SPACE_H
#define ONLOOKER_SPACE_H

#include "recorder.h"
#include "heap_boundary.h"

#define UNIT_BYTES 8u
#define UNIT_NONE UINT64_MAX

#define WINDOW_BITS 14u
#define WINDOW_BYTES (UINT64_C(1) << WINDOW_BITS)

#define RECENT_RANGES 256u

/* A heap_range, and the number that its first unit has. */
typedef struct range {
    uint64_t start, end, first, limit;
    bool image;
} range;

static inline uint64_t range_units(const range *range)
{
    return (range->end - range->start) / UNIT_BYTES;
}

/* Of a unit that is in the range. */
static inline uint64_t range_address(const range *range, uint64_t unit)
{
    return range->start + (unit - range->first) * UNIT_BYTES;
}

typedef struct space {
    int fd;
    range *ranges;
    uint32_t count;
    uint32_t recent[RECENT_RANGES]; /* that were looked up last, by their addresses' MiB */
    uint32_t last;                  /* that a unit was looked up in last */
    uint64_t units;
    uint64_t mapped_bytes; /* as far as the ranges' limits */
    unsigned char *windows;
    uint64_t *tags; /* address of what is in each window, or UINT64_MAX */
    uint64_t mask;  /* windows - 1 */
    uint64_t no_tag;
    uint64_t read_bytes;
} space;

/* False: no memory, or ranges that overlap, are not in order or not of whole pages. */
bool space_init(space *space, int fd, const heap_range *ranges, uint32_t count,
                uint64_t cache_bytes);

/* The same space, for another thread: with as many windows, of its own. False: no memory. */
bool space_share(space *space, const struct space *other);

void space_free(space *space);

/* space_range where it is not the one that was looked up last. */
const range *space_find_range(space *space, uint64_t address);

/* The range that an address is in, or NULL. */
static inline const range *space_range(space *space, uint64_t address)
{
    const range *range = &space->ranges[space->recent[(address >> 20) % RECENT_RANGES]];
    return address >= range->start && address < range->end ? range
                                                           : space_find_range(space, address);
}

/* Whether it is of a program or library. */
static inline bool space_is_image(space *space, uint64_t address)
{
    const range *range = space_range(space, address);
    return range && range->image;
}

/* The unit at an address, UNIT_NONE if it is in no range or between two units. */
static inline uint64_t space_unit(space *space, uint64_t address)
{
    const range *range = address % UNIT_BYTES ? NULL : space_range(space, address);
    return range ? range->first + (address - range->start) / UNIT_BYTES : UNIT_NONE;
}

uint64_t space_address(space *space, uint64_t unit);

/* Whether all of it lies in one range. */
static inline bool space_has(space *space, uint64_t address, uint64_t length)
{
    const range *range = space_range(space, address);
    return range && length <= range->end - address;
}

/* space_copy where not all is kept. */
bool space_load(space *space, uint64_t address, void *out, uint64_t length);

/* Copies what lies there, all of it in one range. False if it does not, or cannot be read. Pages
 * that nobody may touch are zero, and so may be what lies close to a range and in none. */
static inline bool space_copy(space *space, uint64_t address, void *out, uint64_t length)
{
    uint64_t offset = address % WINDOW_BYTES, slot = (address >> WINDOW_BITS) & space->mask;
    if (space->tags[slot] != address - offset || length > WINDOW_BYTES - offset)
        return space_load(space, address, out, length);
    memcpy(out, space->windows + slot * WINDOW_BYTES + offset, length);
    return true;
}

/* Whether what lies there would not have to be read from the target. */
static inline bool space_is_kept(const space *space, uint64_t address)
{
    return space->tags[(address >> WINDOW_BITS) & space->mask] == (address & ~(WINDOW_BYTES - 1));
}

/* Frees what is kept: there is no more space_copy. */
void space_forget(space *space);

/* As space_copy, without keeping what is around it. */
bool space_peek(space *space, uint64_t address, void *out, uint64_t length);

static inline bool space_word(space *space, uint64_t address, uint64_t *out)
{
    return space_copy(space, address, out, sizeof *out);
}

#endif
