/* heap_types.h: the types of a target's objects, as far as the heap walker needs to know them. */
#ifndef ONLOOKER_HEAP_TYPES_H
#define ONLOOKER_HEAP_TYPES_H

#include "map.h"
#include "space.h"

#define TYPE_NONE UINT32_MAX

/* A class that nothing else holds is its instances', for which some of them suffice: those that
 * have drawn the lowest lots. So they are the same whoever visits what in which order. */
#define INSTANCES_HOLD 16u
#define HELD_BY_INSTANCE (ONLOOKER_HELD_TYPE | ONLOOKER_EDGE_BORROWED)

#define TYPE_BYTES 1024 /* of a PyHeapTypeObject that may be looked at */

/* What an object of a type holds beyond the words of its own fields. A type has the shape of its
 * base unless it is one of those below. */
enum shape {
    SHAPE_FIELDS, /* whatever its fields point to */
    SHAPE_ATOM,   /* holds nothing */
    SHAPE_LONG,
    SHAPE_UNICODE,
    SHAPE_BYTES,
    SHAPE_BYTEARRAY,
    SHAPE_LIST,
    SHAPE_TUPLE,
    SHAPE_DICT,
    SHAPE_ODICT,
    SHAPE_SET,
    SHAPE_TYPE,
    SHAPE_MODULE,
    SHAPE_FUNCTION,
    SHAPE_CODE,
    SHAPE_WEAKREF,
    SHAPE_FRAME,
    SHAPE_GENERATOR,
    SHAPE_DEQUE,
    SHAPE_ARRAY,
    SHAPE_TEE,
    SHAPE_NDARRAY,
};

/* tp_flags, the same in every version (Include/object.h). */
#define FLAG_HEAPTYPE (UINT64_C(1) << 9)
#define FLAG_GC (UINT64_C(1) << 14)
#define FLAG_MANAGED_DICT (UINT64_C(1) << 4)

typedef struct type {
    uint64_t address;
    uint64_t flags, basicsize, itemsize, base;
    int64_t dictoffset, weaklistoffset;
    uint64_t cached_keys; /* shared by its instances' dicts, or 0 */
    enum shape shape;
    uint32_t fields; /* where fields begin that the shape doesn't know */
    bool plain;      /* they refer to nothing, and are one block without anything before it */
    uint32_t lots[INSTANCES_HOLD]; /* ascending */
    struct {
        uint64_t objects, bytes;
    } counts[2]; /* of those that Python's references lead to, and of those that are held */
} type;

#define TYPE_LIMIT (1u << 20)
#define TYPE_CHUNK 1024u

typedef struct types {
    space *space;
    const heap_layout *layout;
    uint64_t type_type;
    type *chunks[TYPE_LIMIT / TYPE_CHUNK]; /* which never move */
    uint32_t count;
    map by_address;
    bool no_memory;
    /* The last addresses asked for, with TYPE_NONE for those that are no type's. */
    struct recent {
        uint64_t address;
        uint32_t index;
    } recent[1024];
} types;

void types_init(types *types, space *space, const heap_layout *layout, uint64_t type_type);
void types_free(types *types);

/* types_at where it is not one that was asked for last. */
uint32_t types_find(types *types, uint64_t address);

static inline struct recent *types_recent(types *types, uint64_t address)
{
    return &types->recent[(address >> 4) * 0x9E3779B97F4A7C15u >> 54];
}

/* The index of the type at this address, or TYPE_NONE if there is none (or no memory for it). */
static inline uint32_t types_at(types *types, uint64_t address)
{
    const struct recent *recent = types_recent(types, address);
    return recent->address == address ? recent->index : types_find(types, address);
}

/* The index of a type that another walker has found; TYPE_NONE: no room for it. */
uint32_t types_add(types *types, const type *known);

static inline type *types_get(const types *types, uint32_t index)
{
    return &types->chunks[index / TYPE_CHUNK][index % TYPE_CHUNK];
}

/* What an instance draws. */
static inline uint32_t type_lot(uint64_t address)
{
    return (uint32_t)(address * 0x9E3779B97F4A7C15u >> 32);
}

/* Whether an instance that has drawn this lot is one of those that hold the type. */
static inline bool type_is_held_by(const type *type, uint32_t lot)
{
    return lot <= type->lots[INSTANCES_HOLD - 1];
}

/* Keeps a lot that is one of the lowest. */
void type_keep(type *type, uint32_t lot);

/* Takes the lot of an instance, and tells whether that is one of these as far as is known. */
static inline bool type_take(type *type, uint32_t lot)
{
    if (!type_is_held_by(type, lot))
        return false;
    type_keep(type, lot);
    return true;
}

/* Bytes of an object's own block that its type and its size field ask for. */
uint64_t type_size(const type *type, uint64_t items);

#endif
