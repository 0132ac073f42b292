/* arrays.h: arrays that may be large, and come and go: some hundred MB for the graph of a heap.
 *
 * A large one has huge pages, and the pages of one that was freed become part of the next: the
 * kernel would have to clear others, and a hypervisor to find memory for them, which takes longer
 * than to fill them. */
#ifndef ONLOOKER_ARRAYS_H
#define ONLOOKER_ARRAYS_H

#include "recorder.h"

/* An array of zeros. NULL: no memory. */
void *array_new(uint64_t count, size_t item_size);

/* Makes an array, which may be NULL, larger. What is new is undefined. NULL: no memory, and what
 * the old one holds may be lost. */
void *array_grow(void *items, uint64_t count, size_t item_size);

/* Gives up what an array, or NULL, has beyond so many items, as far as that is whole huge pages. */
void array_trim(void *items, uint64_t count, size_t item_size);

/* Of an array, or NULL. */
void array_free(void *items);

/* Gives what was freed back to the kernel, but for so many bytes that will be wanted soon. */
void arrays_release(size_t wanted);

#endif
