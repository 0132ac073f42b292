/* heap_fuzz.c: walks a recorded heap of which words were changed.
 *
 *     heap_fuzz RECORDING FIRST COUNT      cases FIRST to FIRST + COUNT - 1
 *
 * or, compiled with -DLIBFUZZER and -fsanitize=fuzzer, the recording that ONLOOKER_RECORDING names
 * and what libFuzzer thinks of. A case is a string of bytes that says what to change; the
 * sanitizers and heap_recording_check say whether it was taken well. */
#include <stdio.h>
#include <stdlib.h>

#include "cases.h"
#include "heap_recording.h"
#include "session.h"

#define CHANGES_LIMIT 1024u
#define WORDS_OF_OBJECT 16u

static heap_recording recording;

/* Where objects are: their fields are what a lie must be about. */
static uint64_t *objects;
static uint32_t object_count;

static struct change {
    uint64_t address, old;
} changes[CHANGES_LIMIT];
static uint32_t change_count;

/* What is left of a case. Goes on with numbers made of its end. */
typedef struct script {
    const uint8_t *bytes;
    size_t left;
    uint64_t random;
} script;

static uint32_t take(script *script)
{
    uint32_t value = 0;
    if (script->left < 4)
        return (uint32_t)hash_u64(script->random += 0x9e3779b97f4a7c15u);
    memcpy(&value, script->bytes, 4);
    script->bytes += 4;
    script->left -= 4;
    script->random = hash_u64(script->random ^ value);
    return value;
}

static const uint64_t EXTREMES[] = {
    0,
    1,
    2,
    7,
    8,
    0xfff,
    1 << 16,
    INT32_MAX,
    UINT32_MAX,
    UINT64_C(1) << 32,
    (UINT64_C(1) << 39) - 1,
    UINT64_C(1) << 40,
    (UINT64_C(1) << 47) - 8,
    UINT64_C(1) << 60,
    UINT64_C(1) << 61,
    INT64_MAX,
    (UINT64_C(1) << 63),
    UINT64_MAX - 4096,
    UINT64_MAX - 7,
    UINT64_MAX,
};

static uint64_t take_object(script *script)
{
    return objects[take(script) % object_count];
}

static bool is_there(uint64_t address)
{
    for (uint64_t i = 0; i < recording.range_count; i++)
        if (address >= recording.ranges[i].start && address <= recording.ranges[i].end - 8)
            return true;
    return false;
}

/* A field of an object, of what a field points to (keys, items, a type), or before an object. */
static uint64_t take_place(script *script)
{
    uint64_t at = take_object(script) + take(script) % WORDS_OF_OBJECT * 8;
    uint64_t pointer = heap_recording_get(&recording, at);
    switch (take(script) % 4) {
    case 0:
        pointer = (pointer & ~UINT64_C(7)) + take(script) % (4 * WORDS_OF_OBJECT) * 8;
        return is_there(pointer) ? pointer : at;
    case 1:
        return take_object(script) - 8 - take(script) % 4 * 8;
    default:
        return at;
    }
}

static void change_word(script *script)
{
    uint64_t at = take_place(script);
    if (!is_there(at) || change_count == CHANGES_LIMIT)
        return;
    uint64_t old = heap_recording_get(&recording, at), new;
    changes[change_count++] = (struct change){at, old};
    switch (take(script) % 8) {
    case 0: /* other types, cycles */
        new = take_object(script);
        break;
    case 1: /* what another word says */
        new = heap_recording_get(&recording, take_place(script));
        break;
    case 2:
        new = EXTREMES[take(script) % (sizeof EXTREMES / sizeof *EXTREMES)];
        break;
    case 3: /* one half only, such as a count or a state */
        new = (old & ~(uint64_t)UINT32_MAX) |
              (uint32_t)EXTREMES[take(script) % (sizeof EXTREMES / sizeof *EXTREMES)];
        break;
    case 4:
        new = old ^ UINT64_C(1) << take(script) % 64;
        break;
    case 5: /* the end of a range */
        new = recording.ranges[take(script) % recording.range_count].end - take(script) % 64;
        break;
    case 6: /* a byte, such as the size of a dict's keys */
        new = (old & ~(UINT64_C(0xff) << 8 * (take(script) % 8))) | (uint64_t)(take(script) % 256)
                                                                        << 8 * (take(script) % 8);
        break;
    default:
        new = old + (uint64_t)(take(script) % 256) * 8 - 1024;
        break;
    }
    heap_recording_set(&recording, at, new);
}

/* Published offsets are as untrusted as any other word. */
static void change_layout(script *script, heap_layout *layout)
{
    int32_t *offsets = (int32_t *)layout;
    size_t count = sizeof *layout / sizeof *offsets;
    for (uint32_t left = take(script) % 4; left; left--) {
        int32_t *offset = &offsets[take(script) % count];
        *offset = take(script) % 2 ? offsets[take(script) % count] : (int32_t)(take(script) % 4200);
    }
}

static void run_case(script script)
{
    heap_layout layout = recording.layout;
    graph graph;
    int result;
    uint32_t flags = take(&script);
    uint32_t most = 1u << flags % 11; /* from a single lie to hundreds */
    for (uint32_t i = 0; i < most; i++)
        change_word(&script);
    if (flags >> 8 & 1)
        change_layout(&script, &layout);
    /* Memory that is not there any more. */
    uint64_t ranges = recording.range_count;
    if (flags >> 9 & 1)
        ranges = take(&script) % (ranges + 1);
    heap_range *cut = &recording.ranges[take(&script) % recording.range_count];
    uint64_t end = cut->end;
    if (flags >> 10 & 1)
        cut->end -= take(&script) % ((cut->end - cut->start) / PAGE_SIZE) * PAGE_SIZE;
    bool has_graph = flags >> 11 & 1;
    recording.paired = flags >> 12 & 1;
    heap *heap =
        heap_recording_walk(&recording, &layout, (uint32_t)ranges, has_graph, &graph, &result);
    cut->end = end;
    if (heap) {
        session_must(result == ONLOOKER_OK || result == ONLOOKER_FAULT, "the result of a walk");
        heap_recording_check(heap, has_graph && result == ONLOOKER_OK ? &graph : NULL);
    }
    heap_free(heap);
    while (change_count--)
        heap_recording_set(&recording, changes[change_count].address, changes[change_count].old);
    change_count = 0;
}

static void learn_objects(void)
{
    graph graph;
    heap_totals totals;
    int result;
    heap *heap = heap_recording_walk(&recording, &recording.layout, (uint32_t)recording.range_count,
                                     true, &graph, &result);
    session_must(heap && result == ONLOOKER_OK, "the recording cannot be walked");
    heap_get_totals(heap, &totals);
    session_must(!totals.broken, "the recording has broken objects");
    heap_recording_check(heap, &graph);
    object_count = graph.nodes - 1;
    objects = malloc(object_count * sizeof *objects);
    session_must(objects != NULL, "out of memory");
    for (uint32_t node = 1; node < graph.nodes; node++)
        objects[node - 1] = heap_address_of(heap, node);
    heap_free(heap);
}

#ifdef LIBFUZZER

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    const char *path = getenv("ONLOOKER_RECORDING");
    session_must(path != NULL, "ONLOOKER_RECORDING names no recording");
    heap_recording_load(&recording, path);
    learn_objects();
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    run_case((script){bytes, length, 0});
    return 0;
}

#else

static void run_numbered_case(uint64_t number)
{
    run_case((script){NULL, 0, hash_u64(number + 1)});
}

int main(int argc, char **argv)
{
    if (argc != 4)
        return 2;
    heap_recording_load(&recording, argv[1]);
    learn_objects();
    cases_run(strtoull(argv[2], NULL, 10), strtoull(argv[3], NULL, 10), run_numbered_case);
    free(objects);
    heap_recording_free(&recording);
    return 0;
}

#endif
