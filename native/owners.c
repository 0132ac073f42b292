#include "owners.h"

#include <stdlib.h>

#include "dominators.h"
#include "ownership.h"
#include "paths.h"

struct owners {
    graph graph;
    dominators tree;
    paths paths;
    uint64_t *retained; /* NULL: not asked for yet */
    uint32_t unreachable;
};

static bool label_check(uint32_t label)
{
    return (label & ~ONLOOKER_EDGE_BORROWED) < ONLOOKER_LABEL_ROOT;
}

static bool graph_check(const graph *graph)
{
    if (graph->nodes == 0 || graph->nodes > LEAF || graph->first_edge[0] != 0 ||
        graph->first_edge[1] != 0 || graph->first_edge[graph->nodes] != graph->edges)
        return false;
    for (uint32_t node = 0; node < graph->nodes; node++) {
        uint32_t bytes = graph->bytes[node];
        if (graph->first_edge[node] > graph->first_edge[node + 1] ||
            (bytes & ONLOOKER_BYTES_LARGE && (bytes & ~ONLOOKER_BYTES_LARGE) >= graph->large_count))
            return false;
    }
    for (uint32_t edge = 0; edge < graph->edges; edge++)
        if (graph->targets[edge] == 0 || graph->targets[edge] >= graph->nodes ||
            !label_check(graph->labels[edge]))
            return false;
    for (uint32_t i = 0; i < graph->root_count; i++)
        if (graph->roots[i] == 0 || graph->roots[i] >= graph->nodes ||
            graph->root_tiers[i] >= ONLOOKER_TIERS ||
            (i && graph->root_tiers[i] < graph->root_tiers[i - 1]) ||
            graph->root_labels[i] >= ONLOOKER_LABEL_ROOT)
            return false;
    return true;
}

int owners_find(const graph *graph, const volatile int32_t *stop, owners **out)
{
    if (!graph_check(graph))
        return ONLOOKER_BAD_GRAPH;
    owners *found = calloc(1, sizeof *found);
    if (!found)
        return ONLOOKER_NO_MEMORY;
    found->graph = *graph;
    ownership ownership;
    int result = ownership_find(graph, stop, &ownership);
    found->unreachable = ownership.unreachable;
    if (result == ONLOOKER_OK)
        result = dominators_find(graph, &ownership, stop, &found->tree);
    if (result == ONLOOKER_OK)
        result = paths_find(graph, &ownership, &found->tree, stop, &found->paths);
    ownership_free(&ownership);
    arrays_release(0);
    if (result == ONLOOKER_OK)
        *out = found;
    else
        owners_free(found);
    return result;
}

owners_counters owners_counted(const owners *owners)
{
    return (owners_counters){.unreachable = owners->unreachable, .cut = owners->paths.cut};
}

const owner_path *owners_paths(const owners *owners, uint32_t *count)
{
    *count = owners->paths.count;
    return owners->paths.items;
}

const uint32_t *owners_path_of(const owners *owners)
{
    return owners->paths.of_node;
}

const uint32_t *owners_owner_of(const owners *owners)
{
    return owners->tree.owner;
}

const uint64_t *owners_retained(owners *owners)
{
    const graph *graph = &owners->graph;
    if (owners->retained)
        return owners->retained;
    uint64_t *retained = array_new(graph->nodes, sizeof *retained);
    if (!retained)
        return NULL;
    for (uint32_t node = 0; node < graph->nodes; node++)
        retained[node] = node_bytes(graph, node);
    for (uint32_t i = graph->nodes - 1; i > 0; i--) {
        uint32_t node = owners->tree.order[i];
        retained[owners->tree.owner[node]] += retained[node];
    }
    return owners->retained = retained;
}

void owners_count_type(const owners *owners, uint32_t type, uint64_t *objects, uint64_t *bytes)
{
    const graph *graph = &owners->graph;
    memset(objects, 0, owners->paths.count * sizeof *objects);
    memset(bytes, 0, owners->paths.count * sizeof *bytes);
    for (uint32_t node = 1; node < graph->nodes; node++) {
        if (graph->types[node] != type)
            continue;
        objects[owners->paths.of_node[node]]++;
        bytes[owners->paths.of_node[node]] += node_bytes(graph, node);
    }
}

int owners_largest(owners *owners, uint32_t type, uint32_t most, uint32_t *nodes, uint32_t *count)
{
    const uint64_t *retained = owners_retained(owners);
    if (!retained)
        return ONLOOKER_NO_MEMORY;
    uint32_t found = 0;
    for (uint32_t node = 1; most && node < owners->graph.nodes; node++) {
        if (owners->graph.types[node] != type ||
            (found == most && retained[node] <= retained[nodes[found - 1]]))
            continue;
        uint32_t place = found < most ? found++ : found - 1;
        for (; place > 0 && retained[nodes[place - 1]] < retained[node]; place--)
            nodes[place] = nodes[place - 1];
        nodes[place] = node;
    }
    *count = found;
    return ONLOOKER_OK;
}

void owners_free(owners *owners)
{
    if (!owners)
        return;
    dominators_free(&owners->tree);
    paths_free(&owners->paths);
    array_free(owners->retained);
    free(owners);
    arrays_release(0);
}
