/* stacks.h: the stacks seen, as a tree whose nodes are kept once, and what was counted for them. */
#ifndef ONLOOKER_STACKS_H
#define ONLOOKER_STACKS_H

#include "map.h"
#include "recorder.h"

#define STACK_EMPTY 0u
#define STACK_FULL UINT32_MAX

/* The row of all that there is no room for. It has all facts, so that every profile shows it. */
#define ROW_OVERFLOW 0u

typedef struct stacks {
    node *nodes;
    uint32_t node_count, node_capacity;
    uint32_t *by_step; /* hash table of nodes, by their index; 0: the slot is free */
    uint32_t step_slots;
    row *rows;
    uint32_t row_count, row_capacity;
    map by_row; /* (stack, thread, facts, values) -> rows */
} stacks;

bool stacks_init(stacks *stacks);

/* The stack of PARENT with a frame of CODE at LASTI on top, or STACK_FULL. */
uint32_t stacks_push(stacks *stacks, uint32_t parent, uint32_t code, int32_t lasti);

/* The stack whose only frame is one of the ONLOOKER_CODE_ ones. */
uint32_t stacks_pseudo(stacks *stacks, uint32_t code);

/* Index of the row of (STACK, THREAD, FACTS, VALUES), made if need be; ROW_OVERFLOW when there is
 * no room or STACK is STACK_FULL. */
uint32_t stacks_row(stacks *stacks, uint32_t stack, uint32_t thread, uint32_t facts,
                    uint32_t values);

void stacks_free(stacks *stacks);

#endif
