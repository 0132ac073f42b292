/* objects.h: a target's Python objects, as far as asyncio's tasks are made of them. Nothing read is
 * believed: what is no such object, or is out of bounds, can't be read. */
#ifndef ONLOOKER_OBJECTS_H
#define ONLOOKER_OBJECTS_H

#include "asyncio_boundary.h"
#include "map.h"
#include "moment.h"

#define TYPE_NAME_LIMIT 512u /* bytes; the rest is cut off */

/* Bits of tp_flags, the same in every version (Include/object.h). */
#define TYPE_IS_LONG (UINT64_C(1) << 24)
#define TYPE_IS_LIST (UINT64_C(1) << 25)
#define TYPE_IS_TUPLE (UINT64_C(1) << 26)
#define TYPE_IS_UNICODE (UINT64_C(1) << 28)
#define TYPE_IS_DICT (UINT64_C(1) << 29)

/* The types that matter, by tp_name. */
enum role {
    ROLE_OTHER,
    ROLE_NONE,
    ROLE_INT,
    ROLE_COROUTINE, /* and generators */
    ROLE_AWAIT_WRAPPER,
    ROLE_CODE,
    ROLE_WEAKREF,
    ROLE_SET,
    ROLE_METHOD,
    ROLE_CFUNCTION,
    ROLE_FUNCTION,
    ROLE_CELL,
    ROLE_PARTIAL,
    ROLE_WAKEUP,
    ROLE_QUEUE,
    ROLE_DEQUE,
};

/* Whether it is one of asyncio's C types or derived from one. */
enum future_kind { FUTURE_NO, FUTURE_PLAIN, FUTURE_TASK };

typedef struct object_type {
    uint64_t address;
    uint64_t flags;
    int64_t basicsize, itemsize, dictoffset;
    enum role role;
    enum future_kind future;
    asyncio_text name; /* without what is before its last dot */
} object_type;

typedef struct objects {
    moment moment;
    asyncio_layout layout;
    uint32_t type_head_bytes;
    object_type *types;
    uint32_t type_count, type_capacity;
    map by_type; /* address -> types */
    asyncio_text *texts_known;
    uint32_t text_count, texts_known_capacity;
    map by_text; /* hash -> texts_known */
    unsigned char *texts;
    uint64_t text_bytes, text_capacity;
} objects;

/* The entries of a dict, or of an object's attributes. */
typedef struct items {
    uint64_t entries;
    uint64_t values; /* of a split dict; else 0 */
    uint32_t count, next;
    uint32_t entry_bytes;
    int32_t key, value;
} items;

/* False when the layout makes no sense. */
bool objects_init(objects *objects, memory *source, const asyncio_layout *layout);
void objects_free(objects *objects);

/* The word at OFFSET of what is at ADDRESS. */
static inline bool word_at(objects *objects, uint64_t address, int32_t offset, uint64_t *out)
{
    return offset != ONLOOKER_NONE &&
           moment_word(&objects->moment, address + (uint64_t)(int64_t)offset, out);
}

/* The type of the object at ADDRESS, or NULL. It is valid until the next call. */
const object_type *objects_type(objects *objects, uint64_t address);

/* Equal texts are kept once. False when there is no room for it, or memory runs out. */
bool objects_add_text(objects *objects, const unsigned char *bytes, uint64_t size, uint32_t kind,
                      asyncio_text *out);

/* The text of a str. */
bool objects_string(objects *objects, uint64_t address, asyncio_text *out);

/* Whether it is the str TEXT, which is ASCII. */
bool objects_is_string(objects *objects, uint64_t address, const char *text);

/* An int that fits in 64 bits. */
bool objects_integer(objects *objects, uint64_t address, uint64_t *out);

bool objects_dict(objects *objects, uint64_t address, items *out);

/* An object's own attributes (not its class's). */
bool objects_attributes(objects *objects, uint64_t address, items *out);

/* The next entry, both of it 0 if it is free. False at the end, or if it can't be read. */
bool objects_next(objects *objects, items *items, uint64_t *key, uint64_t *value);

/* An object's own attribute; *VALUE is 0 if there is none. */
bool objects_attribute(objects *objects, uint64_t address, const char *name, uint64_t *value);

/* Where the items of a list or tuple are, which are words. */
bool objects_sequence(objects *objects, uint64_t address, uint64_t *at, uint32_t *count);

/* The slots of a set: each begins with its key or its hash, as the layout says. */
bool objects_set(objects *objects, uint64_t address, uint64_t *table, uint32_t *slots);

#endif
