#include "arrays.h"

#include <malloc.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>

/* A huge page. Large arrays consist of such, and begin on one's boundary, so that the kernel can
 * move them as a whole. */
#define CHUNK ((size_t)2 << 20)

#define KEPT_LIMIT 256u /* regions */

/* Before the items, which stay aligned to a line of the cache. */
typedef union header {
    struct {
        size_t bytes; /* of all */
        bool mapped;  /* by us, in whole chunks; or by malloc */
    };
    unsigned char line[64];
} header;

typedef struct region {
    unsigned char *at;
    size_t bytes;
} region;

/* What was freed. */
static struct {
    pthread_mutex_t lock;
    region regions[KEPT_LIMIT];
    uint32_t count;
} kept = {.lock = PTHREAD_MUTEX_INITIALIZER};

static header *header_of(void *items)
{
    return (header *)items - 1;
}

static void keep(region region)
{
    pthread_mutex_lock(&kept.lock);
    if (kept.count < KEPT_LIMIT)
        kept.regions[kept.count++] = region;
    else
        munmap(region.at, region.bytes);
    pthread_mutex_unlock(&kept.lock);
}

/* Address space with pages that were never touched; NULL: no memory. The last chunk gets small
 * ones, for much of it may never be. */
static unsigned char *map(size_t bytes)
{
    unsigned char *all =
        mmap(NULL, bytes + CHUNK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (all == MAP_FAILED)
        return NULL;
    size_t before = -(uintptr_t)all % CHUNK;
    if (before)
        munmap(all, before);
    if (CHUNK - before)
        munmap(all + before + bytes, CHUNK - before);
    madvise(all + before, bytes - CHUNK, MADV_HUGEPAGE);
    return all + before;
}

/* Moves a chunk's pages to where there is a chunk that was never touched. False: no memory. */
static bool move(unsigned char *from, unsigned char *to)
{
    if (mremap(from, CHUNK, CHUNK, MREMAP_MAYMOVE | MREMAP_FIXED, to) != MAP_FAILED)
        return true;
    /* There may be too many mappings, and none at the new place any more. */
    if (mmap(to, CHUNK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) ==
        MAP_FAILED)
        return false;
    memcpy(to, from, CHUNK);
    munmap(from, CHUNK);
    return true;
}

/* Puts freed pages where none were touched yet, from *AT on as far as they go, but for the last
 * chunk; *AT is how far. One region may be several mappings, none of which ends within a chunk.
 * False: no memory. */
static bool reuse(unsigned char *region, size_t *at, size_t bytes)
{
    bool good = true;
    pthread_mutex_lock(&kept.lock);
    while (kept.count && *at + CHUNK < bytes && good) {
        struct region *last = &kept.regions[kept.count - 1];
        last->bytes -= CHUNK;
        good = move(last->at + last->bytes, region + *at);
        *at += CHUNK;
        if (!last->bytes)
            kept.count--;
    }
    pthread_mutex_unlock(&kept.lock);
    return good;
}

static size_t whole_chunks(size_t bytes)
{
    return (bytes + CHUNK - 1) / CHUNK * CHUNK;
}

/* What the items and the header take; 0: more than there can be. */
static size_t bytes_for(uint64_t count, size_t item_size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, item_size, &bytes) || bytes > SIZE_MAX / 4)
        return 0;
    bytes += sizeof(header);
    return bytes < CHUNK ? bytes : whole_chunks(bytes);
}

/* A region to which the chunks of an old one are moved, if there is one. *USED: as far as it has
 * pages that were in use. NULL: no memory, and the old one is lost. */
static header *map_array(header *old, size_t bytes, size_t *used)
{
    unsigned char *new = map(bytes);
    if (!new)
        return NULL;
    bool good = true;
    *used = old ? old->bytes : 0;
    /* The first one last: it says how large the array is. */
    for (size_t at = *used; at > 0 && good; at -= CHUNK)
        good = move((unsigned char *)old + at - CHUNK, new + at - CHUNK);
    if (good && reuse(new, used, bytes))
        return (header *)new;
    munmap(new, bytes);
    return NULL;
}

static void *set_up(header *new, size_t bytes, bool mapped)
{
    if (!new)
        return NULL;
    new->bytes = bytes;
    new->mapped = mapped;
    return new + 1;
}

void *array_new(uint64_t count, size_t item_size)
{
    size_t bytes = bytes_for(count, item_size), used;
    if (bytes < CHUNK)
        return set_up(bytes ? calloc(1, bytes) : NULL, bytes, false);
    header *new = map_array(NULL, bytes, &used);
    if (new)
        memset(new, 0, used);
    return set_up(new, bytes, true);
}

void *array_grow(void *items, uint64_t count, size_t item_size)
{
    size_t bytes = bytes_for(count, item_size);
    header *old = items ? header_of(items) : NULL;
    size_t used;
    if (!bytes || (old && bytes <= old->bytes))
        return bytes ? items : NULL;
    if (bytes < CHUNK)
        return set_up(realloc(old, bytes), bytes, false);
    bool moves = old && old->mapped;
    header *new = map_array(moves ? old : NULL, bytes, &used);
    if (new && old && !moves) {
        memcpy(new, old, old->bytes);
        free(old);
    }
    return set_up(new, bytes, true);
}

void array_trim(void *items, uint64_t count, size_t item_size)
{
    header *array = items ? header_of(items) : NULL;
    size_t bytes = bytes_for(count, item_size);
    if (!array || !array->mapped || bytes >= array->bytes)
        return;
    if (bytes < CHUNK)
        bytes = CHUNK;
    munmap((unsigned char *)array + bytes, array->bytes - bytes);
    array->bytes = bytes;
}

void array_free(void *items)
{
    header *old = items ? header_of(items) : NULL;
    if (old && old->mapped)
        keep((region){(unsigned char *)old, old->bytes});
    else
        free(old);
}

void arrays_release(size_t wanted)
{
    uint32_t count = 0;
    pthread_mutex_lock(&kept.lock);
    for (uint32_t i = 0; i < kept.count; i++) {
        region *region = &kept.regions[i];
        size_t rest = region->bytes < wanted ? region->bytes : whole_chunks(wanted);
        if (rest < region->bytes)
            munmap(region->at + rest, region->bytes - rest);
        region->bytes = rest;
        wanted -= rest < wanted ? rest : wanted;
        if (rest)
            kept.regions[count++] = *region;
    }
    kept.count = count;
    pthread_mutex_unlock(&kept.lock);
#ifdef __GLIBC__
    malloc_trim(0); /* of arrays that are not that large */
#endif
}
