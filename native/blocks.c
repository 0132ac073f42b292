#include "heap.h"

#include <stdlib.h>

/* pymalloc's pools, the same in 3.8 to 3.15 (Objects/obmalloc.c, pycore_obmalloc.h): a header, then
 * blocks of one size of 32. */
#define POOL_COUNT 0u
#define POOL_SZIDX 36u
#define POOL_NEXTOFFSET 40u /* of what no block was made of yet */
#define POOL_MAXNEXTOFFSET 44u
#define POOL_HEADER_BYTES 48u
#define SIZE_CLASSES 32u
#define ALIGNMENT 16u

/* glibc's chunks: the word before a block is the chunk's size, with three flags. */
#define CHUNK_MMAPPED 2u
#define CHUNK_FLAGS 7u
#define CHUNK_SLACK 64u /* what a chunk may have beyond what was asked for */
#define PAGE_SLACK (PAGE_SIZE + 16u)

/* The size of blocks in the pool with this header, 0 if it is none. No list of arenas is needed for
 * it, which stripped builds before 3.12 don't tell: what a pool's header has to be leaves no room
 * for chance. */
static uint64_t pool_block_size(const heap *heap, const unsigned char header[POOL_HEADER_BYTES])
{
    uint64_t size = (load_u32(header, POOL_SZIDX) + UINT64_C(1)) * ALIGNMENT;
    return size <= SIZE_CLASSES * ALIGNMENT &&
                   load_u32(header, POOL_MAXNEXTOFFSET) == (uint32_t)heap->layout.pool_size - size
               ? size
               : 0;
}

/* Where pools lie among all that there may be. */
static uint64_t place_of(const heap *heap, uint64_t unit)
{
    return unit * UNIT_BYTES / (uint32_t)heap->layout.pool_size;
}

bool blocks_init(heap *heap)
{
    heap->pooled = calloc(heap->space.count + 1, sizeof *heap->pooled);
    if (!heap->seen_pools)
        heap->seen_pools = calloc(place_of(heap, heap->space.units) / 64 + 1, sizeof(uint64_t));
    return heap->pooled && heap->seen_pools;
}

void blocks_free(heap *heap)
{
    free(heap->pooled);
    free(heap->seen_pools);
}

/* Counts a pool, once, and returns the size of its blocks. */
static uint64_t see_pool(heap *heap, uint64_t at, const unsigned char header[POOL_HEADER_BYTES])
{
    uint64_t pool_size = (uint32_t)heap->layout.pool_size;
    uint64_t size = pool_block_size(heap, header), count = load_u32(header, POOL_COUNT);
    if (!size || count > pool_size / size || !space_has(&heap->space, at, pool_size))
        return size;
    uint64_t begun = PAGE_OF(load_u32(header, POOL_NEXTOFFSET) + (PAGE_SIZE - UINT64_C(1)));
    heap_pools *pools = &heap->pooled[space_range(&heap->space, at) - heap->space.ranges].pools;
    uint64_t place = place_of(heap, space_unit(&heap->space, at));
    if (!bit_claim(heap->seen_pools, place))
        return size;
    pools->pools++;
    pools->bytes += begun < pool_size ? begun : pool_size;
    pools->used_blocks += count;
    pools->used_bytes += count * size;
    return size;
}

static void find_pool(heap *heap, uint64_t at, pool *pool)
{
    unsigned char header[POOL_HEADER_BYTES];
    *pool = (struct pool){.at = at};
    if (space_copy(&heap->space, at, header, sizeof header) &&
        (pool->block_size = see_pool(heap, at, header)))
        pool->inverse = UINT64_MAX / pool->block_size + 1;
}

/* Where the pool begins that a block may be in. */
static uint64_t pool_start(const heap *heap, uint64_t block)
{
    return block & -(uint64_t)(uint32_t)heap->layout.pool_size;
}

/* Where that pool is remembered, or another. */
static pool *pool_of(heap *heap, uint64_t block)
{
    return &heap->pools[(pool_start(heap, block) >> 12) * 0x9E3779B97F4A7C15u >> (64 - POOLS_BITS)];
}

/* Whether one of a pool's blocks begins there. */
static bool is_block(const heap *heap, const pool *pool, uint64_t block)
{
    /* Whether a number is a multiple, without a division (Lemire, Kaser and Kurz: Faster remainder
     * by direct computation, 2019). */
    uint64_t offset = block - pool->at;
    return pool->block_size && pool->at == pool_start(heap, block) && offset >= POOL_HEADER_BYTES &&
           (offset - POOL_HEADER_BYTES) * pool->inverse < pool->inverse;
}

/* The size of pymalloc's blocks at this address, 0 if it isn't one's. */
static uint64_t pymalloc_size(heap *heap, uint64_t block)
{
    pool *pool = pool_of(heap, block);
    if (pool->at != pool_start(heap, block))
        find_pool(heap, pool_start(heap, block), pool);
    return is_block(heap, pool, block) ? pool->block_size : 0;
}

static void add_pools(heap_pools *sum, const heap_pools *pools)
{
    sum->pools += pools->pools;
    sum->bytes += pools->bytes;
    sum->used_blocks += pools->used_blocks;
    sum->used_bytes += pools->used_bytes;
}

void blocks_merge(heap *heap, const struct heap *helper)
{
    for (uint32_t i = 0; i < heap->space.count; i++) {
        heap->pooled[i].found |= helper->pooled[i].found;
        add_pools(&heap->pooled[i].pools, &helper->pooled[i].pools);
    }
}

void heap_get_pools(heap *heap, heap_pools *out)
{
    uint64_t pool_size = (uint32_t)heap->layout.pool_size;
    *out = (heap_pools){0};
    for (uint32_t i = 0; i < heap->space.count; i++) {
        const range *range = &heap->space.ranges[i];
        const heap_pools *pools = &heap->pooled[i].pools;
        if (!heap->pooled[i].found)
            continue;
        uint64_t at = (range->start + pool_size - 1) & ~(pool_size - 1);
        for (; at + pool_size <= range->end; at += pool_size) {
            unsigned char header[POOL_HEADER_BYTES];
            uint64_t place = place_of(heap, space_unit(&heap->space, at));
            /* It can't be read if it is a guard page, or the process has ended. */
            if (!bit_get(heap->seen_pools, place) &&
                space_peek(&heap->space, at, header, sizeof header))
                see_pool(heap, at, header);
        }
        add_pools(out, pools);
    }
}

/* What malloc_usable_size says of a block, 0 if glibc hasn't allocated it for REQUESTED bytes.
 * *MAPPED: it has a mapping of its own. */
static uint64_t malloc_size(heap *heap, uint64_t block, uint64_t requested, bool *mapped)
{
    uint64_t word;
    if (block % ALIGNMENT || !space_word(&heap->space, block - 8, &word))
        return 0;
    uint64_t chunk = word & ~(uint64_t)CHUNK_FLAGS;
    *mapped = word & CHUNK_MMAPPED;
    uint64_t usable = chunk - (*mapped ? 16 : 8);
    return chunk >= 32 && usable >= requested &&
                   usable - requested <= (*mapped ? PAGE_SLACK : CHUNK_SLACK)
               ? usable
               : 0;
}

const heap_block *heap_mapped_blocks(const heap *heap, uint64_t *count)
{
    *count = heap->mapped.count;
    return heap->mapped.items;
}

/* A block that is in no pool that blocks were in before. */
static void hold_other(heap *heap, uint64_t block, uint64_t requested)
{
    const range *range = space_range(&heap->space, block);
    if (!requested || (range && range->image))
        return;
    /* Blocks don't overlap: all of them can't be more than the memory that they are in. */
    if (!range || requested > range->limit - block || requested > heap->unheld) {
        heap->broken = true;
        return;
    }
    bool mapped;
    uint64_t size = pymalloc_size(heap, block);
    if (size >= requested) {
        pool_of(heap, block)->used = true;
        heap->pooled[range - heap->space.ranges].found = true;
        heap->totals.pymalloc_blocks++;
        heap->totals.pymalloc_bytes += size;
    } else if ((size = malloc_size(heap, block, requested, &mapped))) {
        heap->totals.malloc_bytes += size;
        heap_block *added = mapped ? series_add(heap, &heap->mapped, sizeof *added) : NULL;
        if (added)
            *added = (heap_block){block, size};
    } else {
        size = requested;
        heap->totals.unsized_bytes += size;
    }
    heap->unheld -= size < heap->unheld ? size : heap->unheld;
    heap->object_bytes += size;
}

void heap_hold(heap *heap, uint64_t block, uint64_t requested)
{
    const pool *pool = pool_of(heap, block);
    uint64_t size = pool->block_size;
    if (!pool->used || !is_block(heap, pool, block) || requested - 1 >= size ||
        size > heap->unheld) {
        hold_other(heap, block, requested);
        return;
    }
    heap->totals.pymalloc_blocks++;
    heap->totals.pymalloc_bytes += size;
    heap->unheld -= size;
    heap->object_bytes += size;
}
