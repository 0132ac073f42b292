#include "referents.h"

bool refer_array(heap *heap, uint64_t at, uint64_t count, uint32_t label, uint64_t ignored)
{
    uint64_t words[CHUNK];
    if (count > ITEMS_LIMIT || !claim(heap, at, count * 8))
        return false;
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

bool refer_fields(heap *heap, uint64_t address, uint64_t from, uint64_t to, const int64_t *excluded,
                  size_t count)
{
    uint64_t words[CHUNK];
    if (to > FIELDS_LIMIT)
        to = FIELDS_LIMIT;
    from = (from + 7) & ~UINT64_C(7);
    if (from + 8 > to)
        return true;
    if (!claim(heap, address + from, to - from))
        return false;
    while (from + 8 <= to) {
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

/* Holds the block of which a field of the object has the address, if there is one. Words of a
 * program that look like an object, and are none, have no such. */
static void hold_field(heap *heap, uint64_t address, int32_t field, uint64_t bytes)
{
    uint64_t block;
    if (field != ONLOOKER_NONE && word_at(heap, address, field, &block) &&
        space_has(&heap->space, block, bytes))
        heap_hold(heap, block, bytes);
}

/* The same for a C string. */
static void hold_text(heap *heap, uint64_t address, int32_t field)
{
    uint64_t text, word, bytes = 0;
    if (field == ONLOOKER_NONE || !word_at(heap, address, field, &text))
        return;
    do {
        if (bytes > FIELDS_LIMIT || !claim(heap, text + bytes, 8) ||
            !space_word(&heap->space, text + bytes, &word))
            return;
        bytes += 8;
    } while (!((word - 0x0101010101010101u) & ~word & 0x8080808080808080u)); /* no byte is 0 */
    hold_field(heap, address, field, bytes - 7);
}

static bool visit_type(heap *heap, uint64_t address)
{
    const heap_layout *layout = &heap->layout;
    const int32_t all[] = {layout->type_base, layout->type_bases, layout->type_mro,
                           layout->type_cache, layout->type_subclasses};
    const int32_t heap_types[] = {layout->type_ht_name, layout->type_ht_qualname,
                                  layout->type_ht_slots, layout->type_ht_module};
    uint64_t flags, word;
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
    hold_text(heap, address, layout->type_doc);
    hold_text(heap, address, layout->type_ht_tpname);
    return !word_at(heap, address, layout->type_cached_keys, &word) || !word ||
           visit_shared_keys(heap, word);
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

/* Blocks that a code object has beside its own: what tools keep with it, what is made when somebody
 * asks for it, and until 3.10 which arguments are cells, the frame of its last call and the caches
 * of its instructions. */
static void visit_blocks_of_code(heap *heap, uint64_t address)
{
    const heap_layout *layout = &heap->layout;
    uint64_t other, count;
    uint8_t caches;
    if (word_at(heap, address, layout->code_extra, &other) &&
        space_word(&heap->space, other, &count) && count < FIELDS_LIMIT)
        hold_field(heap, address, layout->code_extra, 8 + count * 8);
    if (layout->code_cached != ONLOOKER_NONE) {
        uint64_t cached = (uint32_t)layout->cocached_size;
        hold_field(heap, address, layout->code_cached, cached);
        if (word_at(heap, address, layout->code_cached, &other) && other)
            refer_array(heap, other, cached / 8, ONLOOKER_HELD_FIELD, 0);
    }
    if (layout->code_zombieframe == ONLOOKER_NONE)
        return;
    if (word_at(heap, address, layout->code_cellvars, &other) &&
        word_at(heap, other, layout->tuple_size, &count) && count < FIELDS_LIMIT)
        hold_field(heap, address, layout->code_cell2arg, count * 8);
    if (word_at(heap, address, layout->code_zombieframe, &other) && other &&
        word_at(heap, other, layout->tuple_size, &count) && count < FIELDS_LIMIT)
        heap_hold(heap, other - (uint32_t)layout->gc_head_size,
                  (uint32_t)(layout->gc_head_size + layout->frameobject_localsplus) + count * 8);
    if (word_at(heap, address, layout->code_code, &other) &&
        word_at(heap, other, layout->bytes_size, &count) && count < ITEMS_LIMIT)
        hold_field(heap, address, layout->code_opcache_map, count / 2); /* a byte each */
    if (space_copy(&heap->space, address + (uint32_t)layout->code_opcache_size, &caches, 1))
        hold_field(heap, address, layout->code_opcache,
                   caches * (uint64_t)(uint32_t)layout->opcache_size);
}

/* Objects are as far as the list of weak references and two words behind it: the code of 3.11 as
 * bytes, pointers elsewhere. What follows may never have been written to (_co_unique_id of 3.14).
 */
static bool visit_code(heap *heap, uint64_t address, const type *type)
{
    uint64_t end = (uint64_t)type->weaklistoffset + 24;
    visit_blocks_of_code(heap, address);
    return refer_fields(heap, address, 16, end < type->basicsize ? end : type->basicsize,
                        &type->weaklistoffset, 1);
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
    if (!word_at(heap, address, is_long ? layout->long_tag : layout->tuple_size, &size))
        return 0;
    if (is_long && layout->long_tag_shift)
        size >>= layout->long_tag_shift;
    else if ((int64_t)size < 0)
        size = -size;
    /* long_alloc of 3.12 gives zero a digit; the basic size has it from there on, too. */
    if (is_long && !size && layout->long_tag_shift)
        size = 1;
    return size < ITEMS_LIMIT ? size : 0;
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
    uint64_t items = type->itemsize ? items_of(heap, address, type) : 0;
    uint64_t own = type->itemsize ? type_size(type, items) : type->basicsize;
    bool good = true;
    if (type->plain) {
        if (type->shape == SHAPE_UNICODE)
            good = visit_unicode(heap, address, &own);
        heap_hold(heap, address, own);
        return good;
    }
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
    case SHAPE_ODICT:
        good = visit_odict(heap, address);
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
        good = visit_code(heap, address, type);
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
    case SHAPE_TEE:
        good = visit_tee(heap, address);
        break;
    case SHAPE_NDARRAY:
        good = visit_ndarray(heap, address);
        break;
    }
    if (type->fields < type->basicsize) {
        const int64_t excluded[] = {type->dictoffset, type->weaklistoffset};
        good &= refer_fields(heap, address, type->fields, type->basicsize, excluded, 2);
    }
    if (items && good)
        good = refer_items(heap, address, type, items);
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
