#include "heap.h"

#define FIELDS_LIMIT (1u << 16) /* bytes of an object's fields that are looked at */
#define BLOCKS_LIMIT (1u << 28) /* of a deque */
#define CHUNK 512u              /* words that are copied at a time */

/* Entries of a dict whose keys are names, if it isn't known to be a module's. */
#define NAMED_LIMIT 256u

#define ATOM_ITEMS_LIMIT (UINT64_C(1) << 40)

/* Bits of PyASCIIObject.state; scripts/layout_probe.c checks them. */
#define STATE_KIND_SHIFT 2
#define STATE_COMPACT (1u << 5)
#define STATE_ASCII (1u << 6)

static bool word_at(heap *heap, uint64_t address, int32_t offset, uint64_t *out)
{
    return space_word(&heap->space, address + (uint64_t)(int64_t)offset, out);
}

/* All words of an array are references, or null; those with bits of IGNORED set have these for
 * tags. */
static bool refer_array(heap *heap, uint64_t at, uint64_t count, uint32_t label, uint64_t ignored)
{
    uint64_t words[CHUNK];
    while (count) {
        uint64_t here = count < CHUNK ? count : CHUNK;
        if (!space_copy(&heap->space, at, words, here * 8))
            return false;
        for (uint64_t i = 0; i < here; i++)
            if (words[i] & ~ignored)
                heap_refer(heap, words[i] & ~ignored, label);
        at += here * 8;
        count -= here;
    }
    return true;
}

/* Fields that own what they point to are all but those of `excluded`. */
static bool refer_fields(heap *heap, uint64_t address, uint64_t from, uint64_t to,
                         const int64_t *excluded, size_t count)
{
    uint64_t words[CHUNK];
    if (to > FIELDS_LIMIT)
        to = FIELDS_LIMIT;
    for (from = (from + 7) & ~UINT64_C(7); from + 8 <= to;) {
        uint64_t here = (to - from) / 8 < CHUNK ? (to - from) / 8 : CHUNK;
        if (!space_copy(&heap->space, address + from, words, here * 8))
            return false;
        for (uint64_t i = 0; i < here; i++) {
            bool owns = words[i] && words[i] != address;
            for (size_t j = 0; owns && j < count; j++)
                owns = excluded[j] != (int64_t)(from + i * 8);
            if (owns)
                heap_refer(heap, words[i], ONLOOKER_HELD_AT | (uint32_t)(from + i * 8));
        }
        from += here * 8;
    }
    return true;
}

static bool visit_list(heap *heap, uint64_t address)
{
    const heap_layout *layout = &heap->layout;
    uint64_t size, items, allocated;
    if (!word_at(heap, address, layout->list_size, &size) ||
        !word_at(heap, address, layout->list_item, &items) ||
        !word_at(heap, address, layout->list_allocated, &allocated) || size > allocated)
        return false;
    if (!items)
        return !size;
    heap_hold(heap, items, allocated * 8);
    return refer_array(heap, items, size, ONLOOKER_HELD_ITEM, 0);
}

static bool visit_tuple(heap *heap, uint64_t address)
{
    uint64_t size;
    return word_at(heap, address, heap->layout.tuple_size, &size) &&
           refer_array(heap, address + (uint32_t)heap->layout.tuple_item, size, ONLOOKER_HELD_ITEM,
                       0);
}

static bool visit_set(heap *heap, uint64_t address)
{
    const heap_layout *layout = &heap->layout;
    uint64_t mask, table, words[CHUNK];
    uint64_t size = (uint32_t)layout->setentry_size;
    if (!word_at(heap, address, layout->set_mask, &mask) ||
        !word_at(heap, address, layout->set_table, &table) || (mask & (mask + 1)) || size != 16)
        return false;
    if (table != address + (uint32_t)layout->set_smalltable)
        heap_hold(heap, table, (mask + 1) * size);
    for (uint64_t left = mask + 1; left;) {
        uint64_t here = left < CHUNK / 2 ? left : CHUNK / 2;
        if (!space_copy(&heap->space, table, words, here * size))
            return false;
        for (uint64_t i = 0; i < here; i++) {
            uint64_t key = words[i * 2 + (uint32_t)layout->setentry_key / 8];
            if (key) /* that of a deleted entry is a static object, for all sets */
                heap_refer(heap, key, ONLOOKER_HELD_ITEM);
        }
        table += here * size;
        left -= here;
    }
    return true;
}

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
    if (header > sizeof head || !space_copy(&heap->space, at, head, header))
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

/* The values of an instance or of a dict that shares its keys, by name. */
static bool refer_values(heap *heap, uint64_t values, uint64_t keys_at)
{
    keys keys;
    if (!read_keys(heap, keys_at, &keys))
        return false;
    values += (uint32_t)heap->layout.dictvalues_values;
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

/* The block that an array of values lies in. In 3.11 and 3.12 it begins with the order of
 * insertion, and the byte before the values tells how long that is (new_values of
 * Objects/dictobject.c). From 3.11 on there may be fewer values than the keys have room for, but
 * never so many that the block isn't a pool's, whose size is known. */
static void hold_values(heap *heap, uint64_t values, uint64_t keys_at)
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

static bool visit_dict(heap *heap, uint64_t address)
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
            if (named && heap_is_interned(heap, key))
                label = heap_label_of_str(heap, key, label);
            heap_refer(heap, key, ONLOOKER_HELD_KEY);
            heap_refer(heap, value, label);
        }
        done += here;
    }
    return true;
}

static bool visit_unicode(heap *heap, uint64_t address, uint64_t *own)
{
    const heap_layout *layout = &heap->layout;
    uint64_t length, utf8, utf8_length, data, wstr, wstr_length;
    uint32_t state;
    if (!word_at(heap, address, layout->unicode_length, &length) ||
        !space_copy(&heap->space, address + (uint32_t)layout->unicode_state, &state, 4) ||
        length > ATOM_ITEMS_LIMIT)
        return false;
    uint64_t char_bytes = state >> STATE_KIND_SHIFT & 7;
    bool has_wstr = layout->unicode_wstr != ONLOOKER_NONE;
    if (state & STATE_COMPACT && state & STATE_ASCII) {
        *own = (uint32_t)layout->unicode_ascii_data + length + 1;
        data = address + (uint32_t)layout->unicode_ascii_data;
        utf8 = 0;
    } else {
        if (!word_at(heap, address, layout->unicode_utf8, &utf8) ||
            !word_at(heap, address, layout->unicode_utf8_length, &utf8_length))
            return false;
        data = address + (uint32_t)layout->unicode_compact_data;
        if (state & STATE_COMPACT) {
            *own = (uint32_t)layout->unicode_compact_data + (length + 1) * char_bytes;
        } else if (word_at(heap, address, layout->unicode_data, &data) && data) {
            heap_hold(heap, data, (length + 1) * char_bytes);
        }
    }
    if (utf8 && utf8 != data)
        heap_hold(heap, utf8, utf8_length + 1);
    if (has_wstr && word_at(heap, address, layout->unicode_wstr, &wstr) && wstr && wstr != data) {
        /* Its length is that of the str if all characters are of one wchar_t. */
        if (state & STATE_ASCII ||
            !word_at(heap, address, layout->unicode_wstr_length, &wstr_length))
            wstr_length = length;
        heap_hold(heap, wstr, (wstr_length + 1) * 4);
    }
    return true;
}

static bool visit_bytearray(heap *heap, uint64_t address)
{
    const heap_layout *layout = &heap->layout;
    uint64_t bytes, allocated;
    if (layout->bytearray_object != ONLOOKER_NONE)
        return refer_array(heap, address + (uint32_t)layout->bytearray_object, 1,
                           ONLOOKER_HELD_FIELD, 0);
    if (!word_at(heap, address, layout->bytearray_bytes, &bytes) ||
        !word_at(heap, address, layout->bytearray_alloc, &allocated))
        return false;
    if (bytes)
        heap_hold(heap, bytes, allocated);
    return true;
}

static bool visit_type(heap *heap, uint64_t address)
{
    const heap_layout *layout = &heap->layout;
    const int32_t all[] = {layout->type_base, layout->type_bases, layout->type_mro,
                           layout->type_cache, layout->type_subclasses};
    const int32_t heap_types[] = {layout->type_ht_name, layout->type_ht_qualname,
                                  layout->type_ht_slots, layout->type_ht_module};
    uint64_t flags, word, keys_at;
    keys keys;
    if (!word_at(heap, address, layout->type_flags, &flags))
        return false;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (word_at(heap, address, all[i], &word) && word)
            heap_refer(heap, word, ONLOOKER_HELD_TYPE);
    if (word_at(heap, address, layout->type_dict, &word) && word)
        heap_refer(heap, word, ONLOOKER_LABEL_PART);
    if (!(flags & FLAG_HEAPTYPE))
        return true;
    for (size_t i = 0; i < sizeof heap_types / sizeof *heap_types; i++)
        if (heap_types[i] != ONLOOKER_NONE && word_at(heap, address, heap_types[i], &word) && word)
            heap_refer(heap, word, ONLOOKER_HELD_TYPE);
    if (word_at(heap, address, layout->type_cached_keys, &keys_at) && keys_at &&
        read_keys(heap, keys_at, &keys)) {
        heap_hold(heap, keys_at, keys.block_bytes);
        for (uint64_t i = 0; i < keys.count; i++)
            if (word_at(heap, keys.entries + i * keys.entry_size, keys.key, &word) && word)
                heap_refer(heap, word, ONLOOKER_HELD_TYPE);
    }
    return true;
}

/* A module's dict is one of its fields; its state is a block that its definition tells the size of.
 */
static bool visit_module(heap *heap, uint64_t address)
{
    const heap_layout *layout = &heap->layout;
    uint64_t dict, state, def, size = 0;
    if (word_at(heap, address, layout->module_dict, &dict) && dict)
        heap_refer(heap, dict, ONLOOKER_LABEL_PART);
    if (!word_at(heap, address, layout->module_md_state, &state) || !state)
        return true;
    if (layout->module_state_size != ONLOOKER_NONE)
        word_at(heap, address, layout->module_state_size, &size);
    else if (word_at(heap, address, layout->module_def, &def) && def)
        word_at(heap, def, layout->moduledef_size, &size);
    if (!size || size > FIELDS_LIMIT)
        return true;
    heap_hold(heap, state, size);
    return refer_array(heap, state, size / 8, ONLOOKER_HELD_FIELD, 0);
}

static bool visit_function(heap *heap, uint64_t address, const type *type)
{
    uint32_t globals = (uint32_t)heap->layout.function_globals;
    const int64_t excluded[] = {globals, type->dictoffset, type->weaklistoffset};
    return refer_fields(heap, address, 16, type->basicsize, excluded, 3) &&
           refer_array(heap, address + globals, 1, ONLOOKER_HELD_GLOBALS, 0);
}

/* The words of a frame that lie before its local variables, the variables, and as much of its stack
 * as is in use. `globals` and `builtins` are those of its function, which owns them. */
static bool refer_frame(heap *heap, uint64_t frame)
{
    const heap_layout *layout = &heap->layout;
    uint64_t locals = frame + (uint32_t)layout->frame_localsplus, end = 0, word;
    for (uint64_t at = frame; at < locals; at += 8) {
        if (!space_word(&heap->space, at, &word))
            return false;
        if (at != frame + (uint32_t)layout->iframe_globals &&
            at != frame + (uint32_t)layout->iframe_builtins)
            heap_refer(heap, word & ~(uint64_t)(uint32_t)layout->frame_executable_tag,
                       ONLOOKER_HELD_FIELD);
    }
    if (layout->frame_stackpointer != ONLOOKER_NONE) {
        if (!word_at(heap, frame, layout->frame_stackpointer, &end))
            return false;
    } else {
        int32_t depth;
        if (!space_copy(&heap->space, frame + (uint32_t)layout->frame_stackdepth, &depth, 4))
            return false;
        end = depth > 0 ? locals + (uint32_t)depth * UINT64_C(8) : 0;
    }
    /* It runs: where its stack ends is known to the processor only. The frames of threads that run
     * are roots, and are told by who adds those. */
    if (end < locals || end - locals > FIELDS_LIMIT)
        return !end;
    return refer_array(heap, locals, (end - locals) / 8, ONLOOKER_HELD_LOCAL,
                       layout->frame_stackpointer != ONLOOKER_NONE ? 3 : 0);
}

static bool visit_frame_object(heap *heap, uint64_t address, const type *type, uint64_t *own)
{
    const heap_layout *layout = &heap->layout;
    uint64_t size, stack, top = 0;
    if (layout->frameobject_iframe != ONLOOKER_NONE) {
        uint64_t iframe, data = address + (uint32_t)layout->frameobject_data;
        const int64_t excluded[] = {layout->frameobject_iframe};
        if (!word_at(heap, address, layout->frameobject_iframe, &iframe))
            return false;
        /* How many words follow is in no field: the pool tells. */
        *own = (uint32_t)layout->frameobject_data + (uint32_t)layout->frame_localsplus;
        return refer_fields(heap, address, 16, (uint32_t)layout->frameobject_data, excluded, 1) &&
               (iframe != data || refer_frame(heap, iframe));
    }
    const int64_t excluded[] = {layout->frameobject_gen, layout->frame_valuestack,
                                layout->frame_stackpointer};
    uint64_t locals = address + (uint32_t)layout->frameobject_localsplus;
    if (!word_at(heap, address, layout->tuple_size, &size) || size > FIELDS_LIMIT)
        return false;
    *own = type->basicsize + size * 8;
    if (!word_at(heap, address, layout->frame_valuestack, &stack) || stack < locals ||
        stack - locals > FIELDS_LIMIT)
        return false;
    /* The stack of a frame that runs is not seen, as by frame_traverse. */
    if (layout->frame_stackpointer != ONLOOKER_NONE) {
        word_at(heap, address, layout->frame_stackpointer, &top);
    } else {
        int32_t depth;
        if (space_copy(&heap->space, address + (uint32_t)layout->frame_stackdepth, &depth, 4))
            top = depth > 0 ? stack + (uint32_t)depth * UINT64_C(8) : 0;
    }
    if (top < stack || top - stack > FIELDS_LIMIT)
        top = stack;
    return refer_fields(heap, address, 16, (uint32_t)layout->frameobject_localsplus, excluded, 3) &&
           refer_array(heap, locals, (top - locals) / 8, ONLOOKER_HELD_LOCAL, 0);
}

static bool visit_generator(heap *heap, uint64_t address, const type *type)
{
    const heap_layout *layout = &heap->layout;
    const int64_t excluded[] = {type->weaklistoffset};
    uint8_t state;
    if (layout->generator_iframe == ONLOOKER_NONE)
        return refer_fields(heap, address, 16, type->basicsize, excluded, 1);
    if (!refer_fields(heap, address, 16, (uint32_t)layout->generator_iframe, excluded, 1) ||
        !space_copy(&heap->space, address + (uint32_t)layout->generator_frame_state, &state, 1))
        return false;
    return state == layout->generator_cleared ||
           refer_frame(heap, address + (uint32_t)layout->generator_iframe);
}

static bool visit_deque(heap *heap, uint64_t address)
{
    const heap_layout *layout = &heap->layout;
    uint64_t left, block, index, in_block = (uint32_t)layout->dequeblock_items;
    if (!word_at(heap, address, layout->tuple_size, &left) ||
        !word_at(heap, address, layout->deque_leftblock, &block) ||
        !word_at(heap, address, layout->deque_leftindex, &index) || index >= in_block)
        return false;
    if (block)
        heap_hold(heap, block, (uint32_t)layout->dequeblock_size);
    for (uint32_t blocks = 0; left && block && blocks < BLOCKS_LIMIT; blocks++) {
        uint64_t here = left < in_block - index ? left : in_block - index;
        if (blocks)
            heap_hold(heap, block, (uint32_t)layout->dequeblock_size);
        if (!refer_array(heap, block + (uint32_t)layout->dequeblock_data + index * 8, here,
                         ONLOOKER_HELD_ITEM, 0) ||
            !word_at(heap, block, layout->dequeblock_rightlink, &block))
            return false;
        left -= here;
        index = 0;
    }
    return !left;
}

static bool visit_array(heap *heap, uint64_t address)
{
    const heap_layout *layout = &heap->layout;
    uint64_t items, allocated, descr;
    uint32_t item_bytes;
    if (!word_at(heap, address, layout->array_item, &items) ||
        !word_at(heap, address, layout->array_allocated, &allocated) ||
        !word_at(heap, address, layout->array_descr, &descr) ||
        !space_copy(&heap->space, descr + (uint32_t)layout->arraydescr_itemsize, &item_bytes, 4) ||
        item_bytes > 8 || allocated > ATOM_ITEMS_LIMIT)
        return false;
    if (items)
        heap_hold(heap, items, allocated * item_bytes);
    return true;
}

/* PyArrayObject_fields of numpy/ndarraytypes.h, part of numpy's ABI. */
static bool visit_ndarray(heap *heap, uint64_t address)
{
    enum { DATA = 16, ND = 24, DIMENSIONS = 32, STRIDES = 40, BASE = 48, FLAGS = 64, DIMS = 64 };
    const int64_t excluded[] = {DATA, ND, DIMENSIONS, STRIDES, FLAGS, 72 /* weak references */};
    uint64_t data, dimensions, strides;
    uint32_t nd, flags;
    int64_t dims[DIMS], steps[DIMS];
    if (!refer_fields(heap, address, 16, 80, excluded, sizeof excluded / sizeof *excluded) ||
        !word_at(heap, address, DATA, &data) || !word_at(heap, address, DIMENSIONS, &dimensions) ||
        !word_at(heap, address, STRIDES, &strides) ||
        !space_copy(&heap->space, address + ND, &nd, 4) ||
        !space_copy(&heap->space, address + FLAGS, &flags, 4) || nd > DIMS)
        return false;
    if (nd && dimensions)
        heap_hold(heap, dimensions, nd * UINT64_C(16)); /* the strides follow */
    if (!(flags & 4) || !data)                          /* NPY_ARRAY_OWNDATA */
        return true;
    if (!space_copy(&heap->space, dimensions, dims, nd * UINT64_C(8)) ||
        !space_copy(&heap->space, strides, steps, nd * UINT64_C(8)))
        return false;
    uint64_t bytes = 1;
    for (uint32_t i = 0; i < nd; i++) {
        int64_t extent;
        if (__builtin_mul_overflow(dims[i], steps[i], &extent))
            return false;
        if ((uint64_t)(extent < 0 ? -extent : extent) > bytes)
            bytes = (uint64_t)(extent < 0 ? -extent : extent);
    }
    heap_hold(heap, data, bytes);
    return true;
}

/* The attributes of an instance. */
static bool refer_attributes(heap *heap, uint64_t address, const type *type, uint64_t size)
{
    const heap_layout *layout = &heap->layout;
    uint64_t word;
    if (type->flags & FLAG_MANAGED_DICT && layout->instance_managed_dict != ONLOOKER_NONE) {
        bool is_dict = true;
        if (layout->instance_managed_values != ONLOOKER_NONE &&
            word_at(heap, address, layout->instance_managed_values, &word) && word) {
            bool one_word = layout->instance_managed_values == layout->instance_managed_dict;
            is_dict = one_word && !(word & 1);
            if (!is_dict) {
                word += one_word;
                hold_values(heap, word, type->cached_keys);
                if (!refer_values(heap, word, type->cached_keys))
                    return false;
                is_dict = !one_word;
            }
        }
        if (is_dict && word_at(heap, address, layout->instance_managed_dict, &word) && word)
            heap_refer(heap, word, ONLOOKER_LABEL_PART);
        unsigned char valid = 0;
        if (layout->type_inline_values_flag != ONLOOKER_NONE &&
            type->flags & (uint32_t)layout->type_inline_values_flag && type->cached_keys &&
            space_copy(&heap->space, address + type->basicsize + (uint32_t)layout->dictvalues_valid,
                       &valid, 1) &&
            valid)
            return refer_values(heap, address + type->basicsize, type->cached_keys);
        return true;
    }
    int64_t offset = type->dictoffset;
    if (offset < 0) /* from the end of an object that varies in size */
        offset += (int64_t)((size + 7) & ~UINT64_C(7));
    if (offset > 0 && word_at(heap, address, (int32_t)offset, &word) && word)
        heap_refer(heap, word, ONLOOKER_LABEL_PART);
    return true;
}

/* Bytes of the values that lie in an instance's own block: a header, the values, the order of their
 * insertion, a byte each (_PyInlineValuesSize of Include/internal/pycore_dict.h of 3.13). */
static uint64_t inline_values_size(heap *heap, uint64_t values)
{
    const heap_layout *layout = &heap->layout;
    uint8_t capacity = 0;
    space_copy(&heap->space, values + (uint32_t)layout->dictvalues_capacity, &capacity, 1);
    return (uint32_t)layout->dictvalues_values + capacity * UINT64_C(8) +
           ((capacity + UINT64_C(7)) & ~UINT64_C(7));
}

/* How many items follow an object's basic size. */
static uint64_t items_of(heap *heap, uint64_t address, const type *type)
{
    const heap_layout *layout = &heap->layout;
    uint64_t size;
    bool is_long = type->shape == SHAPE_LONG;
    if (!type->itemsize ||
        !word_at(heap, address, is_long ? layout->long_tag : layout->tuple_size, &size))
        return 0;
    if (is_long && layout->long_tag_shift)
        size >>= layout->long_tag_shift;
    else if ((int64_t)size < 0)
        size = -size;
    /* long_alloc of 3.12 gives zero a digit; the basic size has it from there on, too. */
    if (is_long && !size && layout->long_tag_shift)
        size = 1;
    return size < ATOM_ITEMS_LIMIT ? size : 0;
}

/* Words after the basic size that are references: not those of types whose ob_size is no number of
 * items, or whose items are no pointers. */
static bool refer_items(heap *heap, uint64_t address, const type *type, uint64_t items)
{
    if (type->shape != SHAPE_FIELDS || type->itemsize != 8 || type->flags & FLAG_HEAPTYPE)
        return true;
    if (items > FIELDS_LIMIT / 8)
        items = FIELDS_LIMIT / 8;
    return refer_array(heap, address + type->basicsize, items, ONLOOKER_HELD_ITEM, 0);
}

bool referents_visit(heap *heap, uint64_t address, const type *type)
{
    const heap_layout *layout = &heap->layout;
    uint64_t items = items_of(heap, address, type), own = type_size(type, items);
    bool good = true;
    switch (type->shape) {
    case SHAPE_FIELDS:
    case SHAPE_ATOM:
    case SHAPE_LONG:
    case SHAPE_BYTES:
        break;
    case SHAPE_UNICODE:
        good = visit_unicode(heap, address, &own);
        break;
    case SHAPE_BYTEARRAY:
        good = visit_bytearray(heap, address);
        break;
    case SHAPE_LIST:
        good = visit_list(heap, address);
        break;
    case SHAPE_TUPLE:
        good = visit_tuple(heap, address);
        break;
    case SHAPE_DICT:
        good = visit_dict(heap, address);
        break;
    case SHAPE_SET:
        good = visit_set(heap, address);
        break;
    case SHAPE_TYPE:
        good = visit_type(heap, address);
        break;
    case SHAPE_MODULE:
        good = visit_module(heap, address);
        break;
    case SHAPE_FUNCTION:
        good = visit_function(heap, address, type);
        break;
    case SHAPE_CODE:
        good = refer_fields(heap, address, 16, type->basicsize, &type->weaklistoffset, 1);
        break;
    case SHAPE_WEAKREF:
        good = refer_array(heap, address + (uint32_t)layout->weakref_callback, 1,
                           ONLOOKER_HELD_FIELD, 0);
        break;
    case SHAPE_FRAME:
        good = visit_frame_object(heap, address, type, &own);
        break;
    case SHAPE_GENERATOR:
        own = type->basicsize;
        good = visit_generator(heap, address, type);
        break;
    case SHAPE_DEQUE:
        good = visit_deque(heap, address);
        break;
    case SHAPE_ARRAY:
        good = visit_array(heap, address);
        break;
    case SHAPE_NDARRAY:
        good = visit_ndarray(heap, address);
        break;
    }
    const int64_t excluded[] = {type->dictoffset, type->weaklistoffset};
    good &= refer_fields(heap, address, type->fields, type->basicsize, excluded, 2) &&
            refer_items(heap, address, type, items);
    if (type->shape != SHAPE_TYPE && type->shape != SHAPE_MODULE)
        good &= refer_attributes(heap, address, type, own);
    if (layout->type_inline_values_flag != ONLOOKER_NONE &&
        type->flags & (uint32_t)layout->type_inline_values_flag)
        own += inline_values_size(heap, address + type->basicsize);
    uint64_t header = type->flags & FLAG_GC ? (uint32_t)layout->gc_head_size : 0;
    if (type->flags & (uint32_t)layout->preheader_flags)
        header += 16;
    heap_hold(heap, address - header, header + own);
    return good;
}
