/* dominators.h: the dominator tree of what ownership.h left of the graph. */
#ifndef ONLOOKER_DOMINATORS_H
#define ONLOOKER_DOMINATORS_H

#include "ownership.h"

typedef struct dominators {
    uint32_t *order;  /* all nodes: the virtual root, what roots reach, what they don't reach,
                         leaves; dominators before what they dominate */
    uint32_t reached; /* where in `order` begins what roots don't reach */
    uint32_t *owner;  /* of each node its nearest dominator; 0 of node 0 */
} dominators;

/* Uses up the leaves of OWNERSHIP. Returns ONLOOKER_OK, ONLOOKER_NO_MEMORY or ONLOOKER_INTERRUPTED;
 * TREE is to be freed in any case. */
int dominators_find(const graph *graph, ownership *ownership, const volatile int32_t *stop,
                    dominators *tree);

void dominators_free(dominators *tree);

#endif
