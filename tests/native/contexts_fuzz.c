/* contexts_fuzz.c: reads values of context variables of recorded memory of which words that it
 * needs were changed.
 *
 *     contexts_fuzz RECORDING WANTED COUNT      COUNT cases
 *
 * WANTED has a context_layout, the address of the pointer to the context, how many variables there
 * are, of how many labels, and the variables. */
#include <stdio.h>
#include <stdlib.h>

#include "contexts.h"
#include "lies.h"
#include "session.h"

#define READS_LIMIT 20000u

static struct {
    context_layout layout;
    uint64_t slot;
    uint32_t count, labels;
} wanted;
static context_variable variables[ONLOOKER_VARIABLES_LIMIT];
static recorded recording;
static memory *source;

static void load_wanted(const char *path)
{
    FILE *file = fopen(path, "rb");
    session_must(file && fread(&wanted, sizeof wanted, 1, file) == 1 &&
                     wanted.count <= ONLOOKER_VARIABLES_LIMIT &&
                     fread(variables, sizeof *variables, wanted.count, file) == wanted.count,
                 "what is wanted cannot be read");
    fclose(file);
}

static void check(const contexts *contexts, uint32_t set)
{
    uint32_t value_count, size, set_count;
    const context_value *values = contexts_values(contexts, &value_count);
    const unsigned char *bytes = contexts_bytes(contexts, &size);
    const uint32_t *sets = contexts_sets(contexts, &set_count);
    session_must(set < set_count, "there is no such set");
    volatile uint64_t total = 0;
    for (uint32_t i = 0; i < wanted.labels; i++) {
        uint32_t value = sets[set * wanted.labels + i];
        session_must(value < value_count, "there is no such value");
        session_must(values[value].at + values[value].size <= size, "a value's bytes");
        for (uint32_t at = 0; at < values[value].size; at++)
            total += bytes[values[value].at + at];
    }
}

static int read_values(void)
{
    contexts *contexts = contexts_open(&wanted.layout);
    uint32_t set = 0;
    session_must(contexts && contexts_watch(contexts, variables, wanted.count, wanted.labels),
                 "the recording's own layout is refused");
    uint64_t reads = hostile_reads(source);
    int result = contexts_read(contexts, source, wanted.slot, &set);
    session_must(result == ONLOOKER_OK || result == ONLOOKER_FAULT, "the result");
    session_must(hostile_reads(source) - reads < READS_LIMIT, "it reads without end");
    check(contexts, set);
    contexts_close(contexts);
    return result;
}

static void run_case(script script)
{
    uint32_t noise = script_take(&script, 2);
    hostile_reset(source);
    lies_in_words(&script, source);
    hostile_make_noise(source, noise % 4 ? 0 : 30, noise);
    read_values();
}

int main(int argc, char **argv)
{
    if (argc != 4)
        return 2;
    recorded_load(&recording, argv[1]);
    load_wanted(argv[2]);
    source = hostile_open(&recording);
    session_must(read_values() == ONLOOKER_OK, "the recording cannot be read");
    lies_run_cases(0, strtoull(argv[3], NULL, 10), run_case);
    memory_close(source);
    recorded_free(&recording);
    return 0;
}
