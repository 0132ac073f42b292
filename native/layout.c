#include "layout.h"

bool layout_check(const layout *layout)
{
    /* Every member is an int32_t offset. The largest is _PyRuntime's. */
    const int32_t *offsets = (const int32_t *)layout;
    for (size_t i = 0; i < sizeof *layout / sizeof *offsets; i++)
        if (offsets[i] < ONLOOKER_NONE || offsets[i] > 1 << 24)
            return false;
    return (layout->thread_current_frame != ONLOOKER_NONE ||
            (layout->thread_cframe != ONLOOKER_NONE &&
             layout->cframe_current_frame != ONLOOKER_NONE)) &&
           (layout->frame_lasti_scale != ONLOOKER_NONE || layout->code_adaptive != ONLOOKER_NONE) &&
           (layout->runtime_gil != ONLOOKER_NONE || layout->interpreter_gil != ONLOOKER_NONE) &&
           layout->runtime_interpreters_head >= 0 && layout->runtime_finalizing >= 0 &&
           layout->interpreter_next >= 0 && layout->interpreter_id >= 0 &&
           layout->interpreter_threads_head >= 0 && layout->gil_last_holder >= 0 &&
           layout->gil_locked >= 0 && layout->thread_next >= 0 && layout->thread_interp >= 0 &&
           layout->thread_id >= 0 && layout->frame_previous >= 0 && layout->frame_executable >= 0 &&
           layout->frame_executable_tag >= 0 &&
           (layout->frame_owner_shim == ONLOOKER_NONE || layout->frame_owner >= 0) &&
           layout->frame_instr >= 0 && layout->code_filename >= 0 && layout->code_name >= 0 &&
           layout->code_linetable >= 0 && layout->code_firstlineno >= 0 &&
           layout->object_type >= 0 && layout->unicode_length >= 0 &&
           layout->unicode_length <= 64 && layout->unicode_state >= 0 &&
           layout->unicode_state <= 64 && layout->unicode_ascii_data >= 0 &&
           layout->unicode_ascii_data <= 128 && layout->unicode_compact_data >= 0 &&
           layout->unicode_compact_data <= 128 && layout->bytes_size >= 0 &&
           layout->bytes_size <= 64 && layout->bytes_data > 0 && layout->bytes_data <= 128;
}
