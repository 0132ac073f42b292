/* moment.h: a target's memory as it was at one moment, or else the knowledge that it was not.
 *
 * Small reads are cut out of blocks, each of which is read once. Of memory that is still, that is
 * all. Of other memory, pieces are remembered from moment_begin on, and moment_holds tells whether
 * they all were true at one moment. Finding the same twice would prove little if there was time
 * enough to change and to change back. */
#ifndef ONLOOKER_MOMENT_H
#define ONLOOKER_MOMENT_H

#include "map.h"
#include "memory.h"

#define MOMENT_READ_LIMIT (1u << 24)

typedef struct block block;

typedef struct piece {
    uint64_t address;
    uint32_t length;
    uint32_t at;    /* of its copy */
    uint32_t again; /* of what is there later */
} piece;

/* How reads are made. */
enum moment_mode {
    MOMENT_BLOCKS, /* cut out of blocks */
    MOMENT_TRACED, /* likewise, and remembered */
    MOMENT_FRESH,  /* from the target, and remembered */
};

typedef struct moment {
    memory *source;
    enum moment_mode mode;
    int result; /* why nothing can be read any more: ONLOOKER_GONE, _DENIED, _NO_MEMORY; or _OK */
    map by_address; /* -> blocks */
    block **blocks;
    uint32_t block_count, block_capacity;
    const block *last; /* that was read from */
    map by_start;      /* address -> pieces */
    piece *pieces;
    uint32_t piece_count, piece_capacity;
    unsigned char *copies, *again;
    uint32_t copies_size, copies_capacity, again_capacity;
    uint32_t slow_calls; /* since the last that was quick enough on any machine */
    double quickest;     /* of these: its time, in what is quick enough */
    uint32_t effort;     /* made so far: a hostile target must not make it endless */
    struct iovec *vector;
    uint32_t vector_capacity;
} moment;

/* Copies what lies there. False if it can't be read: unlike a fault, `result` is final. */
bool moment_read(moment *moment, uint64_t address, void *out, uint32_t length);

static inline bool moment_word(moment *moment, uint64_t address, uint64_t *out)
{
    return moment_read(moment, address, out, sizeof *out);
}

/* Forgets the blocks: what is read from now on is read anew. */
void moment_forget(moment *moment);

/* From now on reads are made so; what was remembered is forgotten. */
void moment_begin(moment *moment, enum moment_mode mode);

/* Whether all that is remembered is still there, twice within microseconds. After that there is
 * moment_begin. */
bool moment_holds(moment *moment);

void moment_free(moment *moment);

#endif
