#include "heap.h"

#define OFFSET_LEAST (-64)
#define OFFSET_MOST 4096
#define HEADER_MOST 64u /* bytes of a PyDictKeysObject that are copied at once */
#define POOL_LEAST 1024
#define POOL_MOST (1 << 20)
#define DEQUE_ITEMS_MOST 1024

/* Whether SIZE bytes at an offset are in what has LENGTH bytes. */
static bool is_within(int32_t offset, int32_t size, int32_t length)
{
    return offset >= 0 && offset + size <= length;
}

static bool is_entry(int32_t size, int32_t key, int32_t value)
{
    return size > 0 && size <= (int32_t)HEADER_MOST && is_within(key, 8, size) &&
           is_within(value, 8, size);
}

/* These are copied as a whole. */
static bool check_dicts(const heap_layout *layout)
{
    int32_t header = layout->dictkeys_indices;
    if (header < 0 || header > (int32_t)HEADER_MOST ||
        !is_within(layout->dictkeys_nentries, 8, header) ||
        !is_entry(layout->dictentry_size, layout->dictentry_key, layout->dictentry_value))
        return false;
    if (layout->dictkeys_log2_size == ONLOOKER_NONE)
        return is_within(layout->dictkeys_size, 8, header);
    return is_within(layout->dictkeys_log2_size, 1, header) &&
           is_within(layout->dictkeys_log2_index_bytes, 1, header) &&
           is_within(layout->dictkeys_kind, 1, header) &&
           is_entry(layout->dictunicodeentry_size, layout->dictunicodeentry_key,
                    layout->dictunicodeentry_value);
}

/* So are types, as far as `tp_dictoffset`. */
static bool check_types(const heap_layout *layout)
{
    const int32_t copied[] = {layout->type_flags,    layout->type_basicsize,
                              layout->type_itemsize, layout->type_base,
                              layout->type_name,     layout->type_weaklistoffset};
    if (!is_within(layout->type_dictoffset, 8, TYPE_BYTES))
        return false;
    for (size_t i = 0; i < sizeof copied / sizeof *copied; i++)
        if (!is_within(copied[i], 8, layout->type_dictoffset + 8))
            return false;
    return true;
}

bool heap_layout_check(const heap_layout *layout)
{
    const int32_t *offsets = (const int32_t *)layout;
    for (size_t i = 0; i < sizeof *layout / sizeof *offsets; i++)
        if (&offsets[i] != &layout->pool_size &&
            (offsets[i] < OFFSET_LEAST || offsets[i] > OFFSET_MOST))
            return false;
    return check_dicts(layout) && check_types(layout) && layout->pool_size >= POOL_LEAST &&
           layout->pool_size <= POOL_MOST && !(layout->pool_size & (layout->pool_size - 1)) &&
           layout->object_type >= 0 && layout->gc_head_size >= 0 && layout->setentry_size == 16 &&
           (layout->setentry_key == 0 || layout->setentry_key == 8) &&
           layout->dequeblock_items > 0 && layout->dequeblock_items <= DEQUE_ITEMS_MOST &&
           layout->long_tag_shift >= 0 && layout->long_tag_shift < 64;
}
