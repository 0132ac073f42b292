#include "check.h"

#include "contexts.h"

/* A target whose only context has a variable, whose default is a bytes object of eight bytes. */
enum { SLOT = 0x1000, VARIABLE = 0x1100, TYPE = 0x1200, VALUE = 0x1300, NAME = 0x1400 };
static const context_layout LAYOUT = {
    .contextvar_default = 24,
    .contextvar_hash = 56,
    .object_type = 8,
    .type_name = 24,
    .type_flags = 168,
    .bytes_size = 16,
    .bytes_data = 32,
};
static unsigned char page[PAGE_SIZE];

static void put(uint64_t address, uint64_t word)
{
    memcpy(page + address - SLOT, &word, sizeof word);
}

static uint32_t read_set(contexts *contexts, uint64_t value)
{
    uint32_t set = UINT32_MAX;
    put(VALUE + 32, value);
    memory *source = memory_open_recording(&(uint64_t){SLOT}, page, 1);
    CHECK_EQUAL(contexts_read(contexts, source, SLOT, &set), ONLOOKER_OK);
    memory_close(source);
    return set;
}

TEST(what_there_is_no_room_for_has_no_values)
{
    put(VARIABLE + 24, VALUE);
    put(VARIABLE + 56, 17);
    put(VALUE + 8, TYPE);
    put(VALUE + 16, 8);
    put(TYPE + 24, NAME);
    put(TYPE + 168, 1 << 27);
    contexts *contexts = contexts_open(&LAYOUT);
    context_variable variable = {.address = VARIABLE, .hash = 17};
    CHECK(contexts && contexts_watch(contexts, &variable, 1, 1));
    uint32_t first = read_set(contexts, 1), count, size;
    CHECK(first != CONTEXTS_NO_VALUES);
    CHECK_EQUAL(read_set(contexts, 1), first);
    uint64_t value = 2;
    while (!contexts_overflow(contexts))
        CHECK_EQUAL(read_set(contexts, value++) == CONTEXTS_NO_VALUES,
                    contexts_overflow(contexts) != 0);
    CHECK(value > 10000 && value < 100000);
    CHECK_EQUAL(read_set(contexts, 1), first); /* what is there can still be found */
    const context_value *values = contexts_values(contexts, &count);
    const unsigned char *bytes = contexts_bytes(contexts, &size);
    CHECK(values[contexts_sets(contexts, &count)[first]].at == 0 && size > 8 && bytes[0] == 1);
    contexts_close(contexts);
}

TEST(a_variable_that_is_gone_gives_nothing)
{
    put(VARIABLE + 24, VALUE);
    put(VARIABLE + 56, 18); /* another hash: another variable is there now */
    contexts *contexts = contexts_open(&LAYOUT);
    context_variable variable = {.address = VARIABLE, .hash = 17};
    CHECK(contexts && contexts_watch(contexts, &variable, 1, 1));
    CHECK_EQUAL(read_set(contexts, 1), CONTEXTS_NO_VALUES);
    contexts_close(contexts);
}

TEST(layouts_and_labels_that_make_no_sense_are_refused)
{
    context_layout wrong = LAYOUT;
    wrong.hamt_root = 1 << 20;
    CHECK(!contexts_open(&wrong));
    contexts *contexts = contexts_open(&LAYOUT);
    context_variable variable = {.label = 1};
    CHECK(!contexts_watch(contexts, &variable, 1, 1));
    CHECK(!contexts_watch(contexts, &variable, 1, ONLOOKER_LABELS_LIMIT + 1));
    CHECK(contexts_watch(contexts, &variable, 1, 2));
    variable.is_span = 1;
    CHECK(!contexts_watch(contexts, &variable, 1, 2));
    contexts_close(contexts);
}
