#include "look.h"

#include <stdlib.h>

/* How many times as long as a swift one a read may take. */
#define SWIFT_FACTOR 2.0

#define PACE_STEP (1.0 / 32)

/* Pieces of frames between two readings of the pointer to the current frame. A stack that changed
 * and changed back while it was read has shown the same pointer every time; the more often it is
 * asked for, the less likely. */
#define PIECES_BETWEEN_POINTERS 6u

static void piece(walker *walker, uint32_t *pieces, uint64_t address, void *out, size_t length)
{
    walker->local[*pieces] = (struct iovec){out, length};
    walker->remote[*pieces] = (struct iovec){(void *)(uintptr_t)address, length};
    ++*pieces;
}

static void pieces_of_pointer(walker *walker, const walk *walk, uint32_t *pieces)
{
    const layout *layout = walker->layout;
    current *out = &walker->pointers[walker->pointer_count++];
    if (layout->thread_cframe == ONLOOKER_NONE) {
        out->cframe = 0;
        piece(walker, pieces, walk->tstate + (uint32_t)layout->thread_current_frame, &out->frame,
              8);
        return;
    }
    piece(walker, pieces, walk->tstate + (uint32_t)layout->thread_cframe, &out->cframe, 8);
    piece(walker, pieces, walk->cframe + (uint32_t)layout->cframe_current_frame, &out->frame, 8);
}

static void pieces_of_frames(walker *walker, const walk *walk, uint32_t *pieces,
                             unsigned char *copy)
{
    for (uint32_t first = 0; first < walk->frames.count; first += PIECES_BETWEEN_POINTERS) {
        *pieces += ranges_vector(&walk->frames, first, PIECES_BETWEEN_POINTERS, copy,
                                 walker->local + *pieces, walker->remote + *pieces);
        pieces_of_pointer(walker, walk, pieces);
    }
}

static void pieces_of_context(walker *walker, const walk *walk, uint32_t *pieces,
                              unsigned char *copy)
{
    const ranges *context = &walk->context.pieces;
    *pieces += ranges_vector(context, 0, context->count, copy, walker->local + *pieces,
                             walker->remote + *pieces);
}

static bool reserve(unsigned char **buffer, uint32_t *capacity, uint32_t size)
{
    if (size <= *capacity)
        return true;
    unsigned char *grown = realloc(*buffer, size * 2u);
    if (!grown)
        return false;
    *buffer = grown;
    *capacity = size * 2u;
    return true;
}

static bool reserve_copies(walker *walker, const walk *walk)
{
    uint32_t capacity = walker->frames_capacity, context_capacity = walker->context_capacity;
    if (!reserve(&walker->first, &capacity, walk->frames.bytes) ||
        !reserve(&walker->second, &walker->frames_capacity, walk->frames.bytes) ||
        !reserve(&walker->checked, &walker->checked_capacity, walk->codes.bytes) ||
        !reserve(&walker->context_first, &context_capacity, walk->context.pieces.bytes) ||
        !reserve(&walker->context_second, &walker->context_capacity, walk->context.pieces.bytes))
        return false;
    uint32_t pointers = 2 * (walk->frames.count / PIECES_BETWEEN_POINTERS + 1) + 1;
    uint32_t pieces = 2 * (walk->frames.count + pointers) + walk->codes.count +
                      2 * walk->context.pieces.count + 1 + walker->also_count;
    if (pieces <= walker->pieces_capacity)
        return true;
    struct iovec *local = realloc(walker->local, 2 * pieces * sizeof *local);
    if (local)
        walker->local = local;
    struct iovec *remote = realloc(walker->remote, 2 * pieces * sizeof *remote);
    if (remote)
        walker->remote = remote;
    current *grown = realloc(walker->pointers, 2 * pieces * sizeof *grown);
    if (grown)
        walker->pointers = grown;
    if (!local || !remote || !grown)
        return false;
    walker->pieces_capacity = 2 * pieces;
    return true;
}

/* The proof that a stack stood still between two readings is that nothing of it has changed, and
 * that there was no time to change it and change it back. So a read that took much longer than
 * such reads do, because something else had our CPU in the middle of it, proves nothing. */
static bool was_swift(walker *walker, uint32_t pieces, uint32_t bytes, uint64_t took_ns)
{
    double expected_ns = 500.0 + 150.0 * pieces + bytes / 8.0;
    double ratio = (double)took_ns / expected_ns;
    if (!walker->pace)
        walker->pace = ratio;
    bool swift = ratio <= SWIFT_FACTOR * walker->pace;
    /* Slow machines are slow always, so this is learnt: what a fifth of all reads keep within. */
    walker->pace *= ratio < walker->pace ? 1 - PACE_STEP : 1 + PACE_STEP / 4;
    return swift;
}

static bool pointers_agree(const walker *walker)
{
    for (uint32_t i = 1; i < walker->pointer_count; i++)
        if (walker->pointers[i].cframe != walker->pointers[0].cframe ||
            walker->pointers[i].frame != walker->pointers[0].frame)
            return false;
    return true;
}

int look(walker *walker, walk *walk, bool stopped, uint64_t *frame, uint64_t *generation)
{
    uint32_t pieces = 0;
    if (!reserve_copies(walker, walk))
        return ONLOOKER_NO_MEMORY;
    walker->pointer_count = 0;
    pieces_of_pointer(walker, walk, &pieces);
    pieces_of_context(walker, walk, &pieces, walker->context_first);
    pieces_of_frames(walker, walk, &pieces, walker->first);
    if (!stopped) {
        pieces_of_frames(walker, walk, &pieces, walker->second);
        pieces_of_context(walker, walk, &pieces, walker->context_second);
    }
    /* The frames hold their code objects until the last pointer was read. That one of them was
     * freed and another made in its place since takes longer than the rest of a swift read; where
     * frees are counted, the count comes last, so that it covers all. */
    pieces += ranges_vector(&walk->codes, 0, walk->codes.count, walker->checked,
                            walker->local + pieces, walker->remote + pieces);
    *generation = 0;
    if (walk->generation_at)
        piece(walker, &pieces, walk->generation_at, generation, 8);
    for (uint32_t i = 0; i < walker->also_count; i++, pieces++) {
        walker->local[pieces] = walker->also_local[i];
        walker->remote[pieces] = walker->also_remote[i];
    }
    uint64_t start_ns = monotonic_ns();
    int result = memory_readv(walker->source, walker->local, walker->remote, pieces);
    walker->also_read |= result == ONLOOKER_OK && walker->also_count;
    walker->also_count = 0;
    if (result != ONLOOKER_OK)
        return result;
    bool swift = stopped || was_swift(walker, pieces,
                                      2 * (walk->frames.bytes + walk->context.pieces.bytes) +
                                          walk->codes.bytes,
                                      monotonic_ns() - start_ns);
    if (walk->generation_at)
        *generation += hash_u64(walk->generation_at); /* interpreters count for themselves */
    if (walker->pointers[0].cframe != walk->cframe) {
        walk->cframe = walker->pointers[0].cframe;
        return WALK_AGAIN;
    }
    *frame = walker->pointers[0].frame;
    /* A _PyCFrame on the C stack is made before it is filled in; the one in the thread state is the
     * root's, which has no frame outside of Python functions. */
    if (!*frame && walk->cframe && walk->cframe - walk->tstate >= PAGE_SIZE)
        return WALK_TORN;
    /* That we were held up says nothing about the stack. */
    return !swift ? WALK_AGAIN : pointers_agree(walker) ? ONLOOKER_OK : WALK_TORN;
}
