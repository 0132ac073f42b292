#include "stacks.h"

#include <stdlib.h>

/* Together with their maps these stay below 50 MiB. */
#define NODE_LIMIT (1u << 20)
#define ROW_LIMIT (1u << 18)

/* Bits of a row's key for facts and, above them, the thread. */
#define FACT_BITS 4
#define THREAD_BITS 28

bool stacks_init(stacks *stacks)
{
    if (!array_reserve((void **)&stacks->nodes, &stacks->node_capacity, 0, sizeof *stacks->nodes,
                       NODE_LIMIT))
        return false;
    stacks->nodes[0] = (node){0, 0, 0};
    stacks->node_count = 1;
    /* There must always be room for what there is no room for. */
    uint32_t overflow = stacks_push(stacks, STACK_EMPTY, ONLOOKER_CODE_OVERFLOW, 0);
    return overflow != STACK_FULL &&
           stacks_row(stacks, overflow, 0, ONLOOKER_ON_CPU | ONLOOKER_HOLDS_GIL) == ROW_OVERFLOW &&
           stacks->row_count == 1;
}

uint32_t stacks_push(stacks *stacks, uint32_t parent, uint32_t code, int32_t lasti)
{
    if (parent == STACK_FULL)
        return STACK_FULL;
    uint64_t key = hash_u64(((uint64_t)parent << 32 | code) ^ hash_u64((uint32_t)lasti));
    uint32_t index;
    while ((index = map_get(&stacks->by_step, key)) != MAP_ABSENT) {
        const node *node = &stacks->nodes[index];
        if (node->parent == parent && node->code == code && node->lasti == lasti)
            return index;
        key++; /* another node has this hash */
    }
    index = stacks->node_count;
    if (!array_reserve((void **)&stacks->nodes, &stacks->node_capacity, index,
                       sizeof *stacks->nodes, NODE_LIMIT) ||
        !map_set(&stacks->by_step, key, index))
        return STACK_FULL;
    stacks->nodes[index] = (node){parent, code, lasti};
    stacks->node_count++;
    return index;
}

uint32_t stacks_pseudo(stacks *stacks, uint32_t code)
{
    return stacks_push(stacks, STACK_EMPTY, code, 0);
}

uint32_t stacks_row(stacks *stacks, uint32_t stack, uint32_t thread, uint32_t facts)
{
    uint64_t key = (uint64_t)stack << 32 |
                   (uint64_t)(thread & ((1u << THREAD_BITS) - 1)) << FACT_BITS |
                   (facts & ((1u << FACT_BITS) - 1));
    uint32_t index = map_get(&stacks->by_row, key);
    if (index != MAP_ABSENT)
        return index;
    index = stacks->row_count;
    if (stack == STACK_FULL ||
        !array_reserve((void **)&stacks->rows, &stacks->row_capacity, index, sizeof *stacks->rows,
                       ROW_LIMIT) ||
        !map_set(&stacks->by_row, key, index))
        return ROW_OVERFLOW;
    stacks->rows[index] = (row){.stack = stack, .thread = thread, .facts = facts};
    stacks->row_count++;
    return index;
}

void stacks_free(stacks *stacks)
{
    free(stacks->nodes);
    free(stacks->rows);
    map_free(&stacks->by_step);
    map_free(&stacks->by_row);
}
