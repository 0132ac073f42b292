/* heap_recording.h: a recording as tests/native/heap_recordings.py writes it, in a file of memory
 * that has each byte where the target had it, and walks of what is there. */
#ifndef HEAP_RECORDING_H
#define HEAP_RECORDING_H

#include "heap.h"

typedef struct heap_recording {
    heap_layout layout;
    uint64_t type_type;
    uint64_t head_count, module_count, range_count;
    uint64_t *heads, *modules;
    heap_range *ranges;
    int fd;
    bool paired; /* let two threads walk it; not of the file */
} heap_recording;

/* Ends the program when the file is not what it should be. */
void heap_recording_load(heap_recording *out, const char *path);
void heap_recording_free(heap_recording *recording);

uint64_t heap_recording_get(const heap_recording *recording, uint64_t address);
void heap_recording_set(const heap_recording *recording, uint64_t address, uint64_t value);

/* Walks the first RANGES of the recording: its lists, its modules, its images, and makes a graph if
 * GRAPH. *RESULT is the first one that is not ONLOOKER_OK, but for an ONLOOKER_FAULT, after which
 * it goes on as long as there is sense in it. NULL if there is no heap. */
heap *heap_recording_walk(const heap_recording *recording, const heap_layout *layout,
                          uint32_t ranges, bool has_graph, graph *graph, int *result);

/* What was found must make sense, whatever the memory says; aborts when it does not. */
void heap_recording_check(heap *heap, const graph *graph);

#endif
