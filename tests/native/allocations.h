/* allocations.h: lets an allocation fail. Link with --wrap for malloc, calloc and realloc. */
#ifndef ALLOCATIONS_H
#define ALLOCATIONS_H

#include <stdbool.h>
#include <stdint.h>

/* Allocations until one fails; 0: none does, or it has. */
extern uint64_t allocations_left;

/* Calls FAIL with 1, 2, ... until it says that there are not so many allocations. How many cases
 * there were. */
uint64_t allocations_fail_each(bool (*fail)(uint64_t index));

#endif
