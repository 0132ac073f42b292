/* fuzz_replay.c: lets the recorder read recorded memory of which words that it needs were changed.
 *
 *     fuzz_replay RECORDING FIRST COUNT      cases FIRST to FIRST + COUNT - 1
 *
 * or, compiled with -DLIBFUZZER and -fsanitize=fuzzer, the recording that ONLOOKER_RECORDING names
 * and what libFuzzer thinks of. A case is a string of bytes that says what to change; the
 * sanitizers and session_check say whether it was taken well. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <sanitizer/common_interface_defs.h>

#include "hostile_memory.h"
#include "memory.h"
#include "session.h"

#define TICKS 3

/* Far beyond what a tick needs with these recordings (some hundred reads of some kilobytes), far
 * below a hang. */
#define READS_LIMIT 400000u
#define BYTES_LIMIT (UINT64_C(1) << 31)

static recorded recording;
static memory *source;

/* What is left of a case. Reads zeros beyond its end. */
typedef struct script {
    const uint8_t *bytes;
    size_t left;
} script;

static uint32_t take(script *script, uint32_t bytes)
{
    uint32_t value = 0;
    for (; bytes && script->left; bytes--, script->bytes++, script->left--)
        value = value << 8 | *script->bytes;
    return value;
}

static const uint64_t EXTREMES[] = {
    0,
    1,
    8,
    0xfff,
    0x1000,
    0x1001,
    1 << 16,
    (1 << 26) + 1,
    INT32_MAX,
    UINT32_MAX,
    UINT64_C(1) << 32,
    (UINT64_C(1) << 47) - 8,
    (UINT64_C(1) << 56) - 8,
    UINT64_C(1) << 56,
    INT64_MAX,
    UINT64_MAX - 4096,
    UINT64_MAX - 64,
    UINT64_MAX - 7,
    UINT64_MAX,
};

static word_index take_word(script *script)
{
    const word_index *words;
    uint32_t count = hostile_words_read(source, &words);
    return words[take(script, 2) % count];
}

static uint64_t take_extreme(script *script)
{
    return EXTREMES[take(script, 1) % (sizeof EXTREMES / sizeof *EXTREMES)];
}

static void change_word(script *script)
{
    word_index at = take_word(script), other;
    uint64_t old = hostile_get(source, at);
    switch (take(script, 1) % 9) {
    case 0: /* what another word says */
        hostile_set(source, at, hostile_get(source, take_word(script)));
        break;
    case 1:
        other = take_word(script);
        hostile_set(source, at, hostile_get(source, other));
        hostile_set(source, other, old);
        break;
    case 2: /* a pointer to what was read: cycles, objects of other types */
        hostile_set(source, at, hostile_address(source, take_word(script)));
        break;
    case 3: /* ... or to nearly that */
        hostile_set(source, at, hostile_address(source, take_word(script)) + take(script, 1));
        break;
    case 4: /* the end of a page that may have no next one */
        hostile_set(source, at,
                    PAGE_OF(hostile_address(source, take_word(script))) + PAGE_SIZE -
                        take(script, 1));
        break;
    case 5:
        hostile_set(source, at, take_extreme(script));
        break;
    case 6:
        hostile_set(source, at, old + take(script, 1) - 128);
        break;
    case 7:
        hostile_set(source, at, old ^ UINT64_C(1) << take(script, 1) % 64);
        break;
    default: /* one half only, such as a length or a state */
        hostile_set(source, at,
                    (old & UINT64_C(0xffffffff) << 32) | (uint32_t)take_extreme(script));
        break;
    }
}

static void change_words(script *script)
{
    for (uint32_t changes = take(script, 1) % 12; changes; changes--)
        change_word(script);
}

/* Published offsets are as untrusted as any other word. */
static void change_layout(script *script, layout *layout)
{
    int32_t *offsets = (int32_t *)layout;
    for (uint32_t changes = take(script, 1) % 4; changes; changes--) {
        int32_t *offset = &offsets[take(script, 1) % (sizeof *layout / sizeof *offsets)];
        switch (take(script, 1) % 4) {
        case 0:
            *offset = offsets[take(script, 1) % (sizeof *layout / sizeof *offsets)];
            break;
        case 1:
            *offset = (int32_t)take(script, 1);
            break;
        case 2:
            *offset = (int32_t)take(script, 3);
            break;
        default:
            *offset = (int32_t)(uint32_t)take_extreme(script);
            break;
        }
    }
}

static void check_bounds(uint64_t reads_before, uint64_t bytes_before)
{
    session_must(hostile_reads(source) - reads_before < READS_LIMIT, "a tick reads without end");
    session_must(hostile_bytes(source) - bytes_before < BYTES_LIMIT, "a tick reads too much");
}

static void tick(recorder *recorder)
{
    uint64_t reads = hostile_reads(source), bytes = hostile_bytes(source);
    int result = recorder_tick(recorder);
    session_must(result == ONLOOKER_OK || result == ONLOOKER_GONE || result == ONLOOKER_FAULT,
                 "the result of a tick");
    check_bounds(reads, bytes);
}

static void run_case(script script)
{
    static const uint32_t depths[] = {1, 3, 20, 512, 65536};
    static const uint32_t rarities[] = {0, 0, 0, 0, 0, 3000, 300, 30};
    layout layout = recording.layout;
    options options = recording.options;
    hostile_reset(source);
    uint32_t flags = take(&script, 2);
    options.depth = depths[flags % 5];
    if (flags & 0x100)
        options.code_type = 0;
    if (flags & 0x200)
        change_layout(&script, &layout);
    change_words(&script);
    hostile_make_noise(source, rarities[flags >> 10 & 7], flags);
    recorder *recorder = recorder_open(source, 0, &layout, &options);
    if (!recorder)
        return;
    for (uint32_t i = 0; i < TICKS; i++) {
        tick(recorder);
        change_words(&script);
        if (flags & 0x2000) {
            session_check(recorder);
            recorder_release_codes(recorder, recorder_code_count(recorder));
        }
    }
    recorder_finish(recorder);
    session_check(recorder);
    recorder_close(recorder);
}

static void learn_words(void)
{
    source = hostile_open(&recording);
    recorder *recorder = recorder_open(source, 0, &recording.layout, &recording.options);
    session_must(recorder != NULL, "the recording's own layout is refused");
    for (uint32_t i = 0; i < TICKS; i++)
        session_must(recorder_tick(recorder) == ONLOOKER_OK, "the recording cannot be read");
    session_check(recorder);
    session_must(recorder_counters(recorder)->samples > 0, "the recording has no threads");
    recorder_close(recorder);
}

#ifdef LIBFUZZER

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    const char *path = getenv("ONLOOKER_RECORDING");
    session_must(path != NULL, "ONLOOKER_RECORDING names no recording");
    recorded_load(&recording, path);
    learn_words();
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    run_case((script){bytes, length});
    return 0;
}

#else

#define CASE_SECONDS 60

static uint64_t case_number;

static void say_case(void)
{
    fprintf(stderr, "case %llu\n", (unsigned long long)case_number);
}

static void on_alarm(int signal)
{
    (void)signal;
    static const char message[] = "wrong: a case hangs\n";
    if (write(2, message, sizeof message - 1) > 0)
        abort();
}

int main(int argc, char **argv)
{
    if (argc != 4)
        return 2;
    recorded_load(&recording, argv[1]);
    uint64_t first = strtoull(argv[2], NULL, 10), count = strtoull(argv[3], NULL, 10);
    __sanitizer_set_death_callback(say_case);
    signal(SIGALRM, on_alarm);
    learn_words();
    for (case_number = first; case_number < first + count; case_number++) {
        uint8_t bytes[160];
        uint64_t random = case_number * 0x9e3779b97f4a7c15u;
        for (size_t i = 0; i < sizeof bytes; i++)
            bytes[i] = (uint8_t)hash_u64(random += 0xd1342543de82ef95u);
        alarm(CASE_SECONDS);
        run_case((script){bytes, sizeof bytes});
    }
    memory_close(source);
    recorded_free(&recording);
    return 0;
}

#endif
