/* fuzz_replay.c: lets the recorder read recorded memory of which words that it needs were changed.
 *
 *     fuzz_replay RECORDING FIRST COUNT      cases FIRST to FIRST + COUNT - 1
 *
 * or, compiled with -DLIBFUZZER and -fsanitize=fuzzer, the recording that ONLOOKER_RECORDING names
 * and what libFuzzer thinks of. A case is a string of bytes that says what to change; the
 * sanitizers and session_check say whether it was taken well. */
#include <stdlib.h>

#include "lies.h"
#include "memory.h"
#include "session.h"

#define TICKS 3

/* Far beyond what a tick needs with these recordings (some hundred reads of some kilobytes), far
 * below a hang. */
#define READS_LIMIT 400000u
#define BYTES_LIMIT (UINT64_C(1) << 31)

static recorded recording;
static memory *source;

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
    uint32_t flags = script_take(&script, 2);
    options.depth = depths[flags % 5];
    if (flags & 0x100)
        options.code_type = 0;
    if (flags & 0x200)
        lies_in_offsets(&script, (int32_t *)&layout, sizeof layout / sizeof(int32_t));
    lies_in_words(&script, source);
    hostile_make_noise(source, rarities[flags >> 10 & 7], flags);
    recorder *recorder = recorder_open(source, 0, &layout, &options);
    if (!recorder)
        return;
    for (uint32_t i = 0; i < TICKS; i++) {
        tick(recorder);
        lies_in_words(&script, source);
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

int main(int argc, char **argv)
{
    if (argc != 4)
        return 2;
    recorded_load(&recording, argv[1]);
    learn_words();
    lies_run_cases(strtoull(argv[2], NULL, 10), strtoull(argv[3], NULL, 10), run_case);
    memory_close(source);
    recorded_free(&recording);
    return 0;
}

#endif
