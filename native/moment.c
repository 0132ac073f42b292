#include "moment.h"

#include <stdlib.h>

#define BLOCK_BYTES 16384u
#define BLOCK_PAGES (BLOCK_BYTES / PAGE_SIZE)
#define BLOCKS_LIMIT (1u << 13) /* 128 MiB */
#define PIECES_LIMIT (1u << 20)
#define COPIES_LIMIT (1u << 26)
#define MERGE_GAP 1024u         /* bytes */
#define LOOK_BACK 8u            /* pieces among which one is looked for that has the bytes inside */
#define EFFORT_LIMIT (1u << 27) /* a copy of what is known is 1; seconds */
#define FETCH_EFFORT 32u
#define MAP_KEPT_SLOTS 4096u /* a larger map is not worth clearing */

/* What one call that reads many pieces takes: longer, and the target had time to come back to where
 * it was. */
#define CALL_NS 40000u
#define PIECE_NS 1000u
#define LONGEST_NS 400000u
#define HOLDS_ATTEMPTS 12u /* what takes longer is mostly that we lost our CPU */
/* Slow machines are slow always, and so are their targets: after this many calls without a quick
 * one, one is quick that takes little longer than the quickest of them. */
#define SLOW_CALLS 8u
#define SLOW_FACTOR 1.5
#define SLOWEST 64.0 /* times as long */

struct block {
    uint64_t address;
    uint32_t pages; /* a bit for each that can be read */
    unsigned char bytes[BLOCK_BYTES];
};

static bool make_effort(moment *moment, uint32_t effort)
{
    if (effort > EFFORT_LIMIT - moment->effort)
        return false;
    moment->effort += effort;
    return true;
}

/* Reads from the target; what ends all reading is remembered. */
static int fetch(moment *moment, uint64_t address, void *out, uint32_t length)
{
    if (!make_effort(moment, FETCH_EFFORT))
        return ONLOOKER_FAULT;
    int result = memory_read(moment->source, address, out, length);
    if (result != ONLOOKER_OK && result != ONLOOKER_FAULT)
        moment->result = result;
    return result;
}

void moment_forget(moment *moment)
{
    for (uint32_t i = 0; i < moment->block_count; i++)
        free(moment->blocks[i]);
    moment->block_count = 0;
    moment->last = NULL;
    map_clear(&moment->by_address);
}

static bool read_block(moment *moment, uint64_t address, block *out)
{
    out->address = address;
    out->pages = (1u << BLOCK_PAGES) - 1;
    if (fetch(moment, address, out->bytes, BLOCK_BYTES) == ONLOOKER_OK)
        return true;
    out->pages = 0;
    for (uint32_t i = 0; i < BLOCK_PAGES && moment->result == ONLOOKER_OK; i++)
        if (fetch(moment, address + i * PAGE_SIZE, out->bytes + i * PAGE_SIZE, PAGE_SIZE) ==
            ONLOOKER_OK)
            out->pages |= 1u << i;
    return moment->result == ONLOOKER_OK;
}

/* The block at ADDRESS, or NULL. */
static const block *block_at(moment *moment, uint64_t address)
{
    if (moment->last && moment->last->address == address)
        return moment->last;
    uint32_t index = map_get(&moment->by_address, address);
    if (index != MAP_ABSENT)
        return moment->last = moment->blocks[index];
    if (moment->block_count >= BLOCKS_LIMIT)
        moment_forget(moment);
    block *new = malloc(sizeof *new);
    if (!new || !array_reserve((void **)&moment->blocks, &moment->block_capacity,
                               moment->block_count, sizeof *moment->blocks, BLOCKS_LIMIT)) {
        moment->result = ONLOOKER_NO_MEMORY;
    } else if (read_block(moment, address, new)) {
        if (map_set(&moment->by_address, address, moment->block_count))
            return moment->last = moment->blocks[moment->block_count++] = new;
        moment->result = ONLOOKER_NO_MEMORY;
    }
    free(new);
    return NULL;
}

static bool read_blocks(moment *moment, uint64_t address, unsigned char *out, uint32_t length)
{
    while (length) {
        uint32_t at = address % BLOCK_BYTES;
        uint32_t step = BLOCK_BYTES - at < length ? BLOCK_BYTES - at : length;
        const block *block = block_at(moment, address - at);
        if (!block)
            return false;
        for (uint32_t page = at / PAGE_SIZE; page <= (at + step - 1) / PAGE_SIZE; page++)
            if (!(block->pages & 1u << page))
                return false;
        memcpy(out, block->bytes + at, step);
        out += step;
        address += step;
        length -= step;
    }
    return true;
}

static bool copy_from(const moment *moment, const piece *piece, uint64_t address, void *out,
                      uint32_t length)
{
    uint64_t offset = address - piece->address;
    if (address < piece->address || offset > piece->length || piece->length - offset < length)
        return false;
    memcpy(out, moment->copies + piece->at + offset, length);
    return true;
}

/* Copies from a piece that has the bytes: they are read once, so that they are the same each time.
 * Blocks see to that, too, and finding a piece that begins elsewhere takes longer than one more. */
static bool read_pieces(const moment *moment, uint64_t address, void *out, uint32_t length)
{
    uint32_t index = map_get(&moment->by_start, address);
    if (index != MAP_ABSENT && copy_from(moment, &moment->pieces[index], address, out, length))
        return true;
    uint32_t look_back = moment->mode == MOMENT_FRESH ? LOOK_BACK : 0;
    for (uint32_t i = 0; i < look_back && i < moment->piece_count; i++)
        if (copy_from(moment, &moment->pieces[moment->piece_count - 1 - i], address, out, length))
            return true;
    return false;
}

static bool grow_bytes(unsigned char **bytes, uint32_t *capacity, uint32_t size)
{
    if (size <= *capacity)
        return true;
    unsigned char *grown = realloc(*bytes, size + size / 2);
    if (!grown)
        return false;
    *bytes = grown;
    *capacity = size + size / 2;
    return true;
}

static bool remember(moment *moment, uint64_t address, const void *bytes, uint32_t length)
{
    if (length > COPIES_LIMIT - moment->copies_size || moment->piece_count >= PIECES_LIMIT)
        return false;
    if (!array_reserve((void **)&moment->pieces, &moment->piece_capacity, moment->piece_count,
                       sizeof *moment->pieces, PIECES_LIMIT) ||
        !grow_bytes(&moment->copies, &moment->copies_capacity, moment->copies_size + length) ||
        !map_set(&moment->by_start, address, moment->piece_count)) {
        moment->result = ONLOOKER_NO_MEMORY;
        return false;
    }
    moment->pieces[moment->piece_count++] = (piece){address, length, moment->copies_size, 0};
    memcpy(moment->copies + moment->copies_size, bytes, length);
    moment->copies_size += length;
    return true;
}

bool moment_read(moment *moment, uint64_t address, void *out, uint32_t length)
{
    if (!length)
        return true;
    if (moment->result != ONLOOKER_OK || length > MOMENT_READ_LIMIT || address < PAGE_SIZE ||
        address > INT64_MAX || !make_effort(moment, 1))
        return false;
    if (moment->mode == MOMENT_BLOCKS)
        return read_blocks(moment, address, out, length);
    if (read_pieces(moment, address, out, length))
        return true;
    return (moment->mode == MOMENT_TRACED ? read_blocks(moment, address, out, length)
                                          : fetch(moment, address, out, length) == ONLOOKER_OK) &&
           remember(moment, address, out, length);
}

void moment_begin(moment *moment, enum moment_mode mode)
{
    if (moment->by_start.slots > MAP_KEPT_SLOTS)
        map_free(&moment->by_start);
    else
        map_clear(&moment->by_start);
    moment->mode = mode;
    moment->piece_count = moment->copies_size = 0;
}

static int by_address(const void *left, const void *right)
{
    uint64_t one = ((const piece *)left)->address, other = ((const piece *)right)->address;
    return (one > other) - (one < other);
}

/* Whether what is between two neighbours is cheaper to copy along than to leave out: looking up a
 * page costs most. It must not be a page that may not be mapped. */
static bool joins(uint64_t end, uint64_t start)
{
    return start <= end ||
           (start - end <= MERGE_GAP && PAGE_OF(start) - PAGE_OF(end - 1) <= PAGE_SIZE);
}

/* Sorts the pieces, which no read finds any more then, and finds the spans of memory that they are
 * in, with room for as many again. False when memory runs out. */
static bool plan(moment *moment, uint32_t *spans, uint64_t *bytes)
{
    uint32_t count = moment->piece_count;
    uint64_t end = 0;
    if (!array_reserve((void **)&moment->vector, &moment->vector_capacity, 4 * count,
                       sizeof *moment->vector, UINT32_MAX))
        return false;
    struct iovec *remote = moment->vector + 2 * (size_t)count;
    qsort(moment->pieces, count, sizeof *moment->pieces, by_address);
    *spans = 0;
    *bytes = 0;
    for (uint32_t i = 0; i < count; i++) {
        piece *piece = &moment->pieces[i];
        uint64_t piece_end = piece->address + piece->length;
        if (!i || !joins(end, piece->address)) {
            remote[(*spans)++] = (struct iovec){(void *)(uintptr_t)piece->address, 0};
            end = piece->address;
        }
        struct iovec *span = &remote[*spans - 1];
        if (piece_end > end) {
            *bytes += piece_end - end;
            span->iov_len += piece_end - end;
            end = piece_end;
        }
        piece->again = (uint32_t)(*bytes - (end - piece->address));
    }
    return *bytes <= COPIES_LIMIT &&
           grow_bytes(&moment->again, &moment->again_capacity, (uint32_t)(2 * *bytes));
}

/* Whether both copies of BYTES bytes that were read again have what is remembered. */
static bool is_same(const moment *moment, uint64_t bytes)
{
    for (uint32_t i = 0; i < moment->piece_count; i++) {
        const piece *piece = &moment->pieces[i];
        const unsigned char *copy = moment->copies + piece->at, *now = moment->again + piece->again;
        if (memcmp(now, copy, piece->length) || memcmp(now + bytes, copy, piece->length))
            return false;
    }
    return true;
}

/* Whether a call that read SPANS was too short for the target to come back to where it was. */
static bool was_quick(moment *moment, uint32_t spans, uint64_t took_ns)
{
    uint64_t limit_ns = CALL_NS + UINT64_C(2) * PIECE_NS * spans;
    double ratio = (double)took_ns / (double)(limit_ns < LONGEST_NS ? limit_ns : LONGEST_NS);
    if (ratio < 1) {
        moment->slow_calls = 0;
        return true;
    }
    if (!moment->slow_calls++ || ratio < moment->quickest)
        moment->quickest = ratio;
    return moment->slow_calls > SLOW_CALLS && ratio < SLOWEST &&
           ratio <= SLOW_FACTOR * moment->quickest;
}

bool moment_holds(moment *moment)
{
    uint32_t spans;
    uint64_t bytes;
    if (moment->result != ONLOOKER_OK || !make_effort(moment, FETCH_EFFORT + moment->piece_count))
        return false;
    if (!moment->piece_count)
        return true; /* nothing that could have changed */
    if (!plan(moment, &spans, &bytes)) {
        moment->result = ONLOOKER_NO_MEMORY;
        return false;
    }
    struct iovec *local = moment->vector, *remote = local + 2 * (size_t)moment->piece_count;
    memcpy(remote + spans, remote, spans * sizeof *remote);
    for (uint32_t i = 0, at = 0; i < 2 * spans; at += (uint32_t)remote[i++].iov_len)
        local[i] = (struct iovec){moment->again + at, remote[i].iov_len};
    for (uint32_t i = 0; i < HOLDS_ATTEMPTS; i++) {
        uint64_t began_ns = monotonic_ns();
        int result = memory_readv(moment->source, local, remote, 2 * spans);
        uint64_t took_ns = monotonic_ns() - began_ns;
        if (result != ONLOOKER_OK && result != ONLOOKER_FAULT)
            moment->result = result;
        if (result != ONLOOKER_OK || !is_same(moment, bytes))
            return false;
        if (was_quick(moment, spans, took_ns))
            return true;
    }
    return false;
}

void moment_free(moment *moment)
{
    moment_forget(moment);
    map_free(&moment->by_address);
    map_free(&moment->by_start);
    free(moment->blocks);
    free(moment->pieces);
    free(moment->copies);
    free(moment->again);
    free(moment->vector);
}
