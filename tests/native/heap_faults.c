/* heap_faults.c: lets every allocation, and every so many reads, of a heap's walk fail in turn.
 *
 *     heap_faults RECORDING reads|allocations alone|paired
 *
 * Linked with --wrap for malloc, calloc, realloc, mmap and pread. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "allocations.h"
#include "heap_recording.h"
#include "session.h"

/* So many walks with a read that fails. */
#define READ_CASES 12u

static heap_recording recording;

/* Until one fails; 0: none does. */
static uint64_t reads_left;
static uint64_t reads;

ssize_t __real_pread(int fd, void *out, size_t length, off_t offset);
ssize_t __wrap_pread(int fd, void *out, size_t length, off_t offset);

ssize_t __wrap_pread(int fd, void *out, size_t length, off_t offset)
{
    __atomic_fetch_add(&reads, 1, __ATOMIC_RELAXED);
    if (!count_down(&reads_left))
        return __real_pread(fd, out, length, offset);
    errno = EIO;
    return -1;
}

void *__real_mmap(void *at, size_t bytes, int protection, int flags, int fd, off_t offset);
void *__wrap_mmap(void *at, size_t bytes, int protection, int flags, int fd, off_t offset);

/* Large arrays have mappings. */
void *__wrap_mmap(void *at, size_t bytes, int protection, int flags, int fd, off_t offset)
{
    return count_down(&allocations_left) ? MAP_FAILED
                                         : __real_mmap(at, bytes, protection, flags, fd, offset);
}

static heap *walk(int *result)
{
    graph graph;
    heap *heap = heap_recording_walk(&recording, &recording.layout, (uint32_t)recording.range_count,
                                     true, &graph, result);
    if (heap && *result != ONLOOKER_NO_MEMORY)
        heap_recording_check(heap, *result == ONLOOKER_OK ? &graph : NULL);
    return heap;
}

/* Allocation number INDEX, counted from 1, fails. False when there are not so many. */
static bool fail_allocation(uint64_t index)
{
    int result;
    graph graph;
    allocations_left = index;
    heap *heap = heap_recording_walk(&recording, &recording.layout, (uint32_t)recording.range_count,
                                     true, &graph, &result);
    bool failed = !allocations_left;
    allocations_left = 0;
    session_must(heap || failed, "there is no heap");
    /* Two threads can be one too few. */
    session_must(!heap || result == (failed ? ONLOOKER_NO_MEMORY : ONLOOKER_OK) ||
                     (recording.paired && result == ONLOOKER_OK),
                 "a failed allocation is not told");
    heap_free(heap);
    return failed;
}

static uint64_t fail_reads(void)
{
    int result;
    heap_free(walk(&result));
    uint64_t all = reads;
    for (uint64_t i = 0; i < READ_CASES; i++) {
        reads_left = 1 + all * i / READ_CASES;
        heap_free(walk(&result));
        session_must(result == ONLOOKER_OK || result == ONLOOKER_FAULT, "a walk with a fault");
    }
    return READ_CASES;
}

int main(int argc, char **argv)
{
    if (argc != 4)
        return 2;
    heap_recording_load(&recording, argv[1]);
    recording.paired = !strcmp(argv[3], "paired");
    uint64_t cases =
        strcmp(argv[2], "reads") ? allocations_fail_each(fail_allocation) : fail_reads();
    printf("%llu\n", (unsigned long long)cases);
    heap_recording_free(&recording);
    return 0;
}
