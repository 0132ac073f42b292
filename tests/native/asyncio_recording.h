/* asyncio_recording.h: recorded memory of a program with tasks, and a look at these. */
#ifndef ASYNCIO_RECORDING_H
#define ASYNCIO_RECORDING_H

#include "asyncio_boundary.h"
#include "hostile_memory.h"

/* What tests/native/asyncio_recordings.py writes beside a recording. */
typedef struct recorded_roots {
    asyncio_layout layout;
    asyncio_root roots[64];
    uint32_t count;
} recorded_roots;

/* Ends the program when the file is not what it should be. */
void recorded_roots_load(recorded_roots *out, const char *path);

/* Looks at all bytes of what was read, and ends the program when they make no sense. */
void asyncio_check(const asyncio_look *look, uint32_t roots);

#endif
