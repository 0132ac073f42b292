/* awaits.h: what suspended coroutines wait for: from a coroutine to the frame in which its waiting
 * ends. */
#ifndef ONLOOKER_AWAITS_H
#define ONLOOKER_AWAITS_H

#include "codes.h"
#include "objects.h"
#include "stacks.h"

/* A coroutine, what it awaits, and so on. If any of it executes, the frames end there. */
typedef struct chain {
    uint32_t stack; /* the leaf's node */
    uint32_t frames;
    uint32_t first_frame; /* their addresses: so many from `first_frame` on */
    uint32_t entry;       /* the code of its first frame; ONLOOKER_CODE_NO_FRAME if there is none */
    bool created;         /* the coroutine has not run yet */
    bool executing;
} chain;

typedef struct awaits {
    objects *objects;
    codes codes;
    stacks stacks;
    ranges checked; /* what tells a code object from others, and its bytes */
    unsigned char *copy;
    uint32_t copy_capacity;
    uint64_t *frames; /* addresses of the frames of all chains, roots first */
    uint32_t frame_count, frame_capacity;
} awaits;

/* False when memory runs out or the layouts make no sense. */
bool awaits_init(awaits *awaits, objects *objects, const layout *codes, uint64_t code_type);
void awaits_free(awaits *awaits);

/* Follows a coroutine or generator to the innermost thing that it awaits. Anything else has an
 * empty chain. False if it can't be read. */
bool awaits_follow(awaits *awaits, uint64_t address, chain *out);

#endif
