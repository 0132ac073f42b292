#include "heap.h"

/* glibc's chunks (malloc/malloc.c): two words, the second of which is the chunk's size and tells
 * whether the chunk before is in use; the next chunk follows. What free lists for small sizes
 * (tcache, fastbins) have counts as in use, there as here. */
#define CHUNK_PREV_INUSE 1u
#define CHUNK_FLAGS 7u
#define CHUNK_LEAST 16u /* of a fence at an arena's end */

/* Threads' arenas (malloc/arena.c) lie at multiples of this, behind a struct heap_info: where the
 * arena is, the heap before, and how many bytes are in use. The struct malloc_state that comes
 * first differs in size. */
#define HEAP_MAX_SIZE (UINT64_C(64) << 20)
#define HEAP_INFO_MOST 256u
#define MALLOC_STATE_LEAST 2048u
#define MALLOC_STATE_MOST 4096u
#define ALIGNMENT 16u

/* A piece of the target's memory: the heap keeps none when its graph is made. */
typedef struct piece {
    uint64_t start, length;
    unsigned char bytes[1 << 16];
} piece;

static bool word_in(heap *heap, piece *piece, uint64_t at, uint64_t end, uint64_t *out)
{
    if (at - piece->start + 8 > piece->length || at < piece->start) {
        piece->start = at;
        piece->length = end - at < sizeof piece->bytes ? end - at : sizeof piece->bytes;
        if (!space_peek(&heap->space, at, piece->bytes, piece->length)) {
            piece->length = 0;
            return false;
        }
    }
    *out = load_u64(piece->bytes, (int32_t)(at - piece->start));
    return true;
}

/* The chunks from START on. False if there aren't such that lead to END exactly. */
static bool read_chunks(heap *heap, piece *piece, uint64_t start, uint64_t end, heap_arena *out)
{
    uint64_t at = start, before = 0, free = 0, word;
    while (at < end) {
        if (end - at < CHUNK_LEAST || !word_in(heap, piece, at + 8, end, &word))
            return false;
        uint64_t size = word & ~(uint64_t)CHUNK_FLAGS;
        if (size < CHUNK_LEAST || size % ALIGNMENT || size > end - at)
            return false;
        if (!(word & CHUNK_PREV_INUSE))
            free += before;
        before = size;
        at += size;
    }
    free += before; /* the last one is what no block was made of yet */
    *out = (heap_arena){.used = end - start - free, .free = free};
    return at == end;
}

heap_arena heap_get_arena(heap *heap, uint64_t start, uint64_t end)
{
    static const heap_arena none;
    uint64_t info[3];
    piece piece = {0};
    heap_arena arena;
    if (start % HEAP_MAX_SIZE) /* the first arena, whose state is a static variable */
        return read_chunks(heap, &piece, start, end, &arena) ? arena : none;
    if (!space_peek(&heap->space, start, info, sizeof info) || info[0] - start > HEAP_INFO_MOST ||
        info[2] > end - start)
        return none;
    for (uint64_t skip = MALLOC_STATE_LEAST; skip < MALLOC_STATE_MOST; skip += ALIGNMENT)
        if (read_chunks(heap, &piece, info[0] + skip, start + info[2], &arena))
            return arena;
    return none;
}
