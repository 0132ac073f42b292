#include "ownership.h"

#include <stdlib.h>

/* What is known of a node, in a byte: its tier, and flags. */
#define TIER 0x07u
#define NO_TIER 0x07u          /* not reached yet */
#define UNOWNED ONLOOKER_TIERS /* reached from no root */
#define LATE 0x08u             /* reached only because borrowers' edges count */
#define HELD 0x10u             /* the virtual root holds it */
#define CLAIMED 0x20u          /* a root, or others than borrowers refer to it */
#define OWNED 0x40u            /* an edge that counts leads to it */
#define BRANCH 0x80u           /* another one does, or one leads from it */

/* Nodes ahead of the one in turn whose data are fetched from memory. */
#define AHEAD 12u

typedef struct search {
    const graph *graph;
    const volatile int32_t *stop;
    uint8_t *state;  /* of each node */
    uint32_t *queue; /* nodes reached, in this order */
    uint32_t count;
} search;

static void claim(search *search)
{
    const graph *graph = search->graph;
    for (uint32_t node = 1; node < graph->nodes; node++)
        for (uint32_t edge = graph->first_edge[node]; edge < graph->first_edge[node + 1]; edge++)
            if (!(graph->labels[edge] & ONLOOKER_EDGE_BORROWED) && graph->targets[edge] != node)
                search->state[graph->targets[edge]] |= CLAIMED;
    for (uint32_t i = 0; i < graph->root_count; i++)
        search->state[graph->roots[i]] |= CLAIMED;
}

static void reach(search *search, uint32_t node, uint32_t tier)
{
    search->state[node] = (uint8_t)((search->state[node] & ~(TIER | LATE)) | tier);
    search->queue[search->count++] = node;
}

/* Follows NODE's edges to nodes whose tier is WANTED, which become of tier GIVEN. */
static void follow(search *search, uint32_t node, uint32_t wanted, uint32_t given, bool borrowed)
{
    const graph *graph = search->graph;
    for (uint32_t edge = graph->first_edge[node]; edge < graph->first_edge[node + 1]; edge++) {
        uint32_t target = graph->targets[edge], state = search->state[target];
        if ((state & (TIER | LATE)) == wanted &&
            (borrowed || !(graph->labels[edge] & ONLOOKER_EDGE_BORROWED) || !(state & CLAIMED)))
            reach(search, target, given);
    }
}

/* The queue's nodes lie anywhere in memory. */
static void prefetch(const search *search, uint32_t i)
{
    const graph *graph = search->graph;
    if (i + 2 * AHEAD < search->count)
        __builtin_prefetch(&graph->first_edge[search->queue[i + 2 * AHEAD]]);
    if (i + AHEAD < search->count) {
        uint32_t edge = graph->first_edge[search->queue[i + AHEAD]];
        __builtin_prefetch(&graph->targets[edge]);
        __builtin_prefetch(&graph->labels[edge]);
    }
}

/* Follows edges from the queue's nodes from FROM on, and from what is reached so. False when it
 * shall end early. */
static bool spread(search *search, uint32_t from, uint32_t wanted, uint32_t given, bool borrowed)
{
    for (uint32_t i = from; i < search->count; i++) {
        if (stopped(search->stop, i))
            return false;
        prefetch(search, i);
        follow(search, search->queue[i], wanted, given, borrowed);
    }
    return true;
}

/* What the roots reach, tier by tier; then what only borrowers hold, in the same order. */
static bool reach_from_roots(search *search)
{
    const graph *graph = search->graph;
    for (uint32_t tier = 0, i = 0; tier < ONLOOKER_TIERS; tier++) {
        uint32_t begin = search->count;
        for (; i < graph->root_count && graph->root_tiers[i] == tier; i++) {
            uint32_t node = graph->roots[i];
            if ((search->state[node] & TIER) == NO_TIER) {
                reach(search, node, tier);
                search->state[node] |= HELD;
            }
        }
        if (!spread(search, begin, NO_TIER, tier, false))
            return false;
    }
    for (uint32_t tier = 0; tier < ONLOOKER_TIERS; tier++) {
        uint32_t begin = search->count;
        for (uint32_t node = 1; node < graph->nodes && search->count < graph->nodes - 1; node++) {
            if (stopped(search->stop, node))
                return false;
            if ((search->state[node] & (TIER | LATE)) == tier)
                follow(search, node, NO_TIER, tier | LATE, true);
        }
        if (!spread(search, begin, NO_TIER, tier | LATE, true))
            return false;
    }
    return true;
}

/* What no root reaches. The second search goes backwards through the nodes at which the first one
 * had to start anew: one that it meets before it starts there itself is not held by the root. */
static bool reach_the_rest(search *search)
{
    uint32_t reached = search->count;
    for (uint32_t node = 1; node < search->graph->nodes; node++) {
        if (stopped(search->stop, node))
            return false;
        if ((search->state[node] & TIER) != NO_TIER)
            continue;
        uint32_t start = search->count;
        reach(search, node, UNOWNED);
        search->state[node] |= HELD;
        if (!spread(search, start, NO_TIER, UNOWNED, true))
            return false;
    }
    search->count = reached;
    for (uint32_t node = search->graph->nodes - 1; node > 0; node--) {
        if (stopped(search->stop, node))
            return false;
        uint32_t state = search->state[node];
        if ((state & TIER) != UNOWNED || !(state & HELD))
            continue;
        if (state & LATE) {
            search->state[node] &= (uint8_t)~HELD;
            continue;
        }
        uint32_t start = search->count;
        reach(search, node, UNOWNED | LATE);
        if (!spread(search, start, UNOWNED, UNOWNED | LATE, true))
            return false;
    }
    return true;
}

static bool counts(uint32_t owner, uint32_t target, bool borrowed)
{
    if (target & HELD || (owner ^ target) & TIER)
        return false;
    return target & LATE || (!(owner & LATE) && (!borrowed || !(target & CLAIMED)));
}

static void mark(const search *search, ownership *ownership)
{
    const graph *graph = search->graph;
    uint8_t *state = search->state;
    for (uint32_t node = 1; node < graph->nodes; node++) {
        uint32_t owner = state[node];
        for (uint32_t edge = graph->first_edge[node]; edge < graph->first_edge[node + 1]; edge++) {
            uint32_t target = graph->targets[edge];
            if (node == target ||
                !counts(owner, state[target], graph->labels[edge] & ONLOOKER_EDGE_BORROWED))
                continue;
            bit_set(ownership->edges, edge);
            state[target] |= state[target] & OWNED ? BRANCH : OWNED;
            state[node] |= BRANCH;
        }
    }
    for (uint32_t i = 0; i < graph->root_count; i++) {
        uint32_t root = state[graph->roots[i]];
        if (root & HELD && (root & TIER) == graph->root_tiers[i])
            bit_set(ownership->roots, i);
    }
}

static void find_leaves(const search *search, ownership *ownership)
{
    const graph *graph = search->graph;
    for (uint32_t node = 1; node < graph->nodes; node++)
        for (uint32_t edge = graph->first_edge[node]; edge < graph->first_edge[node + 1]; edge++) {
            uint32_t target = graph->targets[edge];
            if ((search->state[target] & (OWNED | BRANCH)) != OWNED ||
                !bit_get(ownership->edges, edge))
                continue;
            ownership->leaves[target] = LEAF | node;
            ownership->leaf_count++;
        }
}

static bool list_unowned(const search *search, ownership *ownership)
{
    for (uint32_t pass = 0; pass < 2; pass++) {
        ownership->unowned_count = 0;
        for (uint32_t node = 1; node < search->graph->nodes; node++) {
            uint32_t state = search->state[node];
            if ((state & TIER) != UNOWNED || !(state & HELD))
                continue;
            if (pass)
                ownership->unowned[ownership->unowned_count] = node;
            ownership->unowned_count++;
        }
        if (pass)
            continue;
        ownership->unowned = malloc((ownership->unowned_count + 1) * sizeof *ownership->unowned);
        if (!ownership->unowned)
            return false;
    }
    return true;
}

int ownership_find(const graph *graph, const volatile int32_t *stop, ownership *ownership)
{
    memset(ownership, 0, sizeof *ownership);
    search search = {.graph = graph,
                     .stop = stop,
                     .state = array_new(graph->nodes, sizeof *search.state),
                     .queue = array_new(graph->nodes, sizeof *search.queue)};
    ownership->leaves = array_new(graph->nodes, sizeof *ownership->leaves);
    ownership->edges = array_new(graph->edges / 64 + 1, sizeof *ownership->edges);
    ownership->roots = calloc(graph->root_count / 64 + 1, sizeof *ownership->roots);
    int result = ONLOOKER_NO_MEMORY;
    if (search.state && search.queue && ownership->leaves && ownership->edges && ownership->roots) {
        memset(search.state, NO_TIER, graph->nodes);
        claim(&search);
        result = ONLOOKER_INTERRUPTED;
        if (reach_from_roots(&search)) {
            ownership->unreachable = graph->nodes - 1 - search.count;
            if (reach_the_rest(&search)) {
                mark(&search, ownership);
                find_leaves(&search, ownership);
                result = list_unowned(&search, ownership) ? ONLOOKER_OK : ONLOOKER_NO_MEMORY;
            }
        }
    }
    array_free(search.state);
    array_free(search.queue);
    return result;
}

void ownership_free(ownership *ownership)
{
    array_free(ownership->edges);
    free(ownership->roots);
    free(ownership->unowned);
    array_free(ownership->leaves);
    memset(ownership, 0, sizeof *ownership);
}
