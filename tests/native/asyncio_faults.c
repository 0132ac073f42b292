/* asyncio_faults.c: lets every single read, and every single allocation, of a look at tasks fail in
 * turn.
 *
 *     asyncio_faults RECORDING ROOTS reads|allocations
 *
 * Linked with --wrap for malloc, calloc and realloc. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "allocations.h"
#include "asyncio_recording.h"
#include "memory.h"
#include "session.h"

static recorded recording;
static recorded_roots roots;
static memory *source;

/* A look, and its result; *LOOK is NULL if there was no memory for it. */
static int look_at(asyncio_look **look)
{
    *look = asyncio_open(source, &recording.layout, &roots.layout, recording.options.code_type);
    int result = *look ? asyncio_read(*look, roots.roots, roots.count) : ONLOOKER_NO_MEMORY;
    if (*look)
        asyncio_check(*look, roots.count);
    return result;
}

/* Read number INDEX gets RESULT. False when there are not so many reads. */
static bool fail_read(uint64_t index, int result)
{
    asyncio_look *look;
    hostile_reset(source);
    hostile_fail(source, index, result);
    int got = look_at(&look);
    bool failed = hostile_reads(source) > index;
    session_must(got == (failed && result != ONLOOKER_FAULT ? result : ONLOOKER_OK),
                 "the result of a look with a fault");
    asyncio_close(look);
    return failed;
}

static uint64_t fail_reads(void)
{
    static const int results[] = {ONLOOKER_FAULT, ONLOOKER_GONE, ONLOOKER_DENIED};
    uint64_t cases = 0;
    for (size_t i = 0; i < sizeof results / sizeof *results; i++)
        for (uint64_t index = 0; fail_read(index, results[i]); index++)
            cases++;
    return cases;
}

/* Allocation number INDEX, counted from 1, fails. False when there are not so many. */
static bool fail_allocation(uint64_t index)
{
    asyncio_look *look;
    hostile_reset(source);
    allocations_left = index;
    int result = look_at(&look);
    bool failed = !allocations_left;
    session_must(result == ONLOOKER_OK || (failed && result == ONLOOKER_NO_MEMORY),
                 "the result of a look without memory");
    allocations_left = 0;
    asyncio_close(look);
    return failed;
}

int main(int argc, char **argv)
{
    if (argc != 4)
        return 2;
    recorded_load(&recording, argv[1]);
    recorded_roots_load(&roots, argv[2]);
    source = hostile_open(&recording);
    uint64_t cases =
        strcmp(argv[3], "reads") ? allocations_fail_each(fail_allocation) : fail_reads();
    printf("%llu\n", (unsigned long long)cases);
    memory_close(source);
    recorded_free(&recording);
    return 0;
}
