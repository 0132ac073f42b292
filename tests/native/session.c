#include "session.h"

#include <stdio.h>
#include <stdlib.h>

/* As native/codes.c has them. */
#define TEXT_LIMIT (1u << 16)
#define LINETABLE_LIMIT (1u << 26)

const char *__asan_default_options(void);

/* A failed check shows the same report as a failed read. */
const char *__asan_default_options(void)
{
    return "handle_abort=1:abort_on_error=0";
}

void session_must(bool condition, const char *what)
{
    if (!condition) {
        fprintf(stderr, "wrong: %s\n", what);
        abort();
    }
}

/* Every byte is looked at, for the address sanitizer's sake. */
static uint64_t sum(const unsigned char *bytes, uint64_t length)
{
    uint64_t total = 0;
    for (uint64_t i = 0; i < length; i++)
        total += bytes[i];
    return total;
}

static void check_text(const text *text)
{
    session_must(text->kind == 1 || text->kind == 2 || text->kind == 4, "the kind of a text");
    session_must(text->length <= TEXT_LIMIT, "the length of a text");
    volatile uint64_t total = sum(text->data, text->length * text->kind);
    (void)total;
}

static void check_codes(const recorder *recorder)
{
    for (uint32_t i = 0; i < recorder_code_count(recorder); i++) {
        code_text text;
        if (!recorder_code(recorder, i, &text))
            continue;
        session_must(i >= ONLOOKER_CODE_FIRST, "a pseudo-frame has a text");
        check_text(&text.name);
        check_text(&text.filename);
        session_must(text.linetable_size <= LINETABLE_LIMIT, "the size of a line table");
        volatile uint64_t total = sum(text.linetable, text.linetable_size);
        (void)total;
    }
}

void session_check(const recorder *recorder)
{
    uint32_t node_count, row_count, thread_count;
    const node *nodes = recorder_nodes(recorder, &node_count);
    const row *rows = recorder_rows(recorder, &row_count);
    recorder_threads(recorder, &thread_count);
    for (uint32_t i = 1; i < node_count; i++) {
        session_must(nodes[i].parent < i, "a stack is not a path to the root");
        session_must(nodes[i].code < recorder_code_count(recorder), "a frame's code");
        session_must(nodes[i].code != ONLOOKER_CODE_OMITTED || nodes[i].lasti > 0,
                     "omitted frames that are none");
    }
    uint64_t samples = 0;
    for (uint32_t i = 0; i < row_count; i++) {
        session_must(rows[i].stack < node_count, "a row's stack");
        /* The row for what there is no room for is there before any thread. */
        session_must(rows[i].thread < thread_count || !rows[i].count, "a row's thread");
        session_must(rows[i].facts >> ONLOOKER_WAIT_SHIFT <= ONLOOKER_WAIT_SIGNAL, "a row's facts");
        samples += rows[i].count;
    }
    session_must(samples == recorder_counters(recorder)->samples, "the number of samples");
    check_codes(recorder);
}
