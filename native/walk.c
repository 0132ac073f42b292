#include "walk.h"

#include <stdlib.h>
#include <string.h>

#include "look.h"
#include "window.h"

#define DEPTH_LIMIT (1u << 16)
#define FRAME_SIZE_LIMIT 512u

/* Bytes read beyond the innermost frame, for the calls that it makes until the next sample. */
#define SLACK 1024u

/* FRAME_OWNED_BY_GENERATOR of enum _frameowner, in all of 3.11-3.15. */
#define OWNER_GENERATOR 1

/* Samples after which the prediction is made anew, so that it forgets what is no longer used. */
#define PREDICTION_LIFE 64u

/* Frames are counted beyond the depth limit at most this far and this often. */
#define OMITTED_LIMIT 200000u
#define OMITTED_REST 1000u /* times as long as counting took until it is done again */

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
    walker->unconfirmed = malloc(walker->raw_limit * sizeof *walker->unconfirmed);
    return walker->raw && walker->unconfirmed && size <= FRAME_SIZE_LIMIT &&
           codes_init(&walker->codes, layout, code_type);
}

void walker_free(walker *walker)
{
    codes_free(&walker->codes);
    free(walker->raw);
    free(walker->unconfirmed);
    free(walker->first);
    free(walker->second);
    free(walker->checked);
    free(walker->context_first);
    free(walker->context_second);
    free(walker->local);
    free(walker->remote);
    free(walker->pointers);
}

void walk_free(walk *walk)
{
    ranges_free(&walk->frames);
    ranges_free(&walk->codes);
    context_view_free(&walk->context);
    free(walk->last);
    free(walk->last_stacks);
}

void walk_forget(walk *walk)
{
    ranges_clear(&walk->frames);
    ranges_clear(&walk->codes);
    ranges_clear(&walk->context.pieces);
    walk->cframe = 0;
    walk->root_function = walk->root_shim = 0;
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

/* Completes the prediction from FRAME to the root, or to a frame that is already part of it. */
static int predict(const walker *walker, walk *walk, uint64_t frame, bool innermost)
{
    window window = {0};
    for (uint32_t steps = 0; frame && steps < walker->raw_limit; steps++) {
        const unsigned char *bytes;
        uint32_t hint = UINT32_MAX;
        if (steps && ranges_find(&walk->frames, frame, walker->frame_size, &hint) >= 0)
            break;
        int result = window_read(walker->source, &window, frame, walker->frame_size, &bytes);
        if (result == ONLOOKER_FAULT ||
            (result == ONLOOKER_OK && !add_frame(walker, walk, frame, innermost && !steps))) {
            walk_forget(walk);
            return WALK_TORN;
        }
        if (result != ONLOOKER_OK)
            return result;
        frame = load_u64(bytes, walker->layout->frame_previous);
    }
    ranges_place(&walk->frames);
    return WALK_AGAIN;
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

static bool of_generator(const layout *layout, const unsigned char *frame)
{
    return layout->frame_owner != ONLOOKER_NONE && frame[layout->frame_owner] == OWNER_GENERATOR;
}

static bool of_function(const layout *layout, const unsigned char *frame)
{
    return layout->frame_owner_shim == ONLOOKER_NONE ||
           frame[layout->frame_owner] < layout->frame_owner_shim;
}

/* A generator's frame is never the root, but it looks so while it is suspended: as the current
 * frame when it is just yielding, or in a _PyCFrame that is not filled in yet. Where the
 * interpreter has frames of its own, the root is one of them. Remembers the root. */
static int check_root(const walker *walker, walk *walk, uint32_t count)
{
    const raw_frame *raw = walker->raw;
    if (walker->layout->frame_owner_shim == ONLOOKER_NONE)
        return raw[count - 1].of_generator ? WALK_TORN : ONLOOKER_OK;
    if (raw[count - 1].code)
        return raw[count - 1].address == walk->root_function ? ONLOOKER_OK : WALK_TORN;
    while (count && !raw[count - 1].code)
        count--;
    if (count) {
        walk->root_function = raw[count - 1].address;
        walk->root_shim = raw[count].address;
    }
    return ONLOOKER_OK;
}

/* Walks the two copies, or the one of a thread that was STOPPED, from FRAME. *COUNT frames are in
 * walker->raw; *OMITTED is the first frame beyond the depth limit, or 0. */
static int walk_copies(walker *walker, walk *walk, bool stopped, uint64_t frame, uint32_t *count,
                       uint64_t *omitted)
{
    const layout *layout = walker->layout;
    uint32_t hint = 0, functions = 0;
    *count = 0;
    for (; frame && functions < walker->depth; ++*count) {
        int64_t at = ranges_find(&walk->frames, frame, walker->frame_size, &hint);
        if (at < 0)
            return predict(walker, walk, frame, *count == 0);
        const unsigned char *a = walker->first + at;
        const unsigned char *b = stopped ? a : walker->second + at;
        if (*count >= walker->raw_limit || !agree(walker, a, b, functions == 0))
            return WALK_TORN;
        raw_frame *raw = &walker->raw[*count];
        *raw = (raw_frame){.address = frame, .of_generator = of_generator(layout, a)};
        if (of_function(layout, a)) {
            raw->code = load_u64(a, layout->frame_executable) &
                        ~(uint64_t)(uint32_t)layout->frame_executable_tag;
            raw->instr = layout->frame_lasti_scale == ONLOOKER_NONE
                             ? load_u64(a, layout->frame_instr)
                             : load_u32(a, layout->frame_instr);
            /* Since 3.14 a frame that has been left has none. */
            if (!raw->code)
                return WALK_TORN;
            functions++;
        }
        uint64_t previous = load_u64(a, layout->frame_previous);
        if (frame == walk->root_function && previous == walk->root_shim)
            previous = 0;
        frame = previous;
    }
    *omitted = frame;
    return !frame && *count ? check_root(walker, walk, *count) : ONLOOKER_OK;
}

/* How many functions' frames lie from FRAME to the root. It is counted rarely, since the thread may
 * have to stand still for it, and without proof: it only tells how much of the stack is not shown.
 */
static int32_t count_omitted(const walker *walker, walk *walk, uint64_t frame)
{
    uint64_t now_ns = monotonic_ns();
    if (walk->omitted_at == frame || (walk->omitted && now_ns < walk->omitted_until_ns))
        return walk->omitted;
    uint64_t began_ns = own_cpu_ns();
    walk->omitted_at = frame;
    walk->omitted = 0;
    window window = {0};
    const unsigned char *bytes;
    for (uint32_t steps = 0; frame && steps < OMITTED_LIMIT; steps++) {
        if (window_read(walker->source, &window, frame, walker->frame_size, &bytes) != ONLOOKER_OK)
            break;
        walk->omitted += of_function(walker->layout, bytes);
        frame = load_u64(bytes, walker->layout->frame_previous);
    }
    uint64_t took_ns = own_cpu_ns() - began_ns;
    walk->counting_ns += took_ns;
    walk->omitted_until_ns = now_ns + OMITTED_REST * took_ns;
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
    uint32_t top = kept ? walk->last_stacks[kept - 1] : root, unconfirmed = 0;
    walk->last_count = 0; /* until it is whole */
    for (uint32_t i = kept; i < count; i++) {
        const raw_frame *raw = &walker->raw[count - 1 - i];
        uint32_t code;
        if (raw->code) {
            enum codes_answer answer = codes_check(&walker->codes, raw->code, generation,
                                                   &walk->codes, walker->checked, &code);
            if (answer == CODES_UNKNOWN) {
                int result = codes_learn(&walker->codes, walker->source, raw->code);
                if (result != ONLOOKER_OK)
                    return result == ONLOOKER_FAULT ? WALK_TORN : result;
            }
            if (answer != CODES_KNOWN) {
                walker->unconfirmed[unconfirmed++] = raw->code;
                continue;
            }
            if (code != CODES_HIDDEN)
                top = stacks_push(walker->stacks, top, code, lasti_of(walker->layout, raw));
        }
        walk->last[i] = *raw;
        walk->last_stacks[i] = top;
    }
    if (unconfirmed) {
        for (uint32_t i = 0; i < unconfirmed; i++) {
            if (!codes_want(&walker->codes, walker->unconfirmed[i], &walk->codes)) {
                walk_forget(walk);
                return WALK_TORN;
            }
        }
        ranges_place(&walk->codes);
        return WALK_AGAIN;
    }
    walk->last_count = count;
    walk->last_generation = generation;
    walk->last_root = root;
    *stack = top;
    return ONLOOKER_OK;
}

/* True if much of what is predicted was no part of this stack of COUNT frames: a thread that is
 * somewhere else at every sample would be asked for all the frames it ever had. */
static bool is_stale(const walker *walker, const walk *walk, uint32_t count)
{
    return walk->frames.count > count + count / 2 + 4 ||
           walk->frames.bytes > 3 * count * walker->frame_size + 2 * PAGE_SIZE ||
           walk->codes.count > 3 * count + 8;
}

/* Predicts the next stack to be like this one. */
static void renew_prediction(const walker *walker, walk *walk, uint32_t count)
{
    ranges_clear(&walk->frames);
    ranges_clear(&walk->codes);
    for (uint32_t i = 0; i < count; i++) {
        const raw_frame *raw = &walker->raw[i];
        if (raw->address == walk->root_shim)
            break;
        add_frame(walker, walk, raw->address, i == 0);
        if (raw->code && !walk->generation_at)
            codes_want(&walker->codes, raw->code, &walk->codes);
    }
    ranges_place(&walk->frames);
    ranges_place(&walk->codes);
    walk->accepted = 0;
}

/* Finds the values of context variables at the moment of the stack. */
static int find_values(walker *walker, walk *walk, bool stopped)
{
    walk->values = CONTEXTS_NO_VALUES;
    if (!contexts_asked(walker->contexts))
        return ONLOOKER_OK;
    enum contexts_answer answer = contexts_find(
        walker->contexts, walker->source, walk->tstate + (uint32_t)walker->layout->thread_context,
        &walk->context, walker->context_first, walker->context_second, stopped, &walk->values);
    if (answer == CONTEXTS_KNOWN)
        return ONLOOKER_OK;
    walk->values = CONTEXTS_UNKNOWN;
    return walker->contextless ? ONLOOKER_OK : answer == CONTEXTS_UNREAD ? WALK_AGAIN : WALK_TORN;
}

int walk_try(walker *walker, walk *walk, bool stopped, uint32_t *stack)
{
    uint32_t count, root = *stack;
    uint64_t frame, generation, omitted = 0;
    if (walker->layout->thread_cframe != ONLOOKER_NONE && !walk->cframe) {
        int result = memory_read_u64(
            walker->source, walk->tstate + (uint32_t)walker->layout->thread_cframe, &walk->cframe);
        if (result != ONLOOKER_OK || !walk->cframe)
            return result;
    }
    int result = look(walker, walk, stopped, &frame, &generation);
    if (result == ONLOOKER_FAULT) {
        /* What was predicted need not be there any more. */
        bool predicted = walk->frames.count || walk->codes.count;
        walk_forget(walk);
        return stopped && predicted ? WALK_AGAIN : WALK_TORN;
    }
    if (result == ONLOOKER_OK)
        result = walk_copies(walker, walk, stopped, frame, &count, &omitted);
    if (result != ONLOOKER_OK)
        return result;
    /* What lies below the last frame shown may be the interpreter's own frame only. */
    int32_t functions = omitted ? count_omitted(walker, walk, omitted) : 0;
    if (functions)
        root = stacks_push(walker->stacks, root, ONLOOKER_CODE_OMITTED, functions);
    result = intern(walker, walk, generation, count, &root);
    if (result == ONLOOKER_OK)
        result = find_values(walker, walk, stopped);
    if (result != ONLOOKER_OK)
        return result;
    *stack = root;
    if (++walk->accepted >= PREDICTION_LIFE || is_stale(walker, walk, count))
        renew_prediction(walker, walk, count);
    else if (walk->generation_at && walk->codes.count)
        ranges_clear(&walk->codes);
    return ONLOOKER_OK;
}
