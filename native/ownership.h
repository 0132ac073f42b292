/* ownership.h: which references are ownership: what is left of the graph for the dominators. */
#ifndef ONLOOKER_OWNERSHIP_H
#define ONLOOKER_OWNERSHIP_H

#include "owners.h"

/* In `leaves`; the other bits are the owner. */
#define LEAF 0x80000000u

typedef struct ownership {
    uint64_t *edges;   /* a bit for each edge: it counts */
    uint64_t *roots;   /* a bit for each root: it holds its node, which nothing earlier does */
    uint32_t *unowned; /* nodes that the virtual root holds since no root reaches them */
    uint32_t unowned_count;
    uint32_t unreachable; /* nodes that no root reaches */
    uint32_t *leaves;     /* of each node: LEAF and its owner, if it has one owner, by one edge, and
                             owns nothing; else 0 */
    uint32_t leaf_count;
} ownership;

/* From the virtual root, by `roots` and `unowned`, `edges` reach every node. No edge that counts
 * leads to a node that the virtual root holds, or from a tier to another. Returns ONLOOKER_OK,
 * ONLOOKER_NO_MEMORY or ONLOOKER_INTERRUPTED; OWNERSHIP is to be freed in any case. */
int ownership_find(const graph *graph, const volatile int32_t *stop, ownership *ownership);

void ownership_free(ownership *ownership);

#endif
