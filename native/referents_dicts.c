#include "referents.h"

/* Entries of a dict whose keys are names, if it isn't known to be a module's. */
#define NAMED_LIMIT 256u

/* The entries of a PyDictKeysObject. */
typedef struct keys {
    uint64_t at, block_bytes;
    uint64_t entries, count;
    uint32_t entry_size;
    int32_t key, value;
    bool split;
} keys;

static bool read_keys(heap *heap, uint64_t at, keys *keys)
{
    const heap_layout *layout = &heap->layout;
    unsigned char head[64];
    uint64_t log2_size, index_bytes;
    uint32_t header = (uint32_t)layout->dictkeys_indices;
    if (!space_copy(&heap->space, at, head, header))
        return false;
    *keys = (struct keys){.at = at,
                          .count = load_u64(head, layout->dictkeys_nentries),
                          .entry_size = (uint32_t)layout->dictentry_size,
                          .key = layout->dictentry_key,
                          .value = layout->dictentry_value};
    if (layout->dictkeys_log2_size != ONLOOKER_NONE) {
        log2_size = head[layout->dictkeys_log2_size];
        if (log2_size > 40 || head[layout->dictkeys_log2_index_bytes] > 43)
            return false;
        index_bytes = UINT64_C(1) << head[layout->dictkeys_log2_index_bytes];
        if (head[layout->dictkeys_kind]) { /* DICT_KEYS_GENERAL is 0 */
            keys->entry_size = (uint32_t)layout->dictunicodeentry_size;
            keys->key = layout->dictunicodeentry_key;
            keys->value = layout->dictunicodeentry_value;
        }
        keys->split = head[layout->dictkeys_kind] == layout->dictkeys_split_kind;
    } else {
        uint64_t size = load_u64(head, layout->dictkeys_size);
        if (!size || size & (size - 1) || size > UINT64_C(1) << 40)
            return false;
        log2_size = (uint64_t)__builtin_ctzll(size);
        /* DK_IXSIZE of Objects/dictobject.c */
        index_bytes = size * (size <= 0xff ? 1 : size <= 0xffff ? 2 : size <= 0xffffffff ? 4 : 8);
    }
    uint64_t usable = (UINT64_C(2) << log2_size) / 3; /* USABLE_FRACTION */
    if (keys->count > usable)
        return false;
    keys->entries = at + header + index_bytes;
    keys->block_bytes = header + index_bytes + usable * keys->entry_size;
    return true;
}

bool visit_shared_keys(heap *heap, uint64_t at)
{
    keys keys;
    uint64_t key;
    if (!read_keys(heap, at, &keys))
        return false;
    heap_hold(heap, at, keys.block_bytes);
    if (!claim(heap, keys.entries, keys.count * keys.entry_size))
        return false;
    for (uint64_t i = 0; i < keys.count; i++)
        if (word_at(heap, keys.entries + i * keys.entry_size, keys.key, &key) && key)
            heap_refer(heap, key, ONLOOKER_HELD_TYPE);
    return true;
}

bool refer_values(heap *heap, uint64_t values, uint64_t keys_at)
{
    const heap_layout *layout = &heap->layout;
    keys keys;
    uint8_t capacity;
    if (!read_keys(heap, keys_at, &keys))
        return false;
    if (layout->dictvalues_capacity != ONLOOKER_NONE &&
        (!space_copy(&heap->space, values + (uint32_t)layout->dictvalues_capacity, &capacity, 1) ||
         keys.count > capacity))
        return false;
    values += (uint32_t)layout->dictvalues_values;
    if (!claim(heap, values, keys.count * 8))
        return false;
    for (uint64_t i = 0; i < keys.count; i++) {
        uint64_t value, name = 0;
        if (!space_word(&heap->space, values + i * 8, &value))
            return false;
        if (!value)
            continue;
        uint32_t label = ONLOOKER_HELD_VALUE;
        if (heap->graph && word_at(heap, keys.entries + i * keys.entry_size, keys.key, &name))
            label = heap_label_of_str(heap, name, label);
        heap_refer(heap, value, label);
    }
    return true;
}

/* In 3.11 and 3.12 the block begins with the order of insertion, and the byte before the values
 * tells how long that is (new_values of Objects/dictobject.c). From 3.11 on there may be fewer
 * values than the keys have room for, but never so many that the block isn't a pool's, whose size
 * is known. */
void hold_values(heap *heap, uint64_t values, uint64_t keys_at)
{
    const heap_layout *layout = &heap->layout;
    keys keys;
    unsigned char prefix = 0;
    if (!read_keys(heap, keys_at, &keys))
        return;
    uint64_t bytes = keys.count * 8;
    if (layout->dictkeys_size != ONLOOKER_NONE)
        bytes = (keys.block_bytes - (keys.entries - keys.at)) / keys.entry_size * 8;
    else if (layout->dictvalues_capacity != ONLOOKER_NONE)
        bytes += (uint32_t)layout->dictvalues_values;
    else if (space_copy(&heap->space, values - 1, &prefix, 1))
        bytes += prefix;
    heap_hold(heap, values - prefix, bytes);
}

bool visit_dict(heap *heap, uint64_t address)
{
    const heap_layout *layout = &heap->layout;
    uint64_t keys_at, values;
    keys keys;
    if (!word_at(heap, address, layout->dict_keys, &keys_at) ||
        !word_at(heap, address, layout->dict_values, &values) || !read_keys(heap, keys_at, &keys))
        return false;
    if (values) {
        uint64_t embedded = 0;
        /* From 3.13 on they may lie within the instance. */
        if (layout->dictvalues_capacity != ONLOOKER_NONE)
            space_copy(&heap->space, values + 2, &embedded, 1);
        if (!embedded)
            hold_values(heap, values, keys_at);
        return refer_values(heap, values, keys_at);
    }
    if (!keys.split)
        heap_hold(heap, keys_at, keys.block_bytes);
    bool named = heap->graph &&
                 (keys.count <= NAMED_LIMIT || map_get(&heap->module_dicts, address) != MAP_ABSENT);
    if (!claim(heap, keys.entries, keys.count * keys.entry_size))
        return false;
    unsigned char entries[CHUNK * 8];
    uint64_t at_once = sizeof entries / keys.entry_size;
    for (uint64_t done = 0; done < keys.count;) {
        uint64_t here = keys.count - done < at_once ? keys.count - done : at_once;
        if (!space_copy(&heap->space, keys.entries + done * keys.entry_size, entries,
                        here * keys.entry_size))
            return false;
        for (uint64_t i = 0; i < here; i++) {
            uint64_t key = load_u64(entries + i * keys.entry_size, keys.key);
            uint64_t value = load_u64(entries + i * keys.entry_size, keys.value);
            if (!value)
                continue;
            uint32_t label = ONLOOKER_HELD_VALUE;
            if (named)
                label = heap_label_of_key(heap, key, label);
            heap_refer(heap, key, ONLOOKER_HELD_KEY);
            heap_refer(heap, value, label);
        }
        done += here;
    }
    return true;
}

/* Beside the dict, which has all that it refers to, there is a list of nodes, one for each key in
 * order, and a table of where they are. */
bool visit_odict(heap *heap, uint64_t address)
{
    const heap_layout *layout = &heap->layout;
    uint64_t node, table, size, node_size = (uint32_t)layout->odictnode_size;
    if (!visit_dict(heap, address) || !word_at(heap, address, layout->odict_first, &node) ||
        !word_at(heap, address, layout->odict_fast_nodes, &table) ||
        !word_at(heap, address, layout->odict_fast_nodes_size, &size) || size > ITEMS_LIMIT)
        return false;
    if (table)
        heap_hold(heap, table, size * 8);
    while (node) {
        heap_hold(heap, node, node_size);
        if (!claim(heap, node, node_size) || !word_at(heap, node, layout->odictnode_next, &node))
            return false;
    }
    return true;
}
