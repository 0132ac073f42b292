#include "heap.h"

#include <stdlib.h>

/* How many times all memory may be claimed by what refers from it. Once would do, but for what only
 * looks like an object. */
#define CLAIMS 2u
#define CLAIMS_LEAST (1u << 20)

#define GC_OBJECT_UNITS 4u

/* Of a list's links: what the collector notes there. */
#define COLLECTOR_BITS UINT64_C(3)

#define INSTANCES_HOLD 16u

#define SWEEPS 4u

#define HEADER_BYTES 16u /* of a PyObject: reference count and type */

/* A free block's first word is the next one's address, and no count is as large as that. */
#define COUNT_LIMIT (UINT64_C(1) << 32)

/* Where the count has 4 bytes, flags may be in the last two of 8. */
#define COUNT_MASK ((UINT64_C(1) << 48) - 1)

bool series_grow(heap *heap, series *series, size_t size)
{
    uint64_t capacity = series->capacity + series->capacity / 2 + 1024;
    void *grown = capacity > SIZE_MAX / size ? NULL : realloc(series->items, capacity * size);
    if (!grown) {
        heap->no_memory = true;
        return false;
    }
    prefer_huge_pages(grown, capacity * size);
    series->items = grown;
    series->capacity = capacity;
    return true;
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

heap *heap_new(const heap_layout *layout, const heap_options *options)
{
    heap *heap = calloc(1, sizeof *heap);
    if (!heap)
        return NULL;
    heap->layout = *layout;
    heap->graph = options->graph;
    if (heap_layout_check(layout) && space_init(&heap->space, options->fd, options->ranges,
                                                options->range_count, options->cache_bytes)) {
        heap->unheld = heap->space.mapped_bytes;
        heap->unclaimed = heap->space.units * UNIT_BYTES * CLAIMS + CLAIMS_LEAST;
        types_init(&heap->types, &heap->space, &heap->layout, options->type_type);
        heap->marked = array_new(heap->space.units / 64 + 1, sizeof *heap->marked);
        heap->referenced = array_new(heap->space.units / 64 + 1, sizeof *heap->referenced);
        if (heap->marked && heap->referenced && blocks_init(heap) &&
            (!heap->graph || begin_graph(heap)))
            return heap;
    }
    heap_free(heap);
    return NULL;
}

void heap_free(heap *heap)
{
    if (!heap)
        return;
    space_free(&heap->space);
    types_free(&heap->types);
    free(heap->marked);
    free(heap->referenced);
    blocks_free(heap);
    series *all[] = {&heap->stack,      &heap->lists,      &heap->units,   &heap->node_types,
                     &heap->bytes,      &heap->first_edge, &heap->targets, &heap->labels,
                     &heap->name_items, &heap->name_text,  &heap->roots,   &heap->large_bytes,
                     &heap->mapped};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]->items);
    free(heap->ordered);
    free(heap->root_nodes);
    free(heap->root_labels);
    free(heap->root_tiers);
    free(heap->ranks);
    map_free(&heap->module_dicts);
    map_free(&heap->names);
    free(heap);
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
    const range *range = space_range(&heap->space, words[0]);
    return range && range->image ? TYPE_NONE : index;
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

/* Finds what is at an address: false if no object. Those on lists are visited in the order of
 * these, if they are there: bytes that only look like one's are not. */
static bool find(heap *heap, uint64_t address, uint64_t unit)
{
    if (bit_get(heap->marked, unit))
        return true;
    uint32_t index = object_type(heap, address);
    if (index == TYPE_NONE)
        return false;
    if (is_tracked(heap, address, types_get(&heap->types, index)))
        return true;
    bit_set(heap->marked, unit);
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
        bit_set(heap->referenced, unit);
    else if (!find(heap, address, unit))
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

/* INDEX is its type's. */
static void visit(heap *heap, uint64_t address, uint32_t index)
{
    if (heap->graph && !add_node(heap, (uint32_t)space_unit(&heap->space, address), index))
        return;
    heap->object = address;
    heap->object_bytes = 0;
    heap->broken = false;
    type *type = types_get(&heap->types, index);
    if (!referents_visit(heap, address, type) || heap->broken)
        heap->totals.broken++;
    /* A class that nothing else holds is its instances', for which some of them suffice. */
    if (type->counts[0].objects + type->counts[1].objects < INSTANCES_HOLD)
        heap_refer(heap, type->address, ONLOOKER_HELD_TYPE | ONLOOKER_EDGE_BORROWED);
    type->counts[heap->held].objects++;
    type->counts[heap->held].bytes += heap->object_bytes;
    heap->totals.objects++;
    heap->totals.bytes += heap->object_bytes;
    if (heap->graph)
        set_bytes(heap);
}

int heap_add_list(heap *heap, uint64_t head)
{
    uint64_t *list = series_add(heap, &heap->lists, sizeof *list);
    if (!list)
        return ONLOOKER_NO_MEMORY;
    *list = head;
    return ONLOOKER_OK;
}

int heap_add_root(heap *heap, uint64_t address, uint32_t label, uint8_t tier)
{
    uint64_t unit = space_unit(&heap->space, address);
    if (unit == UNIT_NONE || !find(heap, address, unit))
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

/* Visits what was found meanwhile, until nothing more is found. */
static int drain(heap *heap, const volatile int32_t *stop, volatile uint64_t *done)
{
    while (heap->stack.count && !heap_ran_out(heap) && !*stop) {
        const found *top = (found *)heap->stack.items + --heap->stack.count;
        visit(heap, top->address, top->type);
    }
    *done = heap->totals.objects;
    if (*stop)
        return ONLOOKER_INTERRUPTED;
    return heap_ran_out(heap) ? ONLOOKER_NO_MEMORY : ONLOOKER_OK;
}

/* Visits the objects of a list, after each what only it leads to. */
static int walk_list(heap *heap, uint64_t head, const volatile int32_t *stop,
                     volatile uint64_t *done)
{
    uint64_t next, at = head;
    /* No list is longer than there is room for objects with heads. */
    for (uint64_t steps = 0; steps <= heap->space.units / GC_OBJECT_UNITS; steps++) {
        if (!space_word(&heap->space, at, &next))
            return ONLOOKER_FAULT;
        at = next & ~COLLECTOR_BITS;
        if (at == head)
            return ONLOOKER_OK;
        uint64_t object = at + (uint32_t)heap->layout.gc_head_size;
        uint64_t unit = space_unit(&heap->space, object);
        if (unit == UNIT_NONE)
            return ONLOOKER_FAULT;
        if (bit_get(heap->marked, unit))
            continue;
        uint32_t index = object_type(heap, object);
        if (index == TYPE_NONE) {
            uint64_t word;
            if (!space_word(&heap->space, object, &word) || reference_count(heap, word))
                heap->totals.broken++; /* else it is just being freed, and not off the list yet */
            continue;
        }
        bit_set(heap->marked, unit);
        visit(heap, object, index);
        int result = drain(heap, stop, done);
        if (result != ONLOOKER_OK)
            return result;
    }
    return ONLOOKER_FAULT;
}

/* Visits what has been referred to meanwhile and is on no list, in the order of addresses. *MORE:
 * what that refers to may lie before it. */
static int sweep(heap *heap, const volatile int32_t *stop, volatile uint64_t *done, bool *more)
{
    const range *range = heap->space.ranges;
    *more = false;
    for (uint64_t word = 0; word < heap->space.units / 64; word++) {
        uint64_t new;
        if (word * 64 >= range->first + range_units(range))
            range++;
        while ((new = heap->referenced[word] & ~heap->marked[word])) {
            uint64_t unit = word * 64 + (uint64_t)__builtin_ctzll(new);
            heap->referenced[word] &= ~(new & -new);
            if (find(heap, range_address(range, unit), unit) && heap->stack.count)
                *more = true;
            int result = drain(heap, stop, done);
            if (result != ONLOOKER_OK)
                return result;
        }
    }
    return ONLOOKER_OK;
}

int heap_walk(heap *heap, const volatile int32_t *stop, volatile uint64_t *done)
{
    bool more = true;
    heap->deferring = true;
    int result = drain(heap, stop, done);
    const uint64_t *lists = heap->lists.items;
    for (uint64_t i = 0; i < heap->lists.count && result == ONLOOKER_OK; i++)
        result = walk_list(heap, lists[i], stop, done);
    heap->lists.count = 0;
    for (uint32_t sweeps = 0; more && result == ONLOOKER_OK; sweeps++) {
        /* A chain that leads back, step by step, would take as many sweeps as it has steps. */
        heap->deferring = sweeps < SWEEPS;
        result = sweep(heap, stop, done, &more);
    }
    heap->deferring = false;
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
