#include "heap.h"

#include <stdlib.h>

/* How many times all memory may be claimed by what refers from it. Once would do, but for what only
 * looks like an object. */
#define CLAIMS 2u
#define CLAIMS_LEAST (1u << 20)

#define HEADER_BYTES 16u /* of a PyObject: reference count and type */

/* A free block's first word is the next one's address, and no count is as large as that. */
#define COUNT_LIMIT (UINT64_C(1) << 32)

/* Where the count has 4 bytes, flags may be in the last two of 8. */
#define COUNT_MASK ((UINT64_C(1) << 48) - 1)

bool series_reserve(heap *heap, series *series, size_t size, uint64_t capacity)
{
    void *grown = array_grow(series->items, capacity, size);
    if (!grown) {
        heap->no_memory = true;
        return false;
    }
    series->items = grown;
    series->capacity = capacity;
    return true;
}

void series_trim(series *series, size_t size)
{
    array_trim(series->items, series->count, size);
    series->capacity = series->count;
}

void series_free(series *series)
{
    array_free(series->items);
    *series = (struct series){0};
}

/* Begins a node. */
static bool add_node(heap *heap, uint32_t unit, uint32_t type)
{
    uint32_t *node_unit = series_add(heap, &heap->units, sizeof *node_unit);
    uint32_t *node_type = series_add(heap, &heap->node_types, sizeof *node_type);
    uint32_t *first = series_add(heap, &heap->first_edge, sizeof *first);
    uint32_t *bytes = series_add(heap, &heap->bytes, sizeof *bytes);
    if (!node_unit || !node_type || !first || !bytes || heap->targets.count > UINT32_MAX)
        return false;
    *node_unit = unit;
    *node_type = type;
    *first = (uint32_t)heap->targets.count;
    *bytes = 0;
    return true;
}

/* Units are kept in 32 bits there. */
static bool begin_graph(heap *heap)
{
    return heap->space.units <= UINT32_MAX && add_node(heap, UINT32_MAX, 0);
}

/* Makes what a walker has for itself. */
static bool begin(heap *heap, uint64_t type_type)
{
    uint64_t walkers = heap->paired ? 2 : 1;
    heap->unheld = heap->space.mapped_bytes;
    heap->unclaimed = heap->space.units * UNIT_BYTES * CLAIMS / walkers + CLAIMS_LEAST;
    types_init(&heap->types, &heap->space, &heap->layout, type_type);
    return blocks_init(heap) && (!heap->graph || begin_graph(heap));
}

heap *heap_new(const heap_layout *layout, const heap_options *options)
{
    heap *heap = calloc(1, sizeof *heap);
    if (!heap)
        return NULL;
    heap->layout = *layout;
    heap->graph = options->graph;
    heap->paired = options->paired;
    if (heap_layout_check(layout) &&
        space_init(&heap->space, options->fd, options->ranges, options->range_count,
                   heap->paired ? options->cache_bytes / 2 : options->cache_bytes)) {
        heap->marked = array_new(heap->space.units / 64 + 1, sizeof *heap->marked);
        heap->referenced = array_new(heap->space.units / 64 + 1, sizeof *heap->referenced);
        if (heap->marked && heap->referenced && begin(heap, options->type_type))
            return heap;
    }
    heap_free(heap);
    return NULL;
}

heap *heap_new_helper(const heap *heap)
{
    struct heap *helper = calloc(1, sizeof *helper);
    if (!helper)
        return NULL;
    helper->layout = heap->layout;
    helper->graph = heap->graph;
    helper->paired = true;
    helper->deferring = true;
    helper->marked = heap->marked;
    helper->referenced = heap->referenced;
    helper->seen_pools = heap->seen_pools;
    helper->module_dicts = heap->module_dicts;
    if (space_share(&helper->space, &heap->space) && begin(helper, heap->types.type_type))
        return helper;
    heap_free_helper(helper);
    return NULL;
}

static void free_walker(heap *heap)
{
    space_free(&heap->space);
    types_free(&heap->types);
    array_free(heap->marked);
    array_free(heap->referenced);
    blocks_free(heap);
    series *all[] = {&heap->stack,      &heap->lists,      &heap->units,   &heap->node_types,
                     &heap->bytes,      &heap->first_edge, &heap->targets, &heap->labels,
                     &heap->name_items, &heap->name_text,  &heap->roots,   &heap->large_bytes,
                     &heap->mapped,     &heap->batches};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        series_free(all[i]);
    array_free(heap->ordered);
    free(heap->root_nodes);
    free(heap->root_labels);
    free(heap->root_tiers);
    array_free(heap->ranks);
    map_free(&heap->module_dicts);
    map_free(&heap->names);
    free(heap);
}

void heap_free_helper(heap *helper)
{
    helper->marked = helper->referenced = helper->seen_pools = NULL;
    helper->module_dicts = (map){0};
    free_walker(helper);
}

void heap_free(heap *heap)
{
    if (!heap)
        return;
    free_walker(heap);
    arrays_release(0);
}

static uint64_t reference_count(const heap *heap, uint64_t word)
{
    return heap->layout.object_refcount_bytes == 4 ? word & COUNT_MASK : word;
}

/* The type of the object at an address by the bytes that it begins with, TYPE_NONE if there is none
 * whose type is known for one. */
static uint32_t object_type(heap *heap, uint64_t address)
{
    uint64_t words[HEADER_BYTES / 8];
    if (!space_copy(&heap->space, address, words, sizeof words))
        return TYPE_NONE;
    uint64_t count = reference_count(heap, words[0]);
    if (!count || count >= COUNT_LIMIT)
        return TYPE_NONE;
    uint32_t index = types_at(&heap->types, words[1]);
    if (!heap->held || index == TYPE_NONE)
        return index;
    /* Of a program at a low address a pointer looks like a count, as the one before a pointer to a
     * type does: in an array of such, or in a static type, whose base is one. */
    return space_is_image(&heap->space, words[0]) ? TYPE_NONE : index;
}

/* Whether an object is on one of the collector's lists. Static ones may have no head. */
static bool is_tracked(heap *heap, uint64_t address, const type *type)
{
    uint64_t next;
    if (!(type->flags & FLAG_GC))
        return false;
    const range *range = space_range(&heap->space, address);
    return range && !range->image &&
           space_word(&heap->space, address - (uint32_t)heap->layout.gc_head_size, &next) &&
           next & ~COLLECTOR_BITS;
}

bool heap_find(heap *heap, uint64_t address, uint64_t unit)
{
    if (bit_get(heap->marked, unit))
        return true;
    uint32_t index = object_type(heap, address);
    if (index == TYPE_NONE)
        return false;
    if (is_tracked(heap, address, types_get(&heap->types, index)))
        return true;
    if (!bit_claim(heap->marked, unit))
        return true;
    found *top = series_add(heap, &heap->stack, sizeof *top);
    if (top)
        *top = (struct found){address, index};
    return true;
}

void heap_refer(heap *heap, uint64_t address, uint32_t label)
{
    uint64_t unit = space_unit(&heap->space, address);
    if (unit == UNIT_NONE)
        return;
    if (heap->deferring && !space_is_kept(&heap->space, address))
        bit_claim(heap->referenced, unit);
    else if (!heap_find(heap, address, unit))
        return;
    if (!heap->graph)
        return;
    uint32_t *target = series_add(heap, &heap->targets, sizeof *target);
    uint32_t *held = series_add(heap, &heap->labels, sizeof *held);
    if (target && held) {
        *target = (uint32_t)unit;
        *held = label;
    }
}

/* The size of the object that was visited. */
static void set_bytes(heap *heap)
{
    uint32_t *bytes = (uint32_t *)heap->bytes.items + heap->bytes.count - 1;
    *bytes = (uint32_t)heap->object_bytes;
    if (heap->object_bytes >= ONLOOKER_BYTES_LARGE) {
        uint64_t *large = series_add(heap, &heap->large_bytes, sizeof *large);
        *bytes = ONLOOKER_BYTES_LARGE | (uint32_t)(heap->large_bytes.count - 1);
        if (large)
            *large = heap->object_bytes;
    }
}

void heap_visit(heap *heap, uint64_t address, uint32_t index)
{
    if (heap->graph && !add_node(heap, (uint32_t)space_unit(&heap->space, address), index))
        return;
    heap->object = address;
    heap->object_bytes = 0;
    heap->broken = false;
    type *type = types_get(&heap->types, index);
    if (!referents_visit(heap, address, type) || heap->broken)
        heap->totals.broken++;
    if (type_take(type, type_lot(address)))
        heap_refer(heap, type->address, HELD_BY_INSTANCE);
    type->counts[heap->held].objects++;
    type->counts[heap->held].bytes += heap->object_bytes;
    heap->totals.objects++;
    heap->totals.bytes += heap->object_bytes;
    if (heap->graph)
        set_bytes(heap);
}

void heap_visit_listed(heap *heap, uint64_t address)
{
    uint64_t word;
    uint32_t index = object_type(heap, address);
    if (index != TYPE_NONE)
        heap_visit(heap, address, index);
    else if (!space_word(&heap->space, address, &word) || reference_count(heap, word))
        heap->totals.broken++; /* else it is just being freed, and not off the list yet */
}

int heap_add_list(heap *heap, uint64_t head)
{
    list *list = series_add(heap, &heap->lists, sizeof *list);
    if (!list)
        return ONLOOKER_NO_MEMORY;
    *list = (struct list){.head = head};
    return ONLOOKER_OK;
}

int heap_add_root(heap *heap, uint64_t address, uint32_t label, uint8_t tier)
{
    uint64_t unit = space_unit(&heap->space, address);
    if (unit == UNIT_NONE || !heap_find(heap, address, unit))
        return ONLOOKER_FAULT;
    if (heap->graph) {
        root *root = series_add(heap, &heap->roots, sizeof *root);
        if (root)
            *root = (struct root){(uint32_t)unit, label, tier};
    }
    return heap_ran_out(heap) ? ONLOOKER_NO_MEMORY : ONLOOKER_OK;
}

int heap_add_module(heap *heap, uint64_t module, uint32_t label, uint8_t tier)
{
    uint64_t dict;
    int result = heap_add_root(heap, module, label, tier);
    if (result == ONLOOKER_OK &&
        space_word(&heap->space, module + (uint32_t)heap->layout.module_dict, &dict) &&
        !map_set(&heap->module_dicts, dict, 1)) {
        heap->no_memory = true;
        return ONLOOKER_NO_MEMORY;
    }
    return result;
}

int heap_scan(heap *heap, uint64_t start, uint64_t end, uint32_t label, uint8_t tier)
{
    uint64_t words[512];
    heap->held = true;
    start = (start + 7) & ~UINT64_C(7);
    for (uint64_t at = start; at + 8 <= end;) {
        uint64_t bytes = end - at < sizeof words ? (end - at) & ~UINT64_C(7) : sizeof words;
        if (!space_copy(&heap->space, at, words, bytes))
            return ONLOOKER_FAULT;
        for (uint64_t i = 0; i < bytes / 8; i++)
            if (words[i])
                heap_add_root(heap, words[i], label, tier);
        at += bytes;
    }
    return heap_ran_out(heap) ? ONLOOKER_NO_MEMORY : ONLOOKER_OK;
}

void heap_get_totals(const heap *heap, heap_totals *totals)
{
    *totals = heap->totals;
    totals->read_bytes = heap->space.read_bytes;
}

uint32_t heap_type_count(const heap *heap)
{
    return heap->types.count;
}

void heap_get_types(const heap *heap, heap_type *out)
{
    for (uint32_t i = 0; i < heap->types.count; i++) {
        const type *type = types_get(&heap->types, i);
        out[i] = (heap_type){type->address, type->counts[false].objects, type->counts[false].bytes,
                             type->counts[true].objects, type->counts[true].bytes};
    }
}
