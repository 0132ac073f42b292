#include "heap.h"

#include <stdlib.h>

static type *type_of_node(const heap *heap, uint32_t node)
{
    return types_get(&heap->types, ((uint32_t *)heap->node_types.items)[node]);
}

/* How many units are marked before one. */
static uint32_t rank_of(const heap *heap, uint64_t unit)
{
    uint64_t below = heap->marked[unit / 64] & ((UINT64_C(1) << unit % 64) - 1);
    return heap->ranks[unit / 64] + (uint32_t)__builtin_popcountll(below);
}

/* The node of a marked unit, 0 if it was never visited. */
static uint32_t node_of_unit(const heap *heap, uint64_t unit)
{
    if (!(heap->marked[unit / 64] >> unit % 64 & 1))
        return 0;
    return heap->ordered[rank_of(heap, unit)];
}

/* Finds a node by the rank of its unit among all that are marked. */
static bool order(heap *heap)
{
    uint64_t words = heap->space.units / 64 + 1;
    uint32_t marked = 0;
    heap->ranks = array_new(words, sizeof *heap->ranks);
    if (!heap->ranks)
        return false;
    for (uint64_t i = 0; i < words; i++) {
        heap->ranks[i] = marked;
        marked += (uint32_t)__builtin_popcountll(heap->marked[i]);
    }
    heap->ordered = array_new(marked + UINT64_C(1), sizeof *heap->ordered);
    if (!heap->ordered)
        return false;
    const uint32_t *units = heap->units.items;
    for (uint32_t node = 1; node < heap->units.count; node++)
        heap->ordered[rank_of(heap, units[node])] = node;
    return true;
}

/* What decides who owns functions, types and modules, which many refer to. */
typedef struct homes {
    map globals_by_name; /* node of the str that is a module's __name__ -> node of its dict */
    map module_dicts;    /* nodes of dicts of modules -> 1 */
    map class_dicts;     /* nodes of dicts of types -> node of the type */
    map type_homes;      /* nodes of types -> node of the dict of the module that they are from */
    map function_homes;  /* nodes of functions -> node of their globals */
} homes;

static void homes_free(homes *homes)
{
    map *maps[] = {&homes->globals_by_name, &homes->module_dicts, &homes->class_dicts,
                   &homes->type_homes, &homes->function_homes};
    for (size_t i = 0; i < sizeof maps / sizeof *maps; i++)
        map_free(maps[i]);
}

static uint32_t label_of_text(const heap *heap, const char *text)
{
    const name *names = heap->name_items.items;
    const unsigned char *all = heap->name_text.items;
    for (uint64_t i = 0; i < heap->name_items.count; i++)
        if (names[i].bytes == strlen(text) && !memcmp(all + names[i].at, text, names[i].bytes))
            return ONLOOKER_HELD_NAMES + (uint32_t)i;
    return UINT32_MAX;
}

/* The first node that NODE refers to in this way, or 0. */
static uint32_t held_as(const heap *heap, uint32_t node, uint32_t label)
{
    const uint32_t *first = heap->first_edge.items;
    const uint32_t *targets = heap->targets.items, *labels = heap->labels.items;
    for (uint32_t edge = first[node]; edge < first[node + 1]; edge++)
        if (labels[edge] == label)
            return targets[edge];
    return 0;
}

static bool find_homes(const heap *heap, homes *homes)
{
    uint32_t name_label = label_of_text(heap, "__name__");
    uint32_t module_label = label_of_text(heap, "__module__");
    uint32_t count = (uint32_t)heap->units.count;
    bool good = true;
    for (uint32_t node = 1; node < count && good; node++) {
        uint32_t dict, name;
        switch (type_of_node(heap, node)->shape) {
        case SHAPE_MODULE:
            /* Each dict is looked at once, whoever shares it. */
            if ((dict = held_as(heap, node, ONLOOKER_LABEL_PART)) &&
                map_get(&homes->module_dicts, dict) == MAP_ABSENT) {
                good = map_set(&homes->module_dicts, dict, 1);
                if (good && (name = held_as(heap, dict, name_label)))
                    good = map_set(&homes->globals_by_name, name, dict);
            }
            break;
        case SHAPE_FUNCTION:
            if ((dict = held_as(heap, node, ONLOOKER_HELD_GLOBALS)))
                good = map_set(&homes->function_homes, node, dict);
            break;
        case SHAPE_TYPE:
            if ((dict = held_as(heap, node, ONLOOKER_LABEL_PART)))
                good = map_set(&homes->class_dicts, dict, node);
            break;
        default:
            break;
        }
    }
    for (uint32_t node = 1; node < count && good; node++) {
        uint32_t dict, name, home;
        if (type_of_node(heap, node)->shape == SHAPE_TYPE &&
            (dict = held_as(heap, node, ONLOOKER_LABEL_PART)) &&
            map_get(&homes->class_dicts, dict) == node &&
            (name = held_as(heap, dict, module_label)) &&
            (home = map_get(&homes->globals_by_name, name)) != MAP_ABSENT)
            good = map_set(&homes->type_homes, node, home);
    }
    return good;
}

/* Modules belong to nobody, their dicts to them, functions and types to the module that defines
 * them or to the class that they are a part of. */
static bool owns(const heap *heap, const homes *homes, uint32_t owner, uint32_t target)
{
    switch (type_of_node(heap, target)->shape) {
    case SHAPE_MODULE:
        return false;
    case SHAPE_FUNCTION:
        return map_get(&homes->function_homes, target) == owner ||
               map_get(&homes->class_dicts, owner) != MAP_ABSENT;
    case SHAPE_TYPE:
        return map_get(&homes->type_homes, target) == owner ||
               (map_get(&homes->class_dicts, owner) != MAP_ABSENT);
    case SHAPE_DICT:
        return map_get(&homes->module_dicts, target) == MAP_ABSENT ||
               type_of_node(heap, owner)->shape == SHAPE_MODULE;
    default:
        return true;
    }
}

static bool holds_type(heap *heap, uint32_t node)
{
    uint64_t address = space_address(&heap->space, ((uint32_t *)heap->units.items)[node]);
    return type_is_held_by(type_of_node(heap, node), type_lot(address));
}

/* Turns targets from units into nodes, and leaves out what leads nowhere. Names' labels become
 * NAMES, by their indexes. */
static void resolve(heap *heap, const uint32_t *names)
{
    uint32_t *first = heap->first_edge.items, kept = 0;
    uint32_t *targets = heap->targets.items, *labels = heap->labels.items;
    for (uint64_t node = 0; node + 1 < heap->first_edge.count; node++) {
        uint32_t begin = first[node], end = first[node + 1];
        first[node] = kept;
        for (uint32_t edge = begin; edge < end; edge++) {
            uint32_t target = node_of_unit(heap, targets[edge]), label = labels[edge];
            if (target && (label != HELD_BY_INSTANCE || holds_type(heap, (uint32_t)node))) {
                targets[kept] = target;
                labels[kept++] = heap_is_name(label) ? names[label - ONLOOKER_HELD_NAMES] : label;
            }
        }
    }
    first[heap->first_edge.count - 1] = kept;
    heap->targets.count = heap->labels.count = kept;
}

/* Each root once, as the first that names it has it. */
static bool make_roots(heap *heap, graph *out)
{
    const root *roots = heap->roots.items;
    uint64_t count = heap->roots.count + 1;
    uint64_t *met = calloc(heap->units.count / 64 + 1, sizeof *met);
    heap->root_nodes = malloc(count * sizeof *heap->root_nodes);
    heap->root_labels = malloc(count * sizeof *heap->root_labels);
    heap->root_tiers = malloc(count * sizeof *heap->root_tiers);
    if (!met || !heap->root_nodes || !heap->root_labels || !heap->root_tiers) {
        free(met);
        return false;
    }
    uint32_t kept = 0;
    for (uint64_t i = 0; i < heap->roots.count; i++) {
        uint32_t node = node_of_unit(heap, roots[i].unit);
        if (!node || bit_get(met, node))
            continue;
        met[node / 64] |= UINT64_C(1) << node % 64;
        heap->root_nodes[kept] = node;
        heap->root_labels[kept] = roots[i].label;
        heap->root_tiers[kept++] = roots[i].tier;
    }
    free(met);
    out->roots = heap->root_nodes;
    out->root_labels = heap->root_labels;
    out->root_tiers = heap->root_tiers;
    out->root_count = kept;
    return true;
}

/* Frees what only finding nodes needs. */
static void forget_walk(heap *heap)
{
    array_free(heap->marked);
    array_free(heap->ordered);
    array_free(heap->ranks);
    heap->marked = NULL;
    heap->ordered = heap->ranks = NULL;
}

/* All is read, and nothing is found any more. */
static void make_room(heap *heap)
{
    series *all[] = {&heap->units,      &heap->node_types, &heap->bytes,
                     &heap->first_edge, &heap->targets,    &heap->labels};
    space_forget(&heap->space);
    array_free(heap->referenced);
    heap->referenced = NULL;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        series_trim(all[i], sizeof(uint32_t));
}

int heap_make_graph(heap *heap, graph *out)
{
    uint32_t *end = series_add(heap, &heap->first_edge, sizeof *end);
    if (!end || heap_ran_out(heap) || heap->units.count > UINT32_MAX ||
        heap->targets.count > UINT32_MAX)
        return ONLOOKER_NO_MEMORY;
    *end = (uint32_t)heap->targets.count;
    homes homes = {0};
    make_room(heap);
    uint32_t *names = order(heap) ? heap_sort_names(heap) : NULL;
    if (!names)
        return ONLOOKER_NO_MEMORY;
    resolve(heap, names);
    free(names);
    bool good = find_homes(heap, &homes);
    const uint32_t *first = heap->first_edge.items;
    const uint32_t *targets = heap->targets.items;
    uint32_t *labels = heap->labels.items;
    for (uint32_t node = 1; node < heap->units.count && good; node++)
        for (uint32_t edge = first[node]; edge < first[node + 1]; edge++)
            if (!owns(heap, &homes, node, targets[edge]))
                labels[edge] |= ONLOOKER_EDGE_BORROWED;
    homes_free(&homes);
    if (!good)
        return ONLOOKER_NO_MEMORY;
    *out = (graph){.nodes = (uint32_t)heap->units.count,
                   .edges = (uint32_t)heap->targets.count,
                   .large_count = (uint32_t)heap->large_bytes.count,
                   .first_edge = first,
                   .targets = targets,
                   .labels = labels,
                   .types = heap->node_types.items,
                   .bytes = heap->bytes.items,
                   .large_bytes = heap->large_bytes.items};
    good = make_roots(heap, out);
    forget_walk(heap);
    return good ? ONLOOKER_OK : ONLOOKER_NO_MEMORY;
}

uint32_t heap_node_at(heap *heap, uint64_t address)
{
    const uint32_t *units = heap->units.items;
    uint64_t unit = space_unit(&heap->space, address);
    for (uint32_t node = 1; units && node < heap->units.count; node++)
        if (units[node] == unit)
            return node;
    return 0;
}

uint64_t heap_address_of(heap *heap, uint32_t node)
{
    const uint32_t *units = heap->units.items;
    return units && node && node < heap->units.count ? space_address(&heap->space, units[node]) : 0;
}

void heap_forget_addresses(heap *heap)
{
    array_free(heap->units.items);
    heap->units.items = NULL;
}

void heap_forget_references(heap *heap)
{
    series *all[] = {&heap->first_edge, &heap->targets, &heap->labels};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        series_free(all[i]);
    arrays_release(0);
}

uint64_t heap_referrers(const heap *heap, uint32_t node, uint32_t *nodes, uint32_t *labels,
                        uint32_t most)
{
    const uint32_t *first = heap->first_edge.items;
    const uint32_t *targets = heap->targets.items, *held = heap->labels.items;
    uint64_t count = 0;
    for (uint32_t from = 1; first && from < heap->units.count; from++)
        for (uint32_t edge = first[from]; edge < first[from + 1]; edge++) {
            if (targets[edge] != node)
                continue;
            if (count < most) {
                nodes[count] = from;
                labels[count] = held[edge];
            }
            count++;
        }
    return count;
}
