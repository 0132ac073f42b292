#include "inspect.h"

#include <string.h>

/* Python/hamt.c: 5 bits of the 32 of a hash choose a child; then hashes are equal. */
#define LEVEL_BITS 5u
#define HASH_BITS 32u
#define COLLISIONS_LIMIT 64u

#define TYPES_LIMIT 4096u
#define TYPE_NAME_LIMIT 64u

/* Bits of tp_flags, the same in every version (Include/object.h). */
#define HEAPTYPE (UINT64_C(1) << 9)
#define LONG_SUBCLASS (UINT64_C(1) << 24)
#define BYTES_SUBCLASS (UINT64_C(1) << 27)
#define UNICODE_SUBCLASS (UINT64_C(1) << 28)

/* The kinds of types beside those of values. */
#define TYPE_BITMAP 100u
#define TYPE_ARRAY 101u
#define TYPE_COLLISION 102u

bool inspect(inspection *inspection, uint64_t address, uint32_t length, void *out)
{
    context_view *view = inspection->view;
    int64_t at = ranges_find(&view->pieces, address, length, &inspection->hint);
    if (!ranges_add(&view->needed, address, length))
        return false;
    if (at < 0) {
        inspection->missing = true;
        return memory_read(inspection->source, address, out, length) == ONLOOKER_OK;
    }
    memcpy(out, inspection->first + at, length);
    return !inspection->second || !memcmp(out, inspection->second + at, length);
}

/* The NUL-terminated name at ADDRESS, cut off at TYPE_NAME_LIMIT. */
static bool read_type_name(inspection *inspection, uint64_t type, draft *out)
{
    uint64_t name;
    if (!inspect_word(inspection, type, inspection->layout->type_name, &name))
        return false;
    uint32_t to_page_end = PAGE_SIZE - (uint32_t)(name & (PAGE_SIZE - 1));
    uint32_t length = to_page_end < TYPE_NAME_LIMIT ? to_page_end : TYPE_NAME_LIMIT;
    if (!inspect(inspection, name, length, out->bytes))
        return false;
    const unsigned char *end = memchr(out->bytes, 0, length);
    out->kind = ONLOOKER_VALUE_OTHER;
    out->cut = !end;
    out->size = end ? (uint32_t)(end - out->bytes) : length;
    return true;
}

static bool is_named(const draft *type, const char *name)
{
    return type->size == strlen(name) && !memcmp(type->bytes, name, type->size);
}

/* *KIND: what objects of this type are, one of ONLOOKER_VALUE_... or TYPE_... */
static bool classify(inspection *inspection, uint64_t type, uint32_t *kind)
{
    uint64_t flags;
    draft name;
    *kind = map_get(inspection->types, type);
    if (*kind != MAP_ABSENT)
        return true;
    if (!inspect_word(inspection, type, inspection->layout->type_flags, &flags) ||
        !read_type_name(inspection, type, &name))
        return false;
    *kind = flags & UNICODE_SUBCLASS                 ? ONLOOKER_VALUE_STR
            : flags & BYTES_SUBCLASS                 ? ONLOOKER_VALUE_BYTES
            : is_named(&name, "bool")                ? ONLOOKER_VALUE_BOOL
            : flags & LONG_SUBCLASS                  ? ONLOOKER_VALUE_INT
            : is_named(&name, "NoneType")            ? ONLOOKER_VALUE_NONE
            : is_named(&name, "hamt_bitmap_node")    ? TYPE_BITMAP
            : is_named(&name, "hamt_array_node")     ? TYPE_ARRAY
            : is_named(&name, "hamt_collision_node") ? TYPE_COLLISION
                                                     : ONLOOKER_VALUE_OTHER;
    /* Others can be freed, and their address used again. */
    if (!(flags & HEAPTYPE) && *kind != ONLOOKER_VALUE_OTHER &&
        inspection->types->used < TYPES_LIMIT)
        map_set(inspection->types, type, *kind);
    return true;
}

/* --- the tree --- */

static bool find_collision(inspection *inspection, uint64_t node, uint64_t key, uint64_t *value)
{
    const context_layout *layout = inspection->layout;
    uint64_t words;
    if (!inspect_word(inspection, node, layout->hamtcollision_size, &words) ||
        words > 2 * COLLISIONS_LIMIT)
        return false;
    for (uint64_t i = 0; i + 1 < words; i += 2) {
        uint64_t pair[2];
        if (!inspect(inspection, node + (uint32_t)layout->hamtcollision_array + 8 * i, sizeof pair,
                     pair))
            return false;
        if (pair[0] == key)
            *value = pair[1];
    }
    return true;
}

/* *NEXT: the node to go on in; 0: none, and *VALUE is what there is. */
static bool descend(inspection *inspection, uint64_t node, uint32_t kind, uint32_t place,
                    uint64_t key, uint64_t *value, uint64_t *next)
{
    const context_layout *layout = inspection->layout;
    uint32_t bitmap;
    uint64_t pair[2];
    if (kind == TYPE_ARRAY)
        return inspect_word(inspection, node + 8 * place, layout->hamtarray_array, next);
    if (kind != TYPE_BITMAP ||
        !inspect(inspection, node + (uint32_t)layout->hamtbitmap_bitmap, sizeof bitmap, &bitmap))
        return false;
    *next = 0;
    if (!(bitmap >> place & 1))
        return true;
    uint32_t before = (uint32_t)__builtin_popcount(bitmap & ((UINT32_C(1) << place) - 1));
    if (!inspect(inspection, node + (uint32_t)layout->hamtbitmap_array + sizeof pair * before,
                 sizeof pair, pair))
        return false;
    if (!pair[0])
        *next = pair[1];
    else if (pair[0] == key)
        *value = pair[1];
    return true;
}

bool inspect_tree(inspection *inspection, uint64_t tree, uint64_t key, uint64_t hash,
                  uint64_t *value)
{
    const context_layout *layout = inspection->layout;
    uint32_t folded = (uint32_t)hash ^ (uint32_t)(hash >> 32);
    uint64_t node, type;
    uint32_t kind;
    if (folded == UINT32_MAX)
        folded--; /* hamt_hash: -1 says that something failed */
    *value = 0;
    if (!inspect_word(inspection, tree, layout->hamt_root, &node))
        return false;
    for (uint32_t shift = 0; node; shift += LEVEL_BITS) {
        if (!inspect_word(inspection, node, layout->object_type, &type) ||
            !classify(inspection, type, &kind))
            return false;
        if (kind == TYPE_COLLISION)
            return find_collision(inspection, node, key, value);
        if (shift >= HASH_BITS ||
            !descend(inspection, node, kind, folded >> shift & 31, key, value, &node))
            return false;
    }
    return true;
}

/* --- values --- */

static bool read_str(inspection *inspection, uint64_t address, draft *out)
{
    const context_layout *layout = inspection->layout;
    uint64_t length, data;
    uint32_t state;
    if (!inspect_word(inspection, address, layout->unicode_length, &length) ||
        !inspect(inspection, address + (uint32_t)layout->unicode_state, sizeof state, &state))
        return false;
    uint32_t width = STATE_KIND(state);
    if (STATE_COMPACT(state))
        data = address + (uint32_t)(STATE_ASCII(state) ? layout->unicode_ascii_data
                                                       : layout->unicode_compact_data);
    else if (!inspect_word(inspection, address, layout->unicode_data, &data))
        return false;
    /* Up to 3.11 a str may have no code points yet, but only a wstr. */
    if (!width) {
        *out = (draft){.kind = ONLOOKER_VALUE_OTHER};
        return true;
    }
    if ((width != 1 && width != 2 && width != 4) || length >> 63)
        return false;
    out->kind = ONLOOKER_VALUE_STR + width;
    out->cut = length > VALUE_LIMIT / 4;
    out->size = (uint32_t)(out->cut ? VALUE_LIMIT / 4 : length) * width;
    return !out->size || inspect(inspection, data, out->size, out->bytes);
}

static bool read_bytes(inspection *inspection, uint64_t address, draft *out)
{
    const context_layout *layout = inspection->layout;
    uint64_t size;
    if (!inspect_word(inspection, address, layout->bytes_size, &size) || size >> 63)
        return false;
    out->kind = ONLOOKER_VALUE_BYTES;
    out->cut = size > VALUE_LIMIT / 4;
    out->size = out->cut ? VALUE_LIMIT / 4 : (uint32_t)size;
    return !out->size ||
           inspect(inspection, address + (uint32_t)layout->bytes_data, out->size, out->bytes);
}

/* An int of more digits than there is room for is left to its type's name. */
static bool read_int(inspection *inspection, uint64_t address, draft *out)
{
    const context_layout *layout = inspection->layout;
    uint64_t tag;
    if (!inspect_word(inspection, address, layout->long_tag, &tag))
        return false;
    uint32_t negative = layout->long_tag_shift ? (tag & 3) == 2 : (uint32_t)(tag >> 63);
    uint64_t digits = layout->long_tag_shift ? tag >> layout->long_tag_shift
                      : negative             ? -tag
                                             : tag;
    if (digits >= VALUE_LIMIT / 4)
        return true;
    memcpy(out->bytes, &negative, sizeof negative);
    out->kind = ONLOOKER_VALUE_INT;
    out->cut = 0;
    out->size = (uint32_t)(sizeof negative + 4 * digits);
    return !digits || inspect(inspection, address + (uint32_t)layout->long_digit,
                              (uint32_t)(4 * digits), out->bytes + sizeof negative);
}

bool inspect_value(inspection *inspection, uint64_t address, draft *out)
{
    uint64_t type;
    uint32_t kind;
    if (!inspect_word(inspection, address, inspection->layout->object_type, &type) ||
        !classify(inspection, type, &kind))
        return false;
    if (kind == ONLOOKER_VALUE_STR)
        return read_str(inspection, address, out);
    if (kind == ONLOOKER_VALUE_BYTES)
        return read_bytes(inspection, address, out);
    if (!read_type_name(inspection, type, out))
        return false;
    if (kind == ONLOOKER_VALUE_NONE) {
        out->kind = kind;
        out->size = 0;
    } else if (kind == ONLOOKER_VALUE_INT || kind == ONLOOKER_VALUE_BOOL) {
        if (!read_int(inspection, address, out))
            return false;
        if (out->kind == ONLOOKER_VALUE_INT)
            out->kind = kind;
    }
    return true;
}
