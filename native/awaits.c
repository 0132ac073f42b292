#include "awaits.h"

#include <stdlib.h>

#define HEAD_BYTES 512         /* of a generator with its frame, as far as the stack */
#define CHAIN_LIMIT (1u << 16) /* Python's own recursion limit ends most far before */
#define STACK_BYTES (1u << 20) /* of one frame */
#define CODE_BYTES (1 << 26)   /* of a code object's instructions */
#define CODE_ATTEMPTS 4u
#define FRAMES_LIMIT (1u << 24) /* of all chains */

/* A suspended frame. */
typedef struct suspended {
    uint64_t address, code, awaited;
    int64_t lasti;
    bool ended, created, executing;
} suspended;

static bool is_in_head(int32_t offset, int32_t size, int32_t end)
{
    return offset == ONLOOKER_NONE || (offset >= 0 && offset + size <= end);
}

static bool is_sound(const asyncio_layout *layout)
{
    int32_t iframe = layout->generator_iframe, frame = layout->frame_localsplus;
    if (iframe == ONLOOKER_NONE)
        return layout->generator_frame >= 0;
    return iframe >= 0 && frame >= 0 && iframe + frame <= HEAD_BYTES &&
           layout->generator_frame_state >= 0 && layout->generator_frame_state < iframe + frame &&
           layout->frame_executable >= 0 && is_in_head(layout->frame_executable, 8, frame) &&
           layout->frame_instr >= 0 && is_in_head(layout->frame_instr, 8, frame) &&
           is_in_head(layout->frame_stackpointer, 8, frame) &&
           is_in_head(layout->frame_stackdepth, 4, frame) &&
           (layout->frame_stackpointer >= 0 || layout->frame_stackdepth >= 0);
}

bool awaits_init(awaits *awaits, objects *objects, const layout *layout, uint64_t code_type)
{
    *awaits = (struct awaits){.objects = objects};
    return is_sound(&objects->layout) && codes_init(&awaits->codes, layout, code_type) &&
           stacks_init(&awaits->stacks);
}

void awaits_free(awaits *awaits)
{
    codes_free(&awaits->codes);
    stacks_free(&awaits->stacks);
    ranges_free(&awaits->checked);
    free(awaits->copy);
    free(awaits->frames);
}

/* Whether the frame will go on in an `await` or `yield from`, by the instruction there. */
static bool will_resume_await(awaits *awaits, uint64_t instr, bool *out)
{
    const asyncio_layout *layout = &awaits->objects->layout;
    unsigned char instruction[2];
    if (!moment_read(&awaits->objects->moment, instr, instruction, sizeof instruction))
        return false;
    *out = (instruction[0] == layout->generator_awaits_opcode ||
            instruction[0] == layout->generator_awaits_opcode_too) &&
           (instruction[1] & 3) >= layout->generator_awaits_oparg;
    return true;
}

/* From 3.11 on the frame lies in the generator itself. */
static bool read_inline(awaits *awaits, uint64_t address, suspended *out)
{
    const asyncio_layout *layout = &awaits->objects->layout;
    moment *moment = &awaits->objects->moment;
    unsigned char head[HEAD_BYTES];
    int32_t iframe = layout->generator_iframe;
    uint64_t tag = (uint64_t)(int64_t)layout->frame_executable_tag;
    uint32_t at_stack = (uint32_t)(iframe + layout->frame_localsplus);
    if (!moment_read(moment, address, head, at_stack))
        return false;
    int32_t state = head[layout->generator_frame_state];
    bool awaiting = state == layout->generator_awaits || state == layout->generator_awaits_too;
    bool suspended = awaiting || state == layout->generator_suspended;
    *out = (struct suspended){.address = address + (uint32_t)iframe,
                              .created = state == layout->generator_created,
                              .executing = state == layout->generator_executing};
    out->ended = !suspended && !out->created && !out->executing;
    if (out->ended)
        return true;
    uint64_t instr = load_u64(head, iframe + layout->frame_instr);
    out->code = load_u64(head, iframe + layout->frame_executable) & ~tag;
    out->lasti = (int64_t)(instr - out->code - (uint64_t)(int64_t)layout->code_adaptive);
    if (out->lasti < -2 || out->lasti >= CODE_BYTES)
        return false;
    if (layout->generator_awaits == ONLOOKER_NONE && suspended && !out->created &&
        !will_resume_await(awaits, instr + 2, &awaiting))
        return false;
    if (!awaiting)
        return true;
    uint64_t top, stack = address + at_stack;
    if (layout->frame_stackpointer != ONLOOKER_NONE)
        top = load_u64(head, iframe + layout->frame_stackpointer);
    else
        top = stack +
              8 * (uint64_t)(int64_t)(int32_t)load_u32(head, iframe + layout->frame_stackdepth);
    uint64_t slot = top - 8 * (uint64_t)(int64_t)layout->generator_awaited_depth;
    if (slot - stack >= STACK_BYTES || !moment_word(moment, slot, &out->awaited))
        return false;
    out->awaited &= ~tag;
    return true;
}

/* Where the stack of a frame object ends; *TOP is 0 as long as it runs. */
static bool find_top(awaits *awaits, uint64_t frame, uint64_t *top)
{
    const asyncio_layout *layout = &awaits->objects->layout;
    int32_t depth;
    uint64_t stack;
    if (layout->frame_stackpointer != ONLOOKER_NONE)
        return word_at(awaits->objects, frame, layout->frame_stackpointer, top);
    if (!moment_read(&awaits->objects->moment, frame + (uint64_t)(int64_t)layout->frame_stackdepth,
                     &depth, 4) ||
        !word_at(awaits->objects, frame, layout->frame_valuestack, &stack))
        return false;
    *top = depth >= 0 ? stack + 8 * (uint64_t)depth : 0;
    return true;
}

/* Up to 3.10 a generator has a frame object until it has ended. */
static bool read_frame_object(awaits *awaits, uint64_t address, suspended *out)
{
    const asyncio_layout *layout = &awaits->objects->layout;
    objects *objects = awaits->objects;
    uint64_t top, bytecode;
    int32_t lasti;
    unsigned char opcode;
    *out = (struct suspended){.lasti = -1};
    if (!word_at(objects, address, layout->generator_frame, &out->address))
        return false;
    uint64_t frame = out->address;
    out->ended = !frame;
    if (out->ended)
        return true;
    if (!word_at(objects, frame, layout->frame_executable, &out->code) ||
        !moment_read(&objects->moment, frame + (uint64_t)(int64_t)layout->frame_instr, &lasti, 4))
        return false;
    out->created = lasti < 0;
    if (out->created)
        return true;
    out->lasti = (int64_t)lasti * layout->frame_lasti_scale;
    if (out->lasti >= CODE_BYTES || !find_top(awaits, frame, &top))
        return false;
    out->executing = !top;
    if (out->executing)
        return true;
    if (!word_at(objects, out->code, layout->code_code, &bytecode) ||
        !moment_read(&objects->moment,
                     bytecode + (uint32_t)layout->bytes_data + (uint64_t)out->lasti + 2, &opcode,
                     1))
        return false;
    if (opcode != layout->generator_awaits_opcode && opcode != layout->generator_awaits_opcode_too)
        return true;
    return moment_word(&objects->moment,
                       top - 8 * (uint64_t)(int64_t)layout->generator_awaited_depth, &out->awaited);
}

/* Copies what tells the code object at ADDRESS from others. */
static bool copy_checked(awaits *awaits, uint64_t address)
{
    ranges *checked = &awaits->checked;
    ranges_clear(checked);
    if (!codes_want(&awaits->codes, address, checked))
        return false;
    ranges_place(checked);
    if (checked->bytes > awaits->copy_capacity) {
        unsigned char *grown = realloc(awaits->copy, 2 * checked->bytes);
        if (!grown) {
            awaits->objects->moment.result = ONLOOKER_NO_MEMORY;
            return false;
        }
        awaits->copy = grown;
        awaits->copy_capacity = 2 * checked->bytes;
    }
    for (uint32_t i = 0; i < checked->count; i++) {
        const range *range = &checked->items[i];
        if (!moment_read(&awaits->objects->moment, range->start, awaits->copy + range->at,
                         (uint32_t)(range->end - range->start)))
            return false;
    }
    return true;
}

/* The index of the code object at ADDRESS. */
static bool find_code(awaits *awaits, uint64_t address, uint32_t *code)
{
    moment *moment = &awaits->objects->moment;
    for (uint32_t i = 0; i < CODE_ATTEMPTS; i++) {
        if (!copy_checked(awaits, address))
            return false;
        switch (codes_check(&awaits->codes, address, 0, &awaits->checked, awaits->copy, code)) {
        case CODES_KNOWN:
            return true;
        case CODES_UNKNOWN: {
            int result = codes_learn(&awaits->codes, moment->source, address);
            if (result != ONLOOKER_OK && result != ONLOOKER_FAULT)
                moment->result = result;
            if (result != ONLOOKER_OK)
                return false;
            break;
        }
        case CODES_UNREAD:
            break;
        }
    }
    return false;
}

static bool push(awaits *awaits, const suspended *frame, chain *out)
{
    uint32_t code;
    if (!find_code(awaits, frame->code, &code))
        return false;
    out->created = frame->created && !out->frames;
    out->executing = frame->executing;
    if (code == CODES_HIDDEN)
        return true;
    uint32_t stack = stacks_push(&awaits->stacks, out->stack, code, (int32_t)frame->lasti);
    if (stack == STACK_FULL ||
        !array_reserve((void **)&awaits->frames, &awaits->frame_capacity, awaits->frame_count,
                       sizeof *awaits->frames, FRAMES_LIMIT))
        return false;
    awaits->frames[awaits->frame_count++] = frame->address;
    if (!out->frames++)
        out->entry = code;
    out->stack = stack;
    return true;
}

bool awaits_follow(awaits *awaits, uint64_t address, chain *out)
{
    const asyncio_layout *layout = &awaits->objects->layout;
    uint64_t mark = 0;
    *out = (chain){
        .stack = STACK_EMPTY, .entry = ONLOOKER_CODE_NO_FRAME, .first_frame = awaits->frame_count};
    for (uint32_t steps = 1; address && address != mark && steps < CHAIN_LIMIT; steps++) {
        const object_type *type = objects_type(awaits->objects, address);
        suspended frame;
        if (!type)
            return false;
        if ((steps & (steps - 1)) == 0) /* Brent: a cycle comes back to one of these */
            mark = address;
        if (type->role == ROLE_AWAIT_WRAPPER) {
            if (!word_at(awaits->objects, address, layout->awaitwrapper_wrapped, &address))
                return false;
            continue;
        }
        if (type->role != ROLE_COROUTINE)
            break;
        if (!(layout->generator_iframe != ONLOOKER_NONE
                  ? read_inline(awaits, address, &frame)
                  : read_frame_object(awaits, address, &frame)))
            return false;
        if (frame.ended)
            break;
        if (!push(awaits, &frame, out))
            return false;
        address = frame.awaited;
    }
    return true;
}
