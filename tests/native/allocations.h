/* allocations.h: lets an allocation fail. Link with --wrap for malloc, calloc and realloc. */
#ifndef ALLOCATIONS_H
#define ALLOCATIONS_H

#include <stdbool.h>
#include <stdint.h>

/* Allocations until one fails; 0: none does, or it has. */
extern uint64_t allocations_left;

/* Takes one from what is left, if there is any, and tells whether it was the last one. */
bool count_down(uint64_t *left);

/* Calls FAIL with 1, 2, ... until it says that there are not so many allocations. How many cases
 * there were. */
uint64_t allocations_fail_each(bool (*fail)(uint64_t index));

#endif
