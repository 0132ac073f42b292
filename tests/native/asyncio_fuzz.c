/* asyncio_fuzz.c: reads tasks from recorded memory of which words that it needs were changed.
 *
 *     asyncio_fuzz RECORDING ROOTS FIRST COUNT      cases FIRST to FIRST + COUNT - 1
 *
 * as fuzz_replay.c does with threads. */
#include <stdlib.h>

#include "asyncio_recording.h"
#include "lies.h"
#include "memory.h"
#include "session.h"

/* Far beyond what a look needs with these recordings, far below a hang. */
#define READS_LIMIT 4200000u

#define CONFIRMED 8u /* tasks of a look */

static recorded recording;
static recorded_roots roots;
static memory *source;

/* What is told anew must be as sound as what was told first. */
static void confirm_some(asyncio_look *look)
{
    asyncio_tasks tasks;
    asyncio_get(look, &tasks);
    asyncio_piece piece = {.address = recording.addresses[0], .length = PAGE_SIZE};
    for (uint32_t i = 0; i < tasks.task_count && i < CONFIRMED; i++)
        asyncio_confirm(look, i, &piece, i % 2, recording.pages);
}

static asyncio_look *look_at(const layout *codes, const asyncio_layout *layout, uint64_t code_type)
{
    asyncio_look *look = asyncio_open(source, codes, layout, code_type);
    if (!look)
        return NULL;
    int result = asyncio_read(look, roots.roots, roots.count);
    session_must(result == ONLOOKER_OK, "the result of a look");
    confirm_some(look);
    asyncio_check(look, roots.count);
    return look;
}

static void run_case(script script)
{
    static const uint32_t rarities[] = {0, 0, 0, 100000, 10000, 3000, 300, 30};
    layout codes = recording.layout;
    asyncio_layout layout = roots.layout;
    hostile_reset(source);
    uint32_t flags = script_take(&script, 2);
    if (flags & 0x100)
        lies_in_offsets(&script, (int32_t *)&codes, sizeof codes / sizeof(int32_t));
    if (flags & 0x200)
        lies_in_offsets(&script, (int32_t *)&layout, sizeof layout / sizeof(int32_t));
    lies_in_words(&script, source);
    hostile_make_noise(source, rarities[flags >> 10 & 7], flags);
    asyncio_close(look_at(&codes, &layout, flags & 0x2000 ? 0 : recording.options.code_type));
    session_must(hostile_reads(source) < READS_LIMIT, "a look reads without end");
}

/* What is read piece by piece, since some word changes, is what a lie must be about. */
static void learn_words(void)
{
    asyncio_tasks tasks;
    hostile_ignore_blocks(source);
    asyncio_look *look = look_at(&recording.layout, &roots.layout, recording.options.code_type);
    session_must(look, "the recording's own layout is refused");
    asyncio_get(look, &tasks);
    session_must(tasks.task_count > 10 && !tasks.unsettled, "the recording cannot be read");
    asyncio_close(look);
    hostile_make_noise(source, 100000, 1);
    asyncio_close(look_at(&recording.layout, &roots.layout, recording.options.code_type));
}

int main(int argc, char **argv)
{
    if (argc != 5)
        return 2;
    recorded_load(&recording, argv[1]);
    recorded_roots_load(&roots, argv[2]);
    source = hostile_open(&recording);
    learn_words();
    lies_run_cases(strtoull(argv[3], NULL, 10), strtoull(argv[4], NULL, 10), run_case);
    memory_close(source);
    recorded_free(&recording);
    return 0;
}
