#include "walk.h"

#include <stdlib.h>
#include <string.h>

#define DEPTH_LIMIT (1u << 16)
#define FRAME_SIZE_LIMIT 512u

/* Bytes read beyond the innermost frame, for the calls that it makes until the next sample. */
#define SLACK 1024u

/* Samples after which the prediction is made anew, so that it forgets what is no longer used. */
#define PREDICTION_LIFE 64u

/* Frames are counted beyond the depth limit at most this far and this often. */
#define OMITTED_LIMIT 200000u
#define OMITTED_INTERVAL_NS 1000000000u

/* _PyInterpreterFrame.owner: 0 thread, 1 generator, 2 frame object; from 3 on it is the C stack's
 * or the interpreter's own frame, which belongs to no Python function (3.12+). */
#define OWNER_FUNCTION_LAST 2

/* f_executable is a tagged _PyStackRef from 3.14 on; code objects are 16-byte aligned anyway. */
#define TAG_BITS UINT64_C(7)

/* The three readings of the pointer to the current frame. */
typedef struct current {
    uint64_t cframe;
    uint64_t frame;
} current;

typedef struct sighting {
    current first, middle, last;
    uint64_t generation;
} sighting;

static uint32_t furthest(uint32_t size, int32_t offset, uint32_t width)
{
    uint32_t end = offset == ONLOOKER_NONE ? 0 : (uint32_t)offset + width;
    return end > size ? end : size;
}

bool walker_init(walker *walker, memory *source, const layout *layout, uint64_t code_type,
                 uint32_t depth, stacks *stacks)
{
    uint32_t size = furthest(0, layout->frame_previous, 8);
    size = furthest(size, layout->frame_executable, 8);
    size = furthest(size, layout->frame_instr, 8);
    size = furthest(size, layout->frame_owner, 1);
    walker->source = source;
    walker->layout = layout;
    walker->stacks = stacks;
    walker->depth = depth < 1 ? 1 : depth > DEPTH_LIMIT ? DEPTH_LIMIT : depth;
    walker->frame_size = size;
    walker->raw_limit = walker->depth * 2 + 64;
    walker->raw = malloc(walker->raw_limit * sizeof *walker->raw);
    return walker->raw && size <= FRAME_SIZE_LIMIT &&
           codes_init(&walker->codes, layout, code_type);
}

void walker_free(walker *walker)
{
    codes_free(&walker->codes);
    free(walker->raw);
    free(walker->first);
    free(walker->second);
    free(walker->checked);
    free(walker->local);
    free(walker->remote);
}

void walk_free(walk *walk)
{
    ranges_free(&walk->frames);
    ranges_free(&walk->codes);
    free(walk->last);
    free(walk->last_stacks);
}

static void forget_prediction(walk *walk)
{
    ranges_clear(&walk->frames);
    ranges_clear(&walk->codes);
    walk->cframe = 0;
}

static bool add_frame(const walker *walker, walk *walk, uint64_t frame, bool innermost)
{
    uint32_t length = walker->frame_size;
    if (innermost) {
        uint64_t to_page_end = PAGE_SIZE - ((frame + length) & (PAGE_SIZE - 1));
        length += to_page_end < SLACK ? (uint32_t)to_page_end : SLACK;
    }
    return ranges_add(&walk->frames, frame, length);
}

/* Whole pages, read one at a time for a walk that need not be consistent. */
typedef struct page_window {
    uint64_t start, end;
    unsigned char bytes[2 * PAGE_SIZE];
} page_window;

static int window_frame(const walker *walker, page_window *window, uint64_t frame,
                        const unsigned char **out)
{
    if (frame < window->start || frame + walker->frame_size > window->end) {
        uint64_t start = PAGE_OF(frame), end = PAGE_OF(frame + walker->frame_size - 1) + PAGE_SIZE;
        window->start = window->end = 0;
        if (frame < PAGE_SIZE || end < start)
            return ONLOOKER_FAULT;
        int result = memory_read(walker->source, start, window->bytes, end - start);
        if (result != ONLOOKER_OK)
            return result;
        window->start = start;
        window->end = end;
    }
    *out = window->bytes + (frame - window->start);
    return ONLOOKER_OK;
}

/* Completes the prediction from FRAME to the root, or to a frame that is already part of it. */
static int predict(const walker *walker, walk *walk, uint64_t frame, bool innermost)
{
    page_window window = {0};
    for (uint32_t steps = 0; frame && steps < walker->raw_limit; steps++) {
        const unsigned char *bytes;
        uint32_t hint = UINT32_MAX;
        if (steps && ranges_find(&walk->frames, frame, walker->frame_size, &hint) >= 0)
            break;
        int result = window_frame(walker, &window, frame, &bytes);
        if (result == ONLOOKER_FAULT || (result == ONLOOKER_OK &&
                                         !add_frame(walker, walk, frame, innermost && !steps))) {
            forget_prediction(walk);
            return WALK_TORN;
        }
        if (result != ONLOOKER_OK)
            return result;
        frame = load_u64(bytes, walker->layout->frame_previous);
    }
    ranges_place(&walk->frames);
    return WALK_AGAIN;
}

static void piece(walker *walker, uint32_t *pieces, uint64_t address, void *out, size_t length)
{
    walker->local[*pieces] = (struct iovec){out, length};
    walker->remote[*pieces] = (struct iovec){(void *)(uintptr_t)address, length};
    ++*pieces;
}

static void pieces_of_current(walker *walker, const walk *walk, uint32_t *pieces, current *out)
{
    const layout *layout = walker->layout;
    if (layout->thread_cframe == ONLOOKER_NONE) {
        out->cframe = 0;
        piece(walker, pieces, walk->tstate + (uint32_t)layout->thread_current_frame, &out->frame, 8);
        return;
    }
    piece(walker, pieces, walk->tstate + (uint32_t)layout->thread_cframe, &out->cframe, 8);
    piece(walker, pieces, walk->cframe + (uint32_t)layout->cframe_current_frame, &out->frame, 8);
}

static void pieces_of_ranges(walker *walker, const ranges *ranges, uint32_t *pieces,
                             unsigned char *copy)
{
    *pieces += ranges_vector(ranges, copy, walker->local + *pieces, walker->remote + *pieces);
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
    uint32_t capacity = walker->frames_capacity;
    if (!reserve(&walker->first, &capacity, walk->frames.bytes) ||
        !reserve(&walker->second, &walker->frames_capacity, walk->frames.bytes) ||
        !reserve(&walker->checked, &walker->checked_capacity, walk->codes.bytes))
        return false;
    uint32_t pieces = 2 * walk->frames.count + walk->codes.count + 8;
    if (pieces <= walker->pieces_capacity)
        return true;
    struct iovec *local = realloc(walker->local, 2 * pieces * sizeof *local);
    if (local)
        walker->local = local;
    struct iovec *remote = realloc(walker->remote, 2 * pieces * sizeof *remote);
    if (remote)
        walker->remote = remote;
    if (!local || !remote)
        return false;
    walker->pieces_capacity = 2 * pieces;
    return true;
}

/* The one read that a sample is. */
static int look(walker *walker, const walk *walk, sighting *out)
{
    uint32_t pieces = 0;
    if (!reserve_copies(walker, walk))
        return ONLOOKER_NO_MEMORY;
    pieces_of_current(walker, walk, &pieces, &out->first);
    pieces_of_ranges(walker, &walk->frames, &pieces, walker->first);
    pieces_of_current(walker, walk, &pieces, &out->middle);
    pieces_of_ranges(walker, &walk->codes, &pieces, walker->checked);
    pieces_of_ranges(walker, &walk->frames, &pieces, walker->second);
    pieces_of_current(walker, walk, &pieces, &out->last);
    /* Last: a code object that the frames kept alive until here was not freed before this count. */
    out->generation = 0;
    if (walk->generation_at)
        piece(walker, &pieces, walk->generation_at, &out->generation, 8);
    return memory_readv(walker->source, walker->local, walker->remote, pieces);
}

static bool agree(const walker *walker, const unsigned char *a, const unsigned char *b,
                  bool innermost)
{
    const layout *layout = walker->layout;
    return load_u64(a, layout->frame_executable) == load_u64(b, layout->frame_executable) &&
           load_u64(a, layout->frame_previous) == load_u64(b, layout->frame_previous) &&
           (layout->frame_owner == ONLOOKER_NONE ||
            a[layout->frame_owner] == b[layout->frame_owner]) &&
           (innermost ||
            (layout->frame_lasti_scale == ONLOOKER_NONE
                 ? load_u64(a, layout->frame_instr) == load_u64(b, layout->frame_instr)
                 : load_u32(a, layout->frame_instr) == load_u32(b, layout->frame_instr)));
}

static bool of_function(const layout *layout, const unsigned char *frame)
{
    return layout->frame_owner == ONLOOKER_NONE ||
           frame[layout->frame_owner] <= OWNER_FUNCTION_LAST;
}

/* Walks the two copies from FRAME. *COUNT frames are in walker->raw; *OMITTED is the first frame
 * beyond the depth limit, or 0. */
static int walk_copies(walker *walker, walk *walk, uint64_t frame, uint32_t *count,
                       uint64_t *omitted)
{
    const layout *layout = walker->layout;
    uint32_t hint = 0, functions = 0;
    *count = 0;
    for (; frame && functions < walker->depth; ++*count) {
        int64_t at = ranges_find(&walk->frames, frame, walker->frame_size, &hint);
        if (at < 0)
            return predict(walker, walk, frame, *count == 0);
        const unsigned char *a = walker->first + at, *b = walker->second + at;
        if (*count >= walker->raw_limit || !agree(walker, a, b, functions == 0))
            return WALK_TORN;
        raw_frame *raw = &walker->raw[*count];
        *raw = (raw_frame){.address = frame};
        if (of_function(layout, a)) {
            raw->code = load_u64(a, layout->frame_executable) & ~TAG_BITS;
            raw->instr = layout->frame_lasti_scale == ONLOOKER_NONE
                             ? load_u64(a, layout->frame_instr)
                             : load_u32(a, layout->frame_instr);
            functions++;
        }
        frame = load_u64(a, layout->frame_previous);
    }
    *omitted = frame;
    return ONLOOKER_OK;
}

/* How many functions' frames lie from FRAME to the root; counted at most once a second, and without
 * proof: it only tells how much of the stack is not shown. */
static int32_t count_omitted(const walker *walker, walk *walk, uint64_t frame)
{
    uint64_t now_ns = monotonic_ns();
    if (walk->omitted_at == frame ||
        (walk->omitted && now_ns - walk->omitted_ns < OMITTED_INTERVAL_NS))
        return walk->omitted;
    walk->omitted_at = frame;
    walk->omitted_ns = now_ns;
    walk->omitted = 0;
    page_window window = {0};
    const unsigned char *bytes;
    for (uint32_t steps = 0; frame && steps < OMITTED_LIMIT; steps++) {
        if (window_frame(walker, &window, frame, &bytes) != ONLOOKER_OK)
            break;
        walk->omitted += of_function(walker->layout, bytes);
        frame = load_u64(bytes, walker->layout->frame_previous);
    }
    return walk->omitted;
}

static int32_t lasti_of(const layout *layout, const raw_frame *raw)
{
    if (layout->frame_lasti_scale != ONLOOKER_NONE)
        return (int32_t)((uint32_t)raw->instr * (uint32_t)layout->frame_lasti_scale);
    uint64_t start = raw->code + (uint32_t)layout->code_adaptive;
    /* A frame that has not begun points before its code. */
    return raw->instr >= start && raw->instr - start < INT32_MAX ? (int32_t)(raw->instr - start)
                                                                 : -1;
}

static bool same(const raw_frame *a, const raw_frame *b)
{
    return a->code == b->code && a->instr == b->instr;
}

/* Turns walker->raw[0..COUNT) into a stack on top of *STACK. Every code object is confirmed by what
 * was read together with the frames, or was before and none has been freed since. */
static int intern(walker *walker, walk *walk, uint64_t generation, uint32_t count, uint32_t *stack)
{
    if (!array_reserve((void **)&walk->last, &walk->last_capacity, count, sizeof *walk->last,
                       walker->raw_limit + 1) ||
        !array_reserve((void **)&walk->last_stacks, &walk->last_stacks_capacity, count,
                       sizeof *walk->last_stacks, walker->raw_limit + 1))
        return ONLOOKER_NO_MEMORY;
    uint32_t kept = 0, root = *stack;
    if (generation && generation == walk->last_generation && root == walk->last_root)
        while (kept < count && kept < walk->last_count &&
               same(&walk->last[kept], &walker->raw[count - 1 - kept]))
            kept++;
    uint32_t top = kept ? walk->last_stacks[kept - 1] : root;
    int result = ONLOOKER_OK;
    walk->last_count = 0; /* until it is whole */
    for (uint32_t i = kept; i < count; i++) {
        const raw_frame *raw = &walker->raw[count - 1 - i];
        uint32_t code;
        if (raw->code) {
            switch (codes_check(&walker->codes, raw->code, generation, &walk->codes,
                                walker->checked, &code)) {
            case CODES_UNKNOWN:
                switch (codes_learn(&walker->codes, walker->source, raw->code)) {
                case ONLOOKER_OK:
                    break;
                case ONLOOKER_GONE:
                    return ONLOOKER_GONE;
                default:
                    return WALK_TORN;
                }
                /* fallthrough */
            case CODES_UNREAD:
                if (!codes_want(&walker->codes, raw->code, &walk->codes)) {
                    forget_prediction(walk);
                    return WALK_TORN;
                }
                result = WALK_AGAIN;
                continue;
            case CODES_KNOWN:
                if (result == ONLOOKER_OK)
                    top = stacks_push(walker->stacks, top, code, lasti_of(walker->layout, raw));
            }
        }
        walk->last[i] = *raw;
        walk->last_stacks[i] = top;
    }
    ranges_place(&walk->codes);
    if (result != ONLOOKER_OK)
        return result;
    walk->last_count = count;
    walk->last_generation = generation;
    walk->last_root = root;
    *stack = top;
    return ONLOOKER_OK;
}

/* Predicts the next stack to be like this one. */
static void renew_prediction(const walker *walker, walk *walk, uint32_t count)
{
    ranges_clear(&walk->frames);
    ranges_clear(&walk->codes);
    for (uint32_t i = 0; i < count; i++) {
        const raw_frame *raw = &walker->raw[i];
        add_frame(walker, walk, raw->address, i == 0);
        if (raw->code && !walk->generation_at)
            codes_want(&walker->codes, raw->code, &walk->codes);
    }
    ranges_place(&walk->frames);
    ranges_place(&walk->codes);
    walk->accepted = 0;
}

int walk_try(walker *walker, walk *walk, uint32_t *stack)
{
    sighting seen;
    uint32_t count, root = *stack;
    uint64_t omitted = 0;
    if (walker->layout->thread_cframe != ONLOOKER_NONE && !walk->cframe) {
        int result = memory_read_u64(
            walker->source, walk->tstate + (uint32_t)walker->layout->thread_cframe, &walk->cframe);
        if (result != ONLOOKER_OK || !walk->cframe)
            return result;
    }
    int result = look(walker, walk, &seen);
    if (result == ONLOOKER_FAULT) {
        forget_prediction(walk);
        return WALK_TORN;
    }
    if (result != ONLOOKER_OK)
        return result;
    if (seen.first.cframe != walk->cframe) {
        walk->cframe = seen.first.cframe;
        return WALK_AGAIN;
    }
    if (memcmp(&seen.first, &seen.middle, sizeof seen.first) ||
        memcmp(&seen.first, &seen.last, sizeof seen.first))
        return WALK_TORN;
    result = walk_copies(walker, walk, seen.first.frame, &count, &omitted);
    if (result != ONLOOKER_OK)
        return result;
    if (omitted)
        root = stacks_push(walker->stacks, root, ONLOOKER_CODE_OMITTED,
                           count_omitted(walker, walk, omitted));
    result = intern(walker, walk, seen.generation, count, &root);
    if (result != ONLOOKER_OK)
        return result;
    *stack = root;
    if (++walk->accepted >= PREDICTION_LIFE)
        renew_prediction(walker, walk, count);
    else if (walk->generation_at && walk->codes.count)
        ranges_clear(&walk->codes);
    return ONLOOKER_OK;
}
