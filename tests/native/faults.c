/* faults.c: lets every single read, and every single allocation, of a recorder's life fail in turn.
 *
 *     faults RECORDING reads|allocations
 *
 * Linked with --wrap for malloc, calloc and realloc. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "allocations.h"
#include "hostile_memory.h"
#include "memory.h"
#include "session.h"

#define TICKS 3

static recorded recording;
static memory *source;

static recorder *open_recorder(void)
{
    return recorder_open(source, 0, &recording.layout, &recording.options);
}

/* After a failure, whatever it was: what was counted makes sense, and the next tick is a good one.
 */
static void go_on(recorder *recorder)
{
    session_check(recorder);
    allocations_left = 0;
    hostile_reset(source);
    session_must(recorder_tick(recorder) == ONLOOKER_OK, "the failure stays");
    recorder_finish(recorder);
    session_check(recorder);
    recorder_close(recorder);
}

/* Read number INDEX gets RESULT. False when there are not so many reads. */
static bool fail_read(uint64_t index, int result)
{
    hostile_reset(source);
    recorder *recorder = open_recorder();
    session_must(recorder != NULL, "the recorder cannot be opened");
    hostile_fail(source, index, result);
    bool failed = false;
    for (uint32_t i = 0; i < TICKS && !failed; i++) {
        int got = recorder_tick(recorder);
        failed = hostile_reads(source) > index;
        if (!failed)
            session_must(got == ONLOOKER_OK, "a tick before the failure");
        else if (result == ONLOOKER_FAULT)
            session_must(got == ONLOOKER_OK || got == ONLOOKER_FAULT, "a tick with a fault");
        else
            session_must(got == result, "a failure that ends all is not passed on");
    }
    go_on(recorder);
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
    hostile_reset(source);
    allocations_left = index;
    recorder *recorder = open_recorder();
    if (!recorder) {
        session_must(!allocations_left, "the recorder cannot be opened");
        return true;
    }
    int result = ONLOOKER_OK;
    for (uint32_t i = 0; i < TICKS && result == ONLOOKER_OK; i++)
        result = recorder_tick(recorder);
    bool failed = !allocations_left;
    session_must(result == ONLOOKER_OK || (failed && result == ONLOOKER_NO_MEMORY),
                 "the result of a tick");
    go_on(recorder);
    return failed;
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
    recorded_load(&recording, argv[1]);
    source = hostile_open(&recording);
    uint64_t cases =
        strcmp(argv[2], "reads") ? allocations_fail_each(fail_allocation) : fail_reads();
    printf("%llu\n", (unsigned long long)cases);
    memory_close(source);
    recorded_free(&recording);
    return 0;
}
