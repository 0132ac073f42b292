/* inspect.h: CPython's objects, read of copies of which it is known whether they agree.
 *
 * Everything goes through `inspect`. It finds out what a reading is made of while it makes it, from
 * what the prediction has or else the target's memory, and whether all of it can be believed. */
#ifndef ONLOOKER_INSPECT_H
#define ONLOOKER_INSPECT_H

#include "contexts.h"
#include "map.h"

/* Bytes kept of a value: 128 code points, however wide. */
#define VALUE_LIMIT 512u

/* Bytes before the indices of a dict's keys, at most. */
#define DICT_KEYS_LIMIT 64

typedef struct inspection {
    const context_layout *layout;
    memory *source;
    context_view *view;
    const unsigned char *first, *second; /* copies; see contexts_find */
    map *types;                          /* static types' addresses -> kinds, as far as known */
    uint32_t hint;
    bool missing; /* something was read just now that had not been predicted */
} inspection;

typedef struct draft {
    uint32_t kind; /* ONLOOKER_VALUE_... */
    uint32_t size, cut;
    unsigned char bytes[VALUE_LIMIT];
} draft;

/* These are false when something can't be read, did not hold still, or can't be what it should be.
 */

/* The LENGTH bytes at ADDRESS. */
bool inspect(inspection *inspection, uint64_t address, uint32_t length, void *out);

/* *VALUE: the address of what the HAMT at TREE has at KEY, whose hash is HASH; 0: nothing. */
bool inspect_tree(inspection *inspection, uint64_t tree, uint64_t key, uint64_t hash,
                  uint64_t *value);

/* What the object at ADDRESS is. */
bool inspect_value(inspection *inspection, uint64_t address, draft *out);

/* The ids of the current span of OpenTelemetry's context at ADDRESS, left as they are if there is
 * none. */
bool inspect_span(inspection *inspection, uint64_t address, draft *trace_id, draft *span_id);

static inline bool inspect_word(inspection *inspection, uint64_t address, int32_t offset,
                                uint64_t *out)
{
    return inspect(inspection, address + (uint64_t)(int64_t)offset, sizeof *out, out);
}

#endif
