#include "asyncio_recording.h"

#include <stdio.h>

#include "session.h"

void recorded_roots_load(recorded_roots *out, const char *path)
{
    FILE *file = fopen(path, "rb");
    session_must(file, "the roots cannot be opened");
    session_must(fread(&out->layout, sizeof out->layout, 1, file) == 1, "the layout of tasks");
    out->count = (uint32_t)fread(out->roots, sizeof *out->roots, 64, file);
    session_must(out->count && fgetc(file) == EOF, "the number of roots");
    fclose(file);
}

static void check_text(const asyncio_tasks *tasks, const asyncio_text *text)
{
    session_must(text->kind == 0 || text->kind == 1 || text->kind == 2 || text->kind == 4,
                 "the kind of a text");
    session_must(text->at <= tasks->text_bytes && text->bytes <= tasks->text_bytes - text->at,
                 "the place of a text");
    session_must(!text->kind || text->bytes % text->kind == 0, "the size of a text");
}

void asyncio_check(const asyncio_look *look, uint32_t roots)
{
    asyncio_tasks tasks;
    code_text code;
    asyncio_get(look, &tasks);
    volatile uint64_t total = 0;
    for (uint64_t i = 0; i < tasks.text_bytes; i++)
        total += tasks.texts[i];
    for (uint32_t i = 1; i < tasks.node_count; i++)
        session_must(tasks.nodes[i].parent < i && tasks.nodes[i].code < tasks.code_count,
                     "a stack's frame");
    for (uint32_t i = 0; i < tasks.awaiter_count; i++)
        check_text(&tasks, &tasks.awaiters[i]);
    for (uint32_t i = 0; i < tasks.task_count; i++) {
        const asyncio_task *task = &tasks.tasks[i];
        check_text(&tasks, &task->name);
        check_text(&tasks, &task->waits_for);
        session_must(task->root < roots, "a task's root");
        session_must(task->stack < tasks.node_count && task->entry < tasks.code_count,
                     "a task's stack");
        session_must(task->first_awaiter <= tasks.awaiter_count &&
                         task->awaiters <= tasks.awaiter_count - task->first_awaiter,
                     "who awaits a task");
    }
    for (uint32_t i = 0; i < tasks.code_count; i++)
        if (asyncio_code(look, i, &code))
            for (uint64_t at = 0; at < code.linetable_size; at++)
                total += code.linetable[at];
}
