/* heap_types.h: the types of a target's objects, as far as the heap walker needs to know them. */
#ifndef ONLOOKER_HEAP_TYPES_H
#define ONLOOKER_HEAP_TYPES_H

#include "map.h"
#include "space.h"

#define TYPE_NONE UINT32_MAX
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
    uint64_t objects, bytes, held_objects, held_bytes;
} type;

typedef struct types {
    space *space;
    const heap_layout *layout;
    uint64_t type_type;
    type *items;
    uint32_t count, capacity;
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

/* The index of the type at this address, or TYPE_NONE if there is none (or no memory for it). */
uint32_t types_at(types *types, uint64_t address);

/* Bytes of an object's own block that its type and its size field ask for. */
uint64_t type_size(const type *type, uint64_t items);

#endif
