#include "paths.h"

#include <stdlib.h>

/* Steps that are remembered. Those beyond are looked for anew each time. */
#define STEP_LIMIT (2 * ONLOOKER_PATHS)

/* From path `parent` a step by `label` to an object of `type` leads to path `path`. */
struct path_step {
    uint32_t parent, label, type;
    uint32_t path; /* 0: the slot is free */
};

static path_step *find_step(const paths *paths, path_step wanted)
{
    uint64_t hash =
        hash_u64(((uint64_t)wanted.parent << 32 | wanted.label) ^ hash_u64(wanted.type));
    for (uint32_t slot = (uint32_t)hash;; slot++) {
        path_step *step = &paths->steps[slot & (paths->step_slots - 1)];
        if (!step->path || (step->parent == wanted.parent && step->label == wanted.label &&
                            step->type == wanted.type))
            return step;
    }
}

static bool grow_steps(paths *paths)
{
    struct paths grown = {.step_slots = paths->step_slots ? paths->step_slots * 2 : 1024};
    grown.steps = calloc(grown.step_slots, sizeof *grown.steps);
    if (!grown.steps)
        return false;
    for (uint32_t slot = 0; slot < paths->step_slots; slot++)
        if (paths->steps[slot].path)
            *find_step(&grown, paths->steps[slot]) = paths->steps[slot];
    free(paths->steps);
    paths->steps = grown.steps;
    paths->step_slots = grown.step_slots;
    return true;
}

/* The path that a new step leads to: one on the way that ends with the same step, or a new one, or
 * the parent when there is no room. UINT32_MAX when memory runs out. */
static uint32_t extend(paths *paths, path_step step)
{
    uint32_t path = step.parent;
    uint32_t most = step.label == ONLOOKER_LABEL_PART ? 0 : ONLOOKER_PATH_LOOKBACK;
    for (uint32_t back = 0; path && back < most; back++) {
        if (paths->items[path].label == step.label && paths->items[path].type == step.type)
            return path;
        path = paths->items[path].parent;
    }
    uint32_t depth = paths->items[step.parent].depth + 1;
    if (depth > ONLOOKER_PATH_DEPTH || paths->count == ONLOOKER_PATHS)
        return step.parent;
    if (!array_reserve((void **)&paths->items, &paths->capacity, paths->count, sizeof *paths->items,
                       ONLOOKER_PATHS))
        return UINT32_MAX;
    paths->items[paths->count] =
        (owner_path){.parent = step.parent, .label = step.label, .type = step.type, .depth = depth};
    return paths->count++;
}

/* As extend, for any step. */
static uint32_t follow(paths *paths, path_step step)
{
    if (paths->step_count >= paths->step_slots / 4 * 3 && paths->step_count < STEP_LIMIT &&
        !grow_steps(paths))
        return UINT32_MAX;
    path_step *known = find_step(paths, step);
    if (known->path)
        return known->path;
    step.path = extend(paths, step);
    if (step.path && step.path != UINT32_MAX && paths->step_count < STEP_LIMIT) {
        *known = step;
        paths->step_count++;
    }
    return step.path;
}

static void set_least(uint32_t *label, uint32_t other)
{
    if (other < *label)
        *label = other;
}

/* Fills LABELS: how its owner holds each node. Of several ways it is that of the lowest label. */
static void find_labels(const graph *graph, const ownership *ownership, const dominators *tree,
                        uint32_t *labels)
{
    for (uint32_t node = 0; node < graph->nodes; node++)
        labels[node] = ONLOOKER_LABEL_SHARED;
    for (uint32_t node = 1; node < graph->nodes; node++)
        for (uint32_t edge = graph->first_edge[node]; edge < graph->first_edge[node + 1]; edge++) {
            uint32_t target = graph->targets[edge];
            if (tree->owner[target] == node && bit_get(ownership->edges, edge))
                set_least(&labels[target], graph->labels[edge] & ~ONLOOKER_EDGE_BORROWED);
        }
    for (uint32_t i = 0; i < graph->root_count; i++)
        if (bit_get(ownership->roots, i))
            set_least(&labels[graph->roots[i]], graph->root_labels[i]);
    for (uint32_t i = tree->reached; i < graph->nodes; i++)
        if (tree->owner[tree->order[i]] == 0)
            labels[tree->order[i]] = ONLOOKER_LABEL_UNREACHABLE;
}

/* `of_node` holds the labels at first. */
static int find(const graph *graph, const dominators *tree, const volatile int32_t *stop,
                paths *paths)
{
    paths->of_node[0] = 0;
    for (uint32_t i = 1; i < graph->nodes; i++) {
        if (stopped(stop, i))
            return ONLOOKER_INTERRUPTED;
        uint32_t node = tree->order[i];
        path_step step = {.parent = paths->of_node[tree->owner[node]],
                          .label = paths->of_node[node],
                          .type = graph->types[node]};
        uint32_t path = follow(paths, step);
        if (path == UINT32_MAX)
            return ONLOOKER_NO_MEMORY;
        paths->of_node[node] = path;
        paths->items[path].objects++;
        paths->items[path].bytes += node_bytes(graph, node);
        if (path == step.parent &&
            (paths->items[path].label != step.label || paths->items[path].type != step.type))
            paths->cut++;
    }
    return ONLOOKER_OK;
}

int paths_find(const graph *graph, const ownership *ownership, const dominators *tree,
               const volatile int32_t *stop, paths *paths)
{
    memset(paths, 0, sizeof *paths);
    paths->of_node = array_new(graph->nodes, sizeof *paths->of_node);
    if (!paths->of_node || !array_reserve((void **)&paths->items, &paths->capacity, 0,
                                          sizeof *paths->items, ONLOOKER_PATHS))
        return ONLOOKER_NO_MEMORY;
    paths->items[paths->count++] = (owner_path){.label = ONLOOKER_LABEL_ROOT};
    find_labels(graph, ownership, tree, paths->of_node);
    int result = find(graph, tree, stop, paths);
    free(paths->steps);
    paths->steps = NULL;
    return result;
}

void paths_free(paths *paths)
{
    free(paths->items);
    array_free(paths->of_node);
    free(paths->steps);
    memset(paths, 0, sizeof *paths);
}
