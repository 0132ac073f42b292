#include "referents.h"

bool visit_list(heap *heap, uint64_t address)
{
    const heap_layout *layout = &heap->layout;
    uint64_t size, items, allocated;
    if (!word_at(heap, address, layout->list_size, &size) ||
        !word_at(heap, address, layout->list_item, &items) ||
        !word_at(heap, address, layout->list_allocated, &allocated) || size > allocated ||
        allocated > ITEMS_LIMIT)
        return false;
    if (!items)
        return !size;
    heap_hold(heap, items, allocated * 8);
    return refer_array(heap, items, size, ONLOOKER_HELD_ITEM, 0);
}

bool visit_tuple(heap *heap, uint64_t address)
{
    uint64_t size;
    return word_at(heap, address, heap->layout.tuple_size, &size) &&
           refer_array(heap, address + (uint32_t)heap->layout.tuple_item, size, ONLOOKER_HELD_ITEM,
                       0);
}

bool visit_set(heap *heap, uint64_t address)
{
    const heap_layout *layout = &heap->layout;
    uint64_t mask, table, words[CHUNK];
    uint64_t size = (uint32_t)layout->setentry_size;
    if (!word_at(heap, address, layout->set_mask, &mask) ||
        !word_at(heap, address, layout->set_table, &table) || mask & (mask + 1) ||
        mask >= ITEMS_LIMIT || !claim(heap, table, (mask + 1) * size))
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

bool visit_unicode(heap *heap, uint64_t address, uint64_t *own)
{
    const heap_layout *layout = &heap->layout;
    uint64_t length, utf8, utf8_length, data, wstr, wstr_length;
    uint32_t state;
    if (!word_at(heap, address, layout->unicode_length, &length) ||
        !space_copy(&heap->space, address + (uint32_t)layout->unicode_state, &state, 4) ||
        length > ITEMS_LIMIT)
        return false;
    uint64_t char_bytes = STATE_KIND(state);
    bool has_wstr = layout->unicode_wstr != ONLOOKER_NONE;
    if (STATE_COMPACT(state) && STATE_ASCII(state)) {
        *own = (uint32_t)layout->unicode_ascii_data + length + 1;
        data = address + (uint32_t)layout->unicode_ascii_data;
        utf8 = 0;
    } else {
        if (!word_at(heap, address, layout->unicode_utf8, &utf8) ||
            !word_at(heap, address, layout->unicode_utf8_length, &utf8_length))
            return false;
        data = address + (uint32_t)layout->unicode_compact_data;
        if (STATE_COMPACT(state)) {
            *own = (uint32_t)layout->unicode_compact_data + (length + 1) * char_bytes;
        } else if (word_at(heap, address, layout->unicode_data, &data) && data) {
            heap_hold(heap, data, (length + 1) * char_bytes);
        }
    }
    if (utf8 && utf8 != data && utf8_length < ITEMS_LIMIT)
        heap_hold(heap, utf8, utf8_length + 1);
    if (has_wstr && word_at(heap, address, layout->unicode_wstr, &wstr) && wstr && wstr != data) {
        /* Its length is that of the str if all characters are of one wchar_t. */
        if (STATE_ASCII(state) ||
            !word_at(heap, address, layout->unicode_wstr_length, &wstr_length))
            wstr_length = length;
        if (wstr_length < ITEMS_LIMIT)
            heap_hold(heap, wstr, (wstr_length + 1) * 4);
    }
    return true;
}

bool visit_bytearray(heap *heap, uint64_t address)
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

bool visit_deque(heap *heap, uint64_t address)
{
    const heap_layout *layout = &heap->layout;
    uint64_t left, block, index, in_block = (uint32_t)layout->dequeblock_items;
    if (!word_at(heap, address, layout->tuple_size, &left) ||
        !word_at(heap, address, layout->deque_leftblock, &block) ||
        !word_at(heap, address, layout->deque_leftindex, &index) || index >= in_block ||
        left > heap->space.units)
        return false;
    if (block)
        heap_hold(heap, block, (uint32_t)layout->dequeblock_size);
    for (uint64_t blocks = 0; left && block; blocks++) {
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

bool visit_array(heap *heap, uint64_t address)
{
    const heap_layout *layout = &heap->layout;
    uint64_t items, allocated, descr;
    uint32_t item_bytes;
    if (!word_at(heap, address, layout->array_item, &items) ||
        !word_at(heap, address, layout->array_allocated, &allocated) ||
        !word_at(heap, address, layout->array_descr, &descr) ||
        !space_copy(&heap->space, descr + (uint32_t)layout->arraydescr_itemsize, &item_bytes, 4) ||
        item_bytes > 8 || allocated > ITEMS_LIMIT)
        return false;
    if (items)
        heap_hold(heap, items, allocated * item_bytes);
    return true;
}

/* teedataobject of Modules/itertoolsmodule.c, the same in 3.8 to 3.15; values that were not read
 * yet were never written to. */
bool visit_tee(heap *heap, uint64_t address)
{
    enum { NUMREAD = 24, VALUES = 40, LINKCELLS = 57 };
    const int64_t excluded[] = {NUMREAD};
    uint32_t count;
    return refer_fields(heap, address, 16, VALUES, excluded, 1) &&
           space_copy(&heap->space, address + NUMREAD, &count, sizeof count) &&
           count <= LINKCELLS && refer_array(heap, address + VALUES, count, ONLOOKER_HELD_ITEM, 0);
}

/* PyArrayObject_fields of numpy/ndarraytypes.h, part of numpy's ABI. */
bool visit_ndarray(heap *heap, uint64_t address)
{
    enum { DATA = 16, ND = 24, DIMENSIONS = 32, STRIDES = 40, DESCR = 56, FLAGS = 64, DIMS = 64 };
    enum { DESCR_TYPE_NUM = 28, NPY_OBJECT = 17 };
    const int64_t excluded[] = {DATA, ND, DIMENSIONS, STRIDES, FLAGS, 72 /* weak references */};
    uint64_t data, dimensions, strides, descr;
    uint32_t nd, flags, type_num;
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
    if (nd && (!space_copy(&heap->space, dimensions, dims, nd * UINT64_C(8)) ||
               !space_copy(&heap->space, strides, steps, nd * UINT64_C(8))))
        return false;
    uint64_t bytes = 1;
    for (uint32_t i = 0; i < nd; i++) {
        int64_t extent;
        if (__builtin_mul_overflow(dims[i], steps[i], &extent))
            return false;
        uint64_t reach = extent < 0 ? -(uint64_t)extent : (uint64_t)extent;
        if (reach > bytes)
            bytes = reach;
    }
    heap_hold(heap, data, bytes);
    if (!word_at(heap, address, DESCR, &descr) ||
        !space_copy(&heap->space, descr + DESCR_TYPE_NUM, &type_num, sizeof type_num))
        return false;
    return type_num != NPY_OBJECT ||
           refer_array(heap, data, (bytes + 7) / 8, ONLOOKER_HELD_ITEM, 0);
}
