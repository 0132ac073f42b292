#include "dominators.h"

#include <stdlib.h>

/* The algorithm of Lengauer and Tarjan (A fast algorithm for finding dominators in a flowgraph,
 * 1979) with its simple linking, which is O(edges * log(nodes)) for any graph. Nodes go by their
 * number in a depth-first search, in which the virtual root is 0; names are the paper's.
 *
 * Only edges that lead from a higher number to a lower one ever need `best`, so only these are kept
 * backwards. All others lead from a node to what is below it in the search tree, and the search
 * itself has done with them.
 *
 * Arrays that are never needed at once are one: see the comments. */
typedef struct flow {
    const graph *graph;
    const ownership *ownership;
    const volatile int32_t *stop;
    uint32_t *number; /* of each node; 0: not visited, or the virtual root. A leaf has none, but its
                         owner as ownership.h says */
    uint32_t *vertex; /* the node of each number; while dominating, the paper's label */
    uint32_t *parent; /* in the search tree; later an ancestor in the forest that grows */
    uint32_t *semi;   /* the number of the semidominator as far as it is known */
    uint32_t *dom;    /* the dominator; before, the next one in the same bucket; and while
                         searching, the edge to be followed next */
    uint32_t *first;  /* [nodes + 1]: where a vertex's edges from higher numbers begin in */
    uint32_t *source; /* the numbers that they come from */
    uint32_t count;   /* of numbers given */
    uint32_t reached; /* of these to nodes that roots reach, and the virtual root */
} flow;

static uint32_t visit(flow *flow, uint32_t node, uint32_t parent)
{
    uint32_t number = flow->count++;
    flow->number[node] = number;
    flow->vertex[number] = node;
    flow->parent[number] = parent;
    flow->semi[number] = parent;
    flow->dom[number] = flow->graph->first_edge[node];
    return number;
}

/* Visits NODE, unless it is visited, and all below it. */
static bool search_from(flow *flow, uint32_t node)
{
    if (flow->number[node])
        return true;
    const graph *graph = flow->graph;
    for (uint32_t at = visit(flow, node, 0); at != 0;) {
        uint32_t edge = flow->dom[at], end = graph->first_edge[flow->vertex[at] + 1];
        uint32_t from = at;
        for (; edge < end && at == from; edge++) {
            if (!bit_get(flow->ownership->edges, edge))
                continue;
            uint32_t target = flow->number[graph->targets[edge]];
            if (target & LEAF)
                continue;
            if (!target)
                at = visit(flow, graph->targets[edge], from);
            else if (target < from)
                flow->first[target]++;
            else if (from < flow->semi[target])
                flow->semi[target] = from;
        }
        flow->dom[from] = edge;
        if (at == from)
            at = flow->parent[at];
        else if (stopped(flow->stop, at))
            return false;
    }
    return true;
}

static bool search_all(flow *flow)
{
    const graph *graph = flow->graph;
    flow->count = 1;
    flow->vertex[0] = flow->parent[0] = flow->semi[0] = 0;
    for (uint32_t i = 0; i < graph->root_count; i++)
        if (bit_get(flow->ownership->roots, i) && !search_from(flow, graph->roots[i]))
            return false;
    flow->reached = flow->count;
    for (uint32_t i = 0; i < flow->ownership->unowned_count; i++)
        if (!search_from(flow, flow->ownership->unowned[i]))
            return false;
    return true;
}

/* Fills `source`; `first`, which counted, becomes the index. False when memory runs out. */
static bool turn_edges(flow *flow)
{
    const graph *graph = flow->graph;
    uint32_t total = 0;
    for (uint32_t number = 0; number < flow->count; number++)
        flow->first[number] = total += flow->first[number];
    flow->first[flow->count] = total;
    flow->source = array_new(total + UINT64_C(1), sizeof *flow->source);
    if (!flow->source)
        return false;
    for (uint32_t node = 1; node < graph->nodes; node++) {
        uint32_t from = flow->number[node];
        for (uint32_t edge = graph->first_edge[node]; edge < graph->first_edge[node + 1]; edge++) {
            if (!bit_get(flow->ownership->edges, edge))
                continue;
            uint32_t target = flow->number[graph->targets[edge]];
            if (target < from)
                flow->source[--flow->first[target]] = from;
        }
    }
    return true;
}

/* EVAL and COMPRESS, without recursion: the number with the least semidominator on the way from
 * NUMBER, itself included, up to its tree's root, which is the first below LINKED. On the way up
 * the links are turned, to find back down. */
static uint32_t best_above(uint32_t number, uint32_t linked, uint32_t *ancestor, uint32_t *best,
                           const uint32_t *semi)
{
    uint32_t at = number, below = UINT32_MAX;
    while (ancestor[at] >= linked) {
        uint32_t above = ancestor[at];
        ancestor[at] = below;
        below = at;
        at = above;
    }
    uint32_t root = ancestor[at], least = best[at];
    while (below != UINT32_MAX) {
        uint32_t next = ancestor[below];
        if (semi[least] < semi[best[below]])
            best[below] = least;
        else
            least = best[below];
        ancestor[below] = root;
        below = next;
    }
    return least;
}

/* Fills `dom`. Buckets hang at the numbers that are not linked yet, in BEST, which these don't need
 * otherwise; it starts with zeros. */
static bool dominate(flow *flow, uint32_t *best)
{
    uint32_t *ancestor = flow->parent, *semi = flow->semi, *dom = flow->dom;
    for (uint32_t number = flow->count - 1; number > 0; number--) {
        if (stopped(flow->stop, number))
            return false;
        uint32_t least = semi[number];
        for (uint32_t i = flow->first[number]; i < flow->first[number + 1] && least; i++) {
            uint32_t found = semi[best_above(flow->source[i], number + 1, ancestor, best, semi)];
            if (found < least)
                least = found;
        }
        semi[number] = least;
        uint32_t parent = ancestor[number];
        best[number] = number; /* links it: its bucket is empty by now */
        if (least == 0 || least == parent) {
            dom[number] = least;
        } else {
            dom[number] = best[least];
            best[least] = number;
        }
        for (uint32_t held = best[parent], next; held; held = next) {
            next = dom[held];
            uint32_t found = best_above(held, number, ancestor, best, semi);
            dom[held] = semi[found] < semi[held] ? found : parent;
        }
        best[parent] = 0;
    }
    dom[0] = 0;
    for (uint32_t number = 1; number < flow->count; number++)
        if (dom[number] != semi[number])
            dom[number] = dom[dom[number]];
    return true;
}

/* Puts all nodes in order, leaves last, and names their owners. False when memory runs out. */
static bool name_owners(flow *flow, dominators *tree)
{
    uint32_t nodes = flow->graph->nodes, last = flow->count;
    uint32_t *order = tree->order = array_new(nodes, sizeof *order);
    if (!order)
        return false;
    for (uint32_t node = 0; node < nodes; node++)
        order[flow->number[node] & LEAF ? last++ : flow->number[node]] = node;
    for (uint32_t node = 0; node < nodes; node++) {
        uint32_t number = flow->number[node];
        flow->number[node] = number & LEAF ? number & ~LEAF : order[flow->dom[number]];
    }
    tree->owner = flow->number;
    tree->reached = flow->reached;
    flow->number = NULL;
    return true;
}

static void free_search(flow *flow)
{
    array_free(flow->vertex);
    array_free(flow->parent);
    array_free(flow->semi);
    array_free(flow->first);
    array_free(flow->source);
    flow->vertex = flow->parent = flow->semi = flow->first = flow->source = NULL;
}

static int find(flow *flow, dominators *tree)
{
    size_t numbers = flow->graph->nodes - flow->ownership->leaf_count;
    flow->vertex = array_new(numbers, sizeof *flow->vertex);
    flow->parent = array_new(numbers, sizeof *flow->parent);
    flow->semi = array_new(numbers, sizeof *flow->semi);
    flow->dom = array_new(numbers, sizeof *flow->dom);
    flow->first = array_new(numbers + 1, sizeof *flow->first);
    if (!flow->vertex || !flow->parent || !flow->semi || !flow->dom || !flow->first)
        return ONLOOKER_NO_MEMORY;
    if (!search_all(flow))
        return ONLOOKER_INTERRUPTED;
    if (!turn_edges(flow))
        return ONLOOKER_NO_MEMORY;
    memset(flow->vertex, 0, numbers * sizeof *flow->vertex);
    if (!dominate(flow, flow->vertex))
        return ONLOOKER_INTERRUPTED;
    free_search(flow);
    arrays_release(flow->graph->nodes * sizeof *tree->order);
    return name_owners(flow, tree) ? ONLOOKER_OK : ONLOOKER_NO_MEMORY;
}

int dominators_find(const graph *graph, ownership *ownership, const volatile int32_t *stop,
                    dominators *tree)
{
    memset(tree, 0, sizeof *tree);
    flow flow = {.graph = graph, .ownership = ownership, .stop = stop, .number = ownership->leaves};
    ownership->leaves = NULL;
    int result = find(&flow, tree);
    free_search(&flow);
    array_free(flow.number);
    array_free(flow.dom);
    return result;
}

void dominators_free(dominators *tree)
{
    array_free(tree->order);
    array_free(tree->owner);
    memset(tree, 0, sizeof *tree);
}
