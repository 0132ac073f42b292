/* paths.h: the chains of owners, each kept once. */
#ifndef ONLOOKER_PATHS_H
#define ONLOOKER_PATHS_H

#include "dominators.h"

typedef struct path_step path_step;

typedef struct paths {
    owner_path *items;
    uint32_t count, capacity;
    uint32_t *of_node;
    uint32_t cut;     /* objects whose path had no room */
    path_step *steps; /* hash table of the steps met: from which path to which */
    uint32_t step_count, step_slots;
} paths;

/* Returns ONLOOKER_OK, ONLOOKER_NO_MEMORY or ONLOOKER_INTERRUPTED; PATHS is to be freed in any
 * case. */
int paths_find(const graph *graph, const ownership *ownership, const dominators *tree,
               const volatile int32_t *stop, paths *paths);

void paths_free(paths *paths);

#endif
