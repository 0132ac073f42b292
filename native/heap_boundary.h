/* heap_boundary.h: onlooker_heap.h for C files, which may include it more than once. */
#ifndef ONLOOKER_HEAP_BOUNDARY_H
#define ONLOOKER_HEAP_BOUNDARY_H

#include "owners.h"

#include "onlooker_heap.h"

#endif
