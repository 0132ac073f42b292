/* look.h: the one read that a sample is. */
#ifndef ONLOOKER_LOOK_H
#define ONLOOKER_LOOK_H

#include "walk.h"

/* Copies what is predicted of a thread's stack and context, twice unless the thread is STOPPED.
 * *FRAME is the current frame, *GENERATION the interpreter's count of freed code objects, or 0.
 * ONLOOKER_OK if the pointers to the current frame agree, WALK_TORN, WALK_AGAIN, or as
 * memory_readv. */
int look(walker *walker, walk *walk, bool stopped, uint64_t *frame, uint64_t *generation);

#endif
