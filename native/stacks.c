#include "stacks.h"

#include <stdlib.h>

/* Together with their tables these stay below 40 MiB. */
#define NODE_LIMIT (1u << 20)
#define ROW_LIMIT (1u << 18)

/* Bits of a row's key for facts and, above them, the thread and the values. The stack has the rest.
 */
#define FACT_BITS 9
#define THREAD_BITS 16
#define VALUES_BITS 19

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
           stacks_row(stacks, overflow, 0, ONLOOKER_ON_CPU | ONLOOKER_HOLDS_GIL, 0) ==
               ROW_OVERFLOW &&
           stacks->row_count == 1;
}

/* Where NODE is in a table of SLOTS, or belongs. The table has no keys of its own, for it is by far
 * the largest. */
static uint32_t find_step(const stacks *stacks, const uint32_t *table, uint32_t slots, node step)
{
    uint64_t hash =
        hash_u64(((uint64_t)step.parent << 32 | step.code) ^ hash_u64((uint32_t)step.lasti));
    uint32_t slot = (uint32_t)hash & (slots - 1);
    for (; table[slot]; slot = (slot + 1) & (slots - 1)) {
        const node *node = &stacks->nodes[table[slot]];
        if (node->parent == step.parent && node->code == step.code && node->lasti == step.lasti)
            break;
    }
    return slot;
}

static bool grow_steps(stacks *stacks)
{
    uint32_t slots = stacks->step_slots ? stacks->step_slots * 2 : 256;
    uint32_t *grown = calloc(slots, sizeof *grown);
    if (!grown)
        return false;
    for (uint32_t index = 1; index < stacks->node_count; index++)
        grown[find_step(stacks, grown, slots, stacks->nodes[index])] = index;
    free(stacks->by_step);
    stacks->by_step = grown;
    stacks->step_slots = slots;
    return true;
}

uint32_t stacks_push(stacks *stacks, uint32_t parent, uint32_t code, int32_t lasti)
{
    node step = {parent, code, lasti};
    uint32_t index = stacks->node_count;
    if (parent == STACK_FULL || (index >= stacks->step_slots / 4 * 3 && !grow_steps(stacks)))
        return STACK_FULL;
    uint32_t slot = find_step(stacks, stacks->by_step, stacks->step_slots, step);
    if (stacks->by_step[slot])
        return stacks->by_step[slot];
    if (!array_reserve((void **)&stacks->nodes, &stacks->node_capacity, index,
                       sizeof *stacks->nodes, NODE_LIMIT))
        return STACK_FULL;
    stacks->nodes[index] = step;
    stacks->by_step[slot] = index;
    stacks->node_count++;
    return index;
}

uint32_t stacks_pseudo(stacks *stacks, uint32_t code)
{
    return stacks_push(stacks, STACK_EMPTY, code, 0);
}

uint32_t stacks_row(stacks *stacks, uint32_t stack, uint32_t thread, uint32_t facts,
                    uint32_t values)
{
    uint64_t key = (uint64_t)stack << (FACT_BITS + THREAD_BITS + VALUES_BITS) |
                   (uint64_t)(values & ((1u << VALUES_BITS) - 1)) << (FACT_BITS + THREAD_BITS) |
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
    stacks->rows[index] = (row){.stack = stack, .thread = thread, .facts = facts, .values = values};
    stacks->row_count++;
    return index;
}

void stacks_free(stacks *stacks)
{
    free(stacks->nodes);
    free(stacks->rows);
    free(stacks->by_step);
    map_free(&stacks->by_row);
}
