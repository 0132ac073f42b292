#include "heap.h"

#include <stdlib.h>

/* Makes room for so many more items, and returns where they go; NULL: no memory, or none to add. */
static void *extend(heap *heap, series *series, size_t size, uint64_t count)
{
    if (!count || heap->no_memory)
        return NULL;
    /* Pages that were never used make way for those that the helper has given up. */
    series_trim(series, size);
    if (!series_reserve(heap, series, size, series->count + count))
        return NULL;
    series->count += count;
    return (unsigned char *)series->items + (series->count - count) * size;
}

/* Gives its pages up. */
static void drop(series *series, size_t size)
{
    series_trim(series, size);
    series_free(series);
}

/* Items that mean the same in both. */
static void append(heap *heap, series *series, struct series *more, size_t size)
{
    void *place = extend(heap, series, size, more->count);
    if (place)
        memcpy(place, more->items, more->count * size);
    drop(more, size);
}

/* Adds what was found of each type. Returns the helper's types' indexes; NULL: no memory. */
static uint32_t *merge_types(heap *heap, const struct heap *helper)
{
    uint32_t *indexes = malloc((helper->types.count + UINT64_C(1)) * sizeof *indexes);
    for (uint32_t i = 0; indexes && i < helper->types.count; i++) {
        const type *from = types_get(&helper->types, i);
        indexes[i] = types_add(&heap->types, from);
        if (indexes[i] == TYPE_NONE) {
            free(indexes);
            return NULL;
        }
        type *to = types_get(&heap->types, indexes[i]);
        to->counts[heap->held].objects += from->counts[heap->held].objects;
        to->counts[heap->held].bytes += from->counts[heap->held].bytes;
        for (uint32_t lot = 0; lot < INSTANCES_HOLD; lot++)
            type_take(to, from->lots[lot]);
    }
    return indexes;
}

static void merge_totals(heap *heap, const struct heap *helper)
{
    heap_totals *to = &heap->totals;
    const heap_totals *from = &helper->totals;
    uint64_t held = from->pymalloc_bytes + from->malloc_bytes + from->unsized_bytes;
    to->objects += from->objects;
    to->bytes += from->bytes;
    to->pymalloc_blocks += from->pymalloc_blocks;
    to->pymalloc_bytes += from->pymalloc_bytes;
    to->malloc_bytes += from->malloc_bytes;
    to->unsized_bytes += from->unsized_bytes;
    to->broken += from->broken;
    heap->space.read_bytes += helper->space.read_bytes;
    heap->unheld -= held < heap->unheld ? held : heap->unheld;
    heap->unclaimed += helper->unclaimed;
    blocks_merge(heap, helper);
}

/* Where the helper's batches of nodes begin, and their edges; and where the last one ends. */
typedef struct bounds {
    uint64_t count;
    uint32_t *nodes, *edges;
} bounds;

static bool find_bounds(struct heap *helper, bounds *bounds)
{
    uint32_t *end = series_add(helper, &helper->batches, sizeof *end);
    uint32_t *edges = series_add(helper, &helper->first_edge, sizeof *edges);
    if (!end || !edges)
        return false;
    *end = (uint32_t)helper->units.count;
    *edges = (uint32_t)helper->targets.count;
    bounds->count = helper->batches.count - 1;
    bounds->nodes = helper->batches.items;
    bounds->edges = malloc(helper->batches.count * sizeof *bounds->edges);
    const uint32_t *first = helper->first_edge.items;
    for (uint64_t i = 0; bounds->edges && i <= bounds->count; i++)
        bounds->edges[i] = first[bounds->nodes[i]];
    return bounds->edges;
}

/* Takes over batches, the last one first, and returns where they are now. */
static uint32_t *take(heap *heap, series *to, series *from, const uint32_t *bounds,
                      uint64_t batches)
{
    uint32_t *taken = extend(heap, to, sizeof *taken, bounds[batches] - bounds[0]);
    uint32_t *place = taken;
    for (uint64_t i = batches; place && i > 0; i--) {
        uint32_t count = bounds[i] - bounds[i - 1];
        memcpy(place, (uint32_t *)from->items + bounds[i - 1], count * sizeof *place);
        place += count;
    }
    drop(from, sizeof *taken);
    return taken;
}

static void merge_nodes(heap *heap, struct heap *helper, const bounds *bounds,
                        const uint32_t *types)
{
    uint32_t nodes = bounds->nodes[bounds->count] - bounds->nodes[0];
    uint32_t large = (uint32_t)heap->large_bytes.count;
    take(heap, &heap->units, &helper->units, bounds->nodes, bounds->count);
    uint32_t *taken =
        take(heap, &heap->node_types, &helper->node_types, bounds->nodes, bounds->count);
    for (uint32_t i = 0; taken && i < nodes; i++)
        taken[i] = types[taken[i]];
    taken = take(heap, &heap->bytes, &helper->bytes, bounds->nodes, bounds->count);
    for (uint32_t i = 0; taken && i < nodes; i++)
        if (taken[i] & ONLOOKER_BYTES_LARGE)
            taken[i] += large;
    append(heap, &heap->large_bytes, &helper->large_bytes, sizeof(uint64_t));
}

static void merge_edges(heap *heap, struct heap *helper, const bounds *bounds)
{
    uint32_t at = (uint32_t)heap->targets.count, edges = bounds->edges[bounds->count];
    uint32_t *first =
        take(heap, &heap->first_edge, &helper->first_edge, bounds->nodes, bounds->count);
    for (uint64_t i = bounds->count; first && i > 0; i--) {
        for (uint32_t node = bounds->nodes[i - 1]; node < bounds->nodes[i]; node++)
            *first++ += at - bounds->edges[i - 1];
        at += bounds->edges[i] - bounds->edges[i - 1];
    }
    take(heap, &heap->targets, &helper->targets, bounds->edges, bounds->count);
    uint32_t *labels = take(heap, &heap->labels, &helper->labels, bounds->edges, bounds->count);
    uint32_t names = (uint32_t)heap->name_items.count;
    for (uint32_t i = 0; labels && i < edges; i++)
        if (heap_is_name(labels[i]))
            labels[i] += names;
}

/* Some may be there twice then. */
static void merge_names(heap *heap, struct heap *helper)
{
    name *names = helper->name_items.items;
    for (uint64_t i = 0; i < helper->name_items.count; i++)
        names[i].at += heap->name_text.count;
    append(heap, &heap->name_items, &helper->name_items, sizeof *names);
    append(heap, &heap->name_text, &helper->name_text, 1);
}

void heap_merge(heap *heap, struct heap *helper)
{
    space_forget(&helper->space); /* to make room */
    bounds bounds = {0};
    uint32_t *types = merge_types(heap, helper);
    heap->no_memory |= !types || heap_ran_out(helper) ||
                       (heap->graph && !find_bounds(helper, &bounds)) ||
                       heap->targets.count + helper->targets.count > UINT32_MAX;
    merge_totals(heap, helper);
    append(heap, &heap->mapped, &helper->mapped, sizeof(heap_block));
    if (heap->graph && !heap->no_memory) {
        merge_nodes(heap, helper, &bounds, types);
        merge_edges(heap, helper, &bounds);
        merge_names(heap, helper);
    }
    free(types);
    free(bounds.edges);
    heap_free_helper(helper);
}
