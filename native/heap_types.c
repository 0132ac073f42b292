#include "heap_types.h"

#include <stdlib.h>

#define NAME_BYTES 32u
#define BASES_LIMIT 64u /* of bases of bases */
#define METATYPES_LIMIT 16u
#define SIZE_LIMIT (1u << 24)
#define FLAG_READY (UINT64_C(1) << 12)
#define FLAG_LONG (UINT64_C(1) << 24)
#define FLAG_LIST (UINT64_C(1) << 25)
#define FLAG_TUPLE (UINT64_C(1) << 26)
#define FLAG_BYTES (UINT64_C(1) << 27)
#define FLAG_UNICODE (UINT64_C(1) << 28)
#define FLAG_DICT (UINT64_C(1) << 29)
#define FLAG_TYPE (UINT64_C(1) << 31)

/* Static types (numpy's too) by tp_name; those that bits of tp_flags tell are below. */
static const struct {
    const char *name;
    enum shape shape;
} NAMED[] = {
    {"NoneType", SHAPE_ATOM},
    {"ellipsis", SHAPE_ATOM},
    {"NotImplementedType", SHAPE_ATOM},
    {"float", SHAPE_ATOM},
    {"complex", SHAPE_ATOM},
    {"PyCapsule", SHAPE_ATOM},
    {"bytearray", SHAPE_BYTEARRAY},
    {"set", SHAPE_SET},
    {"frozenset", SHAPE_SET},
    {"module", SHAPE_MODULE},
    {"function", SHAPE_FUNCTION},
    {"code", SHAPE_CODE},
    {"weakref", SHAPE_WEAKREF},
    {"weakref.ReferenceType", SHAPE_WEAKREF},
    {"weakproxy", SHAPE_WEAKREF},
    {"weakref.ProxyType", SHAPE_WEAKREF},
    {"weakcallableproxy", SHAPE_WEAKREF},
    {"weakref.CallableProxyType", SHAPE_WEAKREF},
    {"frame", SHAPE_FRAME},
    {"generator", SHAPE_GENERATOR},
    {"coroutine", SHAPE_GENERATOR},
    {"async_generator", SHAPE_GENERATOR},
    {"collections.deque", SHAPE_DEQUE},
    {"array.array", SHAPE_ARRAY},
    {"itertools._tee_dataobject", SHAPE_TEE},
    {"frozendict", SHAPE_DICT},
    {"collections.OrderedDict", SHAPE_ODICT},
    {"numpy.ndarray", SHAPE_NDARRAY},
};

void types_init(types *types, space *space, const heap_layout *layout, uint64_t type_type)
{
    *types = (struct types){.space = space, .layout = layout, .type_type = type_type};
    for (uint32_t i = 0; i < sizeof types->recent / sizeof *types->recent; i++)
        types->recent[i].index = TYPE_NONE; /* of address 0, which no type has */
}

void types_free(types *types)
{
    for (uint32_t i = 0; i < TYPE_LIMIT / TYPE_CHUNK; i++)
        free(types->chunks[i]);
    map_free(&types->by_address);
}

/* Whether `type` is what makes the type: its own type, or a base of that. */
static bool is_made_by_type(types *types, uint64_t metatype)
{
    for (uint32_t bases = 0; metatype && bases < METATYPES_LIMIT; bases++) {
        if (metatype == types->type_type)
            return true;
        if (!space_word(types->space, metatype + (uint32_t)types->layout->type_base, &metatype))
            return false;
    }
    return false;
}

/* Copies a C string, cut off at NAME_BYTES - 1; empty if it can't be read: names of static types
 * may lie in a read-only part of an image, which is in no range. */
static void read_name(types *types, uint64_t address, char name[NAME_BYTES])
{
    name[0] = name[NAME_BYTES - 1] = 0;
    for (uint32_t i = 0; i < NAME_BYTES - 1; i++)
        if (!space_copy(types->space, address + i, &name[i], 1) || !name[i]) {
            name[i] = 0;
            return;
        }
}

static bool is_shape_of_its_own(types *types, type *type, uint64_t name_at)
{
    char name[NAME_BYTES];
    if (type->flags & FLAG_HEAPTYPE &&
        type->flags & (FLAG_LONG | FLAG_LIST | FLAG_TUPLE | FLAG_BYTES | FLAG_UNICODE | FLAG_DICT))
        return false;
    read_name(types, name_at, name);
    for (uint32_t i = 0; i < sizeof NAMED / sizeof *NAMED; i++)
        if (!strcmp(name, NAMED[i].name)) {
            /* Classes of the program may have such a name, too; these have a dict. */
            if (type->flags & FLAG_HEAPTYPE && NAMED[i].shape != SHAPE_DEQUE &&
                NAMED[i].shape != SHAPE_ARRAY && NAMED[i].shape != SHAPE_TEE)
                return false;
            type->shape = NAMED[i].shape;
            return true;
        }
    return false;
}

static void find_shape(types *types, type *type, uint64_t name_at, uint32_t depth);

/* A type by its bytes. False if they can't be one's. */
static bool read_type(types *types, uint64_t address, type *out, uint32_t depth)
{
    const heap_layout *layout = types->layout;
    unsigned char bytes[TYPE_BYTES];
    uint64_t metatype, size = (uint32_t)layout->type_dictoffset + 8; /* behind all others */
    if (address % 8 ||
        !space_word(types->space, address + (uint32_t)layout->object_type, &metatype) ||
        !is_made_by_type(types, metatype) || !space_copy(types->space, address, bytes, size))
        return false;
    *out = (type){.address = address,
                  .flags = load_u64(bytes, layout->type_flags),
                  .basicsize = load_u64(bytes, layout->type_basicsize),
                  .itemsize = load_u64(bytes, layout->type_itemsize),
                  .base = load_u64(bytes, layout->type_base),
                  .dictoffset = (int64_t)load_u64(bytes, layout->type_dictoffset),
                  .weaklistoffset = (int64_t)load_u64(bytes, layout->type_weaklistoffset)};
    if (!(out->flags & FLAG_READY) || out->basicsize < 16 || out->basicsize > SIZE_LIMIT ||
        out->itemsize > SIZE_LIMIT || out->dictoffset > (int64_t)SIZE_LIMIT ||
        out->dictoffset < -(int64_t)SIZE_LIMIT)
        return false;
    if (out->flags & FLAG_HEAPTYPE &&
        !space_word(types->space, address + (uint32_t)layout->type_cached_keys, &out->cached_keys))
        return false;
    find_shape(types, out, load_u64(bytes, layout->type_name), depth);
    out->plain = (out->shape == SHAPE_ATOM || out->shape == SHAPE_LONG ||
                  out->shape == SHAPE_BYTES || out->shape == SHAPE_UNICODE) &&
                 out->fields >= out->basicsize && !out->dictoffset &&
                 !(out->flags & (FLAG_GC | (uint32_t)layout->preheader_flags));
    return true;
}

static void find_shape(types *types, type *new, uint64_t name_at, uint32_t depth)
{
    static const struct {
        uint64_t flag;
        enum shape shape;
    } FLAGGED[] = {{FLAG_LONG, SHAPE_LONG},   {FLAG_LIST, SHAPE_LIST},
                   {FLAG_TUPLE, SHAPE_TUPLE}, {FLAG_BYTES, SHAPE_BYTES},
                   {FLAG_DICT, SHAPE_DICT},   {FLAG_UNICODE, SHAPE_UNICODE},
                   {FLAG_TYPE, SHAPE_TYPE}};
    type base;
    new->shape = SHAPE_FIELDS;
    new->fields = 16;
    if (is_shape_of_its_own(types, new, name_at)) {
        new->fields = (uint32_t)new->basicsize;
        return;
    }
    if (new->base && depth < BASES_LIMIT && read_type(types, new->base, &base, depth + 1)) {
        new->shape = base.shape;
        new->fields = base.fields;
    }
    for (uint32_t i = 0; new->shape == SHAPE_FIELDS && i < sizeof FLAGGED / sizeof *FLAGGED; i++)
        if (new->flags & FLAGGED[i].flag) {
            new->shape = FLAGGED[i].shape;
            new->fields = (uint32_t)new->basicsize; /* list itself, whose base is object */
        }
    if (new->fields > new->basicsize)
        new->fields = (uint32_t)new->basicsize;
}

/* Its index; TYPE_NONE: no memory. */
static uint32_t add_type(types *types, const type *new)
{
    type **chunk = &types->chunks[types->count / TYPE_CHUNK];
    if ((!*chunk && !(*chunk = malloc(TYPE_CHUNK * sizeof **chunk))) ||
        !map_set(&types->by_address, new->address, types->count)) {
        types->no_memory = true;
        return TYPE_NONE;
    }
    type *added = types_get(types, types->count);
    *added = *new;
    memset(added->counts, 0, sizeof added->counts); /* none of it was met yet */
    memset(added->lots, 0xff, sizeof added->lots);
    return types->count++;
}

uint32_t types_add(types *types, const type *known)
{
    uint32_t index = map_get(&types->by_address, known->address);
    if (index == MAP_ABSENT && types->count < TYPE_LIMIT)
        index = add_type(types, known);
    return index;
}

uint32_t types_find(types *types, uint64_t address)
{
    uint32_t index = map_get(&types->by_address, address);
    if (index == MAP_ABSENT) {
        type new;
        if (types->count < TYPE_LIMIT && read_type(types, address, &new, 0) &&
            (index = add_type(types, &new)) == TYPE_NONE)
            return TYPE_NONE;
    }
    *types_recent(types, address) = (struct recent){address, index};
    return index;
}

void type_keep(type *type, uint32_t lot)
{
    uint32_t place = INSTANCES_HOLD - 1;
    for (; place && type->lots[place - 1] > lot; place--)
        type->lots[place] = type->lots[place - 1];
    type->lots[place] = lot;
}

uint64_t type_size(const type *type, uint64_t items)
{
    uint64_t size;
    return __builtin_mul_overflow(items, type->itemsize, &size) || size > SIZE_MAX / 4
               ? SIZE_MAX / 4
               : type->basicsize + size;
}
