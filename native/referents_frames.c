#include "referents.h"

#define VARIABLES 256u /* of a frame that are told by name */

/* Copies the addresses of the names of a code object's variables, as they lie in a frame. */
static uint32_t name_variables(heap *heap, uint64_t code, uint64_t names[VARIABLES])
{
    const heap_layout *layout = &heap->layout;
    const int32_t parts[] = {layout->code_localsplusnames, layout->code_varnames,
                             layout->code_cellvars, layout->code_freevars};
    uint32_t named = 0;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        uint64_t tuple, size;
        if (parts[i] == ONLOOKER_NONE)
            continue;
        if (!word_at(heap, code, parts[i], &tuple) ||
            !word_at(heap, tuple, layout->tuple_size, &size) || size > VARIABLES - named ||
            !space_copy(&heap->space, tuple + (uint32_t)layout->tuple_item, names + named,
                        size * 8))
            break;
        named += (uint32_t)size;
    }
    return named;
}

/* The variables of a frame, and what lies on its stack behind them. */
static bool refer_variables(heap *heap, uint64_t code, uint64_t at, uint64_t count,
                            uint64_t ignored)
{
    uint64_t names[VARIABLES], words[VARIABLES];
    uint32_t named = heap->graph ? name_variables(heap, code, names) : 0;
    if (named > count)
        named = (uint32_t)count;
    if (!space_copy(&heap->space, at, words, named * UINT64_C(8)))
        return false;
    for (uint32_t i = 0; i < named; i++)
        if (words[i] & ~ignored)
            heap_refer(heap, words[i] & ~ignored,
                       heap_label_of_str(heap, names[i], ONLOOKER_HELD_LOCAL));
    return refer_array(heap, at + named * UINT64_C(8), count - named, ONLOOKER_HELD_LOCAL, ignored);
}

/* The words of a frame that lie before its local variables, the variables, and as much of its stack
 * as is in use. `globals` and `builtins` are those of its function, which owns them. */
static bool refer_frame(heap *heap, uint64_t frame)
{
    const heap_layout *layout = &heap->layout;
    uint64_t locals = frame + (uint32_t)layout->frame_localsplus, end = 0, word;
    for (uint64_t at = frame; at < locals; at += 8) {
        if (!space_word(&heap->space, at, &word))
            return false;
        if (at != frame + (uint32_t)layout->iframe_globals &&
            at != frame + (uint32_t)layout->iframe_builtins)
            heap_refer(heap, word & ~(uint64_t)(uint32_t)layout->frame_executable_tag,
                       ONLOOKER_HELD_FIELD);
    }
    if (layout->frame_stackpointer != ONLOOKER_NONE) {
        if (!word_at(heap, frame, layout->frame_stackpointer, &end))
            return false;
    } else {
        int32_t depth;
        if (!space_copy(&heap->space, frame + (uint32_t)layout->frame_stackdepth, &depth, 4))
            return false;
        end = depth > 0 ? locals + (uint32_t)depth * UINT64_C(8) : 0;
    }
    /* It runs: where its stack ends is known to the processor only. The frames of threads that run
     * are roots, and are told by who adds those. */
    if (end < locals || end - locals > FIELDS_LIMIT)
        return !end;
    uint64_t code = 0;
    word_at(heap, frame, layout->frame_executable, &code);
    return refer_variables(heap, code & ~(uint64_t)(uint32_t)layout->frame_executable_tag, locals,
                           (end - locals) / 8, layout->frame_stackpointer != ONLOOKER_NONE ? 3 : 0);
}

bool visit_frame_object(heap *heap, uint64_t address, const type *type, uint64_t *own)
{
    const heap_layout *layout = &heap->layout;
    uint64_t size, stack, top = 0;
    if (layout->frameobject_iframe != ONLOOKER_NONE) {
        uint64_t iframe, data = address + (uint32_t)layout->frameobject_data;
        const int64_t excluded[] = {layout->frameobject_iframe};
        if (!word_at(heap, address, layout->frameobject_iframe, &iframe))
            return false;
        /* How many words follow is in no field: the pool tells. */
        *own = (uint32_t)layout->frameobject_data + (uint32_t)layout->frame_localsplus;
        return refer_fields(heap, address, 16, (uint32_t)layout->frameobject_data, excluded, 1) &&
               (iframe != data || refer_frame(heap, iframe));
    }
    const int64_t excluded[] = {layout->frame_valuestack, layout->frame_stackpointer};
    uint64_t locals = address + (uint32_t)layout->frameobject_localsplus;
    if (!word_at(heap, address, layout->tuple_size, &size) || size > FIELDS_LIMIT)
        return false;
    *own = type->basicsize + size * 8;
    if (!word_at(heap, address, layout->frame_valuestack, &stack) || stack < locals ||
        stack - locals > FIELDS_LIMIT)
        return false;
    /* The stack of a frame that runs is not seen, as by frame_traverse. */
    if (layout->frame_stackpointer != ONLOOKER_NONE) {
        word_at(heap, address, layout->frame_stackpointer, &top);
    } else {
        int32_t depth;
        if (space_copy(&heap->space, address + (uint32_t)layout->frame_stackdepth, &depth, 4))
            top = depth > 0 ? stack + (uint32_t)depth * UINT64_C(8) : 0;
    }
    if (top < stack || top - stack > FIELDS_LIMIT)
        top = stack;
    /* All references lie before f_gen; f_blockstack, behind it, may never have been written to. */
    uint64_t code = 0;
    word_at(heap, address, layout->frame_executable, &code);
    return refer_fields(heap, address, 16, (uint32_t)layout->frameobject_gen, excluded, 2) &&
           refer_variables(heap, code, locals, (top - locals) / 8, 0);
}

bool visit_generator(heap *heap, uint64_t address, const type *type)
{
    const heap_layout *layout = &heap->layout;
    const int64_t excluded[] = {type->weaklistoffset};
    uint8_t state;
    if (layout->generator_iframe == ONLOOKER_NONE)
        return refer_fields(heap, address, 16, type->basicsize, excluded, 1);
    if (!refer_fields(heap, address, 16, (uint32_t)layout->generator_iframe, excluded, 1) ||
        !space_copy(&heap->space, address + (uint32_t)layout->generator_frame_state, &state, 1))
        return false;
    return state == layout->generator_cleared ||
           refer_frame(heap, address + (uint32_t)layout->generator_iframe);
}
