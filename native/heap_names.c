#include "heap.h"

#include <stdlib.h>

#define NAMES_LIMIT (1u << 22)
#define NAME_LIMIT 256u /* bytes; what is longer is no name */

static uint32_t add_name(heap *heap, uint64_t key, const unsigned char *text, uint32_t bytes,
                         uint32_t kind)
{
    if (heap->name_items.count >= NAMES_LIMIT)
        return MAP_ABSENT;
    uint64_t at = heap->name_text.count;
    for (uint32_t i = 0; i < bytes; i++) {
        unsigned char *byte = series_add(heap, &heap->name_text, 1);
        if (!byte)
            return MAP_ABSENT;
        *byte = text[i];
    }
    name *name = series_add(heap, &heap->name_items, sizeof *name);
    if (!name)
        return MAP_ABSENT;
    *name = (struct name){at, bytes, kind};
    uint32_t index = (uint32_t)(heap->name_items.count - 1);
    if (map_set(&heap->names, key, index))
        return index;
    heap->no_memory = true;
    return MAP_ABSENT;
}

static uint32_t label_of(uint32_t name, uint32_t fallback)
{
    return name == MAP_ABSENT ? fallback : ONLOOKER_HELD_NAMES + name;
}

static bool is_interned(heap *heap, uint64_t address)
{
    const heap_layout *layout = &heap->layout;
    uint64_t type_at;
    uint32_t state, index;
    return space_word(&heap->space, address + (uint32_t)layout->object_type, &type_at) &&
           (index = types_at(&heap->types, type_at)) != TYPE_NONE &&
           types_get(&heap->types, index)->shape == SHAPE_UNICODE &&
           space_copy(&heap->space, address + (uint32_t)layout->unicode_state, &state, 4) &&
           STATE_INTERNED(state);
}

uint32_t heap_label_of_str(heap *heap, uint64_t address, uint32_t fallback)
{
    const heap_layout *layout = &heap->layout;
    unsigned char text[NAME_LIMIT];
    uint64_t length;
    uint32_t state, known = map_get(&heap->names, address);
    if (known != MAP_ABSENT)
        return label_of(known, fallback);
    if (!space_word(&heap->space, address + (uint32_t)layout->unicode_length, &length) ||
        !space_copy(&heap->space, address + (uint32_t)layout->unicode_state, &state, 4))
        return fallback;
    uint32_t kind = STATE_KIND(state);
    if (!STATE_COMPACT(state) || !kind || length > NAME_LIMIT / kind)
        return fallback;
    uint32_t data =
        (uint32_t)(STATE_ASCII(state) ? layout->unicode_ascii_data : layout->unicode_compact_data);
    if (!space_copy(&heap->space, address + data, text, length * kind))
        return fallback;
    return label_of(add_name(heap, address, text, (uint32_t)length * kind, kind), fallback);
}

uint32_t heap_label_of_key(heap *heap, uint64_t address, uint32_t fallback)
{
    return map_get(&heap->names, address) != MAP_ABSENT || is_interned(heap, address)
               ? heap_label_of_str(heap, address, fallback)
               : fallback;
}

/* Names and the texts that they are in. */
typedef struct texts {
    const name *names;
    const unsigned char *text;
} texts;

static int compare_texts(const texts *texts, uint32_t left, uint32_t right)
{
    const name *a = &texts->names[left], *b = &texts->names[right];
    uint32_t common = a->bytes < b->bytes ? a->bytes : b->bytes;
    int order = common ? memcmp(texts->text + a->at, texts->text + b->at, common) : 0;
    if (!order)
        order = (a->bytes > b->bytes) - (a->bytes < b->bytes);
    return order ? order : (a->kind > b->kind) - (a->kind < b->kind);
}

static int compare(const void *left, const void *right, void *all)
{
    return compare_texts(all, *(const uint32_t *)left, *(const uint32_t *)right);
}

uint32_t *heap_sort_names(heap *heap)
{
    uint32_t count = heap_name_count(heap), kept = 0;
    texts texts = {heap->name_items.items, heap->name_text.items};
    uint32_t *order = malloc((count + UINT64_C(1)) * sizeof *order);
    uint32_t *labels = malloc((count + UINT64_C(1)) * sizeof *labels);
    name *sorted = array_new(count + UINT64_C(1), sizeof *sorted);
    if (order && labels && sorted) {
        for (uint32_t i = 0; i < count; i++)
            order[i] = i;
        qsort_r(order, count, sizeof *order, compare, &texts);
        for (uint32_t i = 0; i < count; i++) {
            if (!i || compare_texts(&texts, order[i - 1], order[i]))
                sorted[kept++] = texts.names[order[i]];
            labels[order[i]] = ONLOOKER_HELD_NAMES + kept - 1;
        }
        array_free(heap->name_items.items);
        heap->name_items = (series){sorted, kept, count + 1};
        map_clear(&heap->names);
    } else {
        free(labels);
        array_free(sorted);
        labels = NULL;
    }
    free(order);
    return labels;
}

uint32_t heap_name_count(const heap *heap)
{
    return (uint32_t)heap->name_items.count;
}

const unsigned char *heap_name(const heap *heap, uint32_t index, uint32_t *bytes, uint32_t *kind)
{
    const name *name = (const struct name *)heap->name_items.items + index;
    *bytes = name->bytes;
    *kind = name->kind;
    return (const unsigned char *)heap->name_text.items + name->at;
}
