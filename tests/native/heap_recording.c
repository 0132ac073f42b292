#include "heap_recording.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "session.h"

#define RANGES_LIMIT_HERE (1u << 16)
#define CACHE_BYTES (1u << 22) /* less than there is, so that windows go and come */

static void read_exactly(FILE *file, void *out, size_t length)
{
    session_must(fread(out, 1, length, file) == length, "the recording is too short");
}

static void *read_array(FILE *file, uint64_t count, size_t size)
{
    session_must(count < RANGES_LIMIT_HERE, "the recording is none");
    void *items = malloc(count * size + 1);
    session_must(items != NULL, "out of memory");
    read_exactly(file, items, count * size);
    return items;
}

void heap_recording_load(heap_recording *out, const char *path)
{
    static unsigned char piece[1 << 16];
    FILE *file = fopen(path, "rb");
    session_must(file != NULL, "the recording cannot be opened");
    read_exactly(file, &out->layout, sizeof out->layout);
    read_exactly(file, &out->type_type, 4 * sizeof(uint64_t));
    out->heads = read_array(file, out->head_count, sizeof *out->heads);
    out->modules = read_array(file, out->module_count, sizeof *out->modules);
    out->ranges = read_array(file, out->range_count, sizeof *out->ranges);
    out->fd = memfd_create("heap", MFD_CLOEXEC);
    session_must(out->fd >= 0, "there is no file of memory");
    for (uint64_t i = 0; i < out->range_count; i++)
        for (uint64_t at = out->ranges[i].start; at < out->ranges[i].end;) {
            uint64_t left = out->ranges[i].end - at;
            size_t here = left < sizeof piece ? left : sizeof piece;
            read_exactly(file, piece, here);
            session_must(pwrite(out->fd, piece, here, (off_t)at) == (ssize_t)here,
                         "the file of memory is full");
            at += here;
        }
    session_must(fgetc(file) == EOF, "the recording is too long");
    fclose(file);
}

void heap_recording_free(heap_recording *recording)
{
    free(recording->heads);
    free(recording->modules);
    free(recording->ranges);
    close(recording->fd);
}

uint64_t heap_recording_get(const heap_recording *recording, uint64_t address)
{
    uint64_t value = 0;
    session_must(pread(recording->fd, &value, sizeof value, (off_t)address) >= 0, "a read");
    return value;
}

void heap_recording_set(const heap_recording *recording, uint64_t address, uint64_t value)
{
    session_must(pwrite(recording->fd, &value, sizeof value, (off_t)address) == sizeof value,
                 "a write");
}

static void note(int *result, int next)
{
    if (*result == ONLOOKER_OK)
        *result = next;
}

heap *heap_recording_walk(const heap_recording *recording, const heap_layout *layout,
                          uint32_t ranges, bool has_graph, graph *graph, int *result)
{
    volatile int32_t stop = 0;
    volatile uint64_t done = 0;
    *result = ONLOOKER_OK;
    heap *heap = heap_new(layout, &(heap_options){.fd = recording->fd,
                                                  .graph = has_graph,
                                                  .paired = recording->paired,
                                                  .type_type = recording->type_type,
                                                  .cache_bytes = CACHE_BYTES,
                                                  .ranges = recording->ranges,
                                                  .range_count = ranges});
    if (!heap)
        return NULL;
    for (uint64_t i = 0; i < recording->head_count; i++)
        note(result, heap_add_list(heap, recording->heads[i]));
    for (uint64_t i = 0; i < recording->module_count; i++)
        heap_add_module(heap, recording->modules[i], ONLOOKER_HELD_ROOTS + (uint32_t)i, 0);
    note(result, heap_walk(heap, &stop, &done));
    for (uint32_t i = 0; i < ranges; i++)
        if (recording->ranges[i].image)
            heap_scan(heap, recording->ranges[i].start, recording->ranges[i].end,
                      ONLOOKER_HELD_ROOTS + 9999, 3);
    note(result, heap_walk(heap, &stop, &done));
    if (has_graph)
        note(result, heap_make_graph(heap, graph));
    return heap;
}

static void check_graph(heap *heap, const graph *graph, uint64_t bytes)
{
    uint64_t sum = 0;
    for (uint32_t node = 1; node < graph->nodes; node++) {
        uint32_t own = graph->bytes[node];
        sum += own & ONLOOKER_BYTES_LARGE ? graph->large_bytes[own & ~ONLOOKER_BYTES_LARGE] : own;
        session_must(heap_node_at(heap, heap_address_of(heap, node)) == node, "a node's address");
    }
    session_must(sum == bytes, "the sizes of nodes");
    for (uint32_t edge = 0; edge < graph->edges; edge++) {
        uint32_t label = graph->labels[edge] & ~ONLOOKER_EDGE_BORROWED;
        session_must(graph->targets[edge] && graph->targets[edge] < graph->nodes, "a target");
        session_must(label >= ONLOOKER_HELD_ROOTS || label < ONLOOKER_HELD_NAMES ||
                         label - ONLOOKER_HELD_NAMES < heap_name_count(heap),
                     "a label");
    }
    owners *owners = NULL;
    session_must(owners_find(graph, NULL, &owners) == ONLOOKER_OK, "the graph is none");
    owners_free(owners);
}

void heap_recording_check(heap *heap, const graph *graph)
{
    heap_totals totals;
    heap_get_totals(heap, &totals);
    uint32_t count = heap_type_count(heap);
    heap_type *types = malloc((count + 1) * sizeof *types);
    session_must(types != NULL, "out of memory");
    heap_get_types(heap, types);
    uint64_t objects = 0, bytes = 0;
    for (uint32_t i = 0; i < count; i++) {
        objects += types[i].objects + types[i].held_objects;
        bytes += types[i].bytes + types[i].held_bytes;
    }
    free(types);
    session_must(objects == totals.objects && bytes == totals.bytes, "the sums of types");
    session_must(bytes == totals.pymalloc_bytes + totals.malloc_bytes + totals.unsized_bytes,
                 "the sums of blocks");
    /* What is counted is there: but for the slack of the last of all blocks. */
    session_must(bytes <= heap->space.mapped_bytes + 2 * PAGE_SIZE, "more than there is");
    if (graph)
        check_graph(heap, graph, bytes);
}
