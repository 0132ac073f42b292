/* dominators.h: the dominator tree of what ownership.h left of the graph. */
#ifndef ONLOOKER_DOMINATORS_H
#define ONLOOKER_DOMINATORS_H

#include "ownership.h"

typedef struct dominators {
    uint32_t *order; /* all nodes, from the virtual root on: dominators before what they dominate.
                        Those that no root reaches come last */
    uint32_t *owner; /* of each node its nearest dominator; 0 of node 0 */
} dominators;

/* Returns ONLOOKER_OK, ONLOOKER_NO_MEMORY or ONLOOKER_INTERRUPTED; TREE is to be freed in any
 * case. */
int dominators_find(const graph *graph, const ownership *ownership, const volatile int32_t *stop,
                    dominators *tree);

void dominators_free(dominators *tree);

#endif
