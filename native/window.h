/* window.h: whole pages, read one at a time, for a walk that need not be consistent. */
#ifndef ONLOOKER_WINDOW_H
#define ONLOOKER_WINDOW_H

#include "memory.h"
#include "recorder.h"

typedef struct window {
    uint64_t start, end;
    unsigned char bytes[2 * PAGE_SIZE];
} window;

/* *OUT: the SIZE bytes (at most a page) at ADDRESS, until the next call; read with the rest of
 * their pages unless the window has them. As memory_read. */
int window_read(memory *source, window *window, uint64_t address, uint32_t size,
                const unsigned char **out);

#endif
