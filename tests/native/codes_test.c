#include "check.h"

#include "codes.h"

/* Objects as CPython 3.10 has them on a 64-bit machine; with a co_version where a test says so. */
enum {
    OBJECT_TYPE = 8,
    CODE_FILENAME = 16,
    CODE_NAME = 24,
    CODE_LINETABLE = 32,
    CODE_FIRSTLINENO = 40,
    CODE_VERSION = 44,
    CODE_SIZE = 48,
    SIZE = 16, /* of a bytes object; of a str, in code points */
    STATE = 32,
    ASCII_DATA = 48,
    COMPACT_DATA = 72,
    BYTES_DATA = 32
};
enum { COMPACT = 1 << 5, ASCII = 1 << 6 };

#define CODE_TYPE UINT64_C(0x5555)

static layout make_layout(bool versions)
{
    layout new;
    memset(&new, 0xff, sizeof new); /* ONLOOKER_NONE everywhere */
    new.object_type = OBJECT_TYPE;
    new.code_filename = CODE_FILENAME;
    new.code_name = CODE_NAME;
    new.code_linetable = CODE_LINETABLE;
    new.code_firstlineno = CODE_FIRSTLINENO;
    new.code_version = versions ? CODE_VERSION : ONLOOKER_NONE;
    new.unicode_length = SIZE;
    new.unicode_state = STATE;
    new.unicode_ascii_data = ASCII_DATA;
    new.unicode_compact_data = COMPACT_DATA;
    new.bytes_size = SIZE;
    new.bytes_data = BYTES_DATA;
    return new;
}

/* --- the target's memory: some pages from BASE on --- */

#define BASE UINT64_C(0x100000)
#define PAGES 6u
#define CODE (BASE + 64)
#define FILENAME (BASE + PAGE_SIZE)
#define NAME (BASE + PAGE_SIZE + 512)
#define LINETABLE (BASE + PAGE_SIZE + 1024)

static unsigned char arena[PAGES * PAGE_SIZE];

static void put(uint64_t address, uint64_t value, size_t width)
{
    memcpy(arena + (address - BASE), &value, width);
}

static void put_bytes(uint64_t address, const void *bytes, size_t length)
{
    memcpy(arena + (address - BASE), bytes, length);
}

static void put_str(uint64_t address, const char *value)
{
    put(address + SIZE, strlen(value), 8);
    put(address + STATE, 1 << 2 | COMPACT | ASCII, 4);
    put_bytes(address + ASCII_DATA, value, strlen(value));
}

static void put_table(uint64_t address, const char *value)
{
    put(address + SIZE, strlen(value), 8);
    put_bytes(address + BYTES_DATA, value, strlen(value));
}

static void put_code(uint64_t filename, uint64_t name, uint64_t linetable)
{
    put(CODE + OBJECT_TYPE, CODE_TYPE, 8);
    put(CODE + CODE_FILENAME, filename, 8);
    put(CODE + CODE_NAME, name, 8);
    put(CODE + CODE_LINETABLE, linetable, 8);
    put(CODE + CODE_FIRSTLINENO, 77, 4);
    put(CODE + CODE_VERSION, 5, 4);
}

static void put_ordinary_code(void)
{
    put_code(FILENAME, NAME, LINETABLE);
    put_str(FILENAME, "/srv/app.py");
    put_str(NAME, "function");
    put_table(LINETABLE, "lines");
}

static memory *open_arena(uint64_t pages)
{
    uint64_t addresses[PAGES];
    for (uint64_t i = 0; i < PAGES; i++)
        addresses[i] = BASE + i * PAGE_SIZE;
    memory *source = memory_open_recording(addresses, arena, pages);
    CHECK(source);
    return source;
}

/* --- looking at a code object, as walk.c does --- */

static void read_ranges(memory *source, const ranges *ranges, unsigned char *copy)
{
    for (uint32_t i = 0; i < ranges->count; i++)
        CHECK_EQUAL(memory_read(source, ranges->items[i].start, copy + ranges->items[i].at,
                                ranges->items[i].end - ranges->items[i].start),
                    ONLOOKER_OK);
}

#define NOT_LEARNT UINT32_MAX

/* Its index, or NOT_LEARNT. */
static uint32_t identify_at(codes *codes, memory *source, uint64_t address, uint64_t generation)
{
    ranges checked = {0};
    uint32_t code = NOT_LEARNT;
    for (uint32_t tries = 0; tries < 5; tries++) {
        unsigned char *copy = malloc(checked.bytes + 1);
        CHECK(copy);
        read_ranges(source, &checked, copy);
        enum codes_answer answer = codes_check(codes, address, generation, &checked, copy, &code);
        free(copy);
        if (answer == CODES_KNOWN)
            break;
        if (answer == CODES_UNKNOWN && codes_learn(codes, source, address) != ONLOOKER_OK)
            break;
        CHECK(tries < 4);
        CHECK(codes_want(codes, address, &checked));
        ranges_place(&checked);
    }
    ranges_free(&checked);
    return code;
}

static uint32_t identify_in(codes *codes, uint64_t pages, uint64_t generation)
{
    memory *source = open_arena(pages);
    uint32_t code = identify_at(codes, source, CODE, generation);
    memory_close(source);
    return code;
}

static uint32_t identify(codes *codes)
{
    return identify_in(codes, PAGES, 0);
}

static codes make_codes(const layout *layout)
{
    codes new = {0};
    CHECK(codes_init(&new, layout, CODE_TYPE));
    return new;
}

static void check_text(const text *text, const void *value, uint64_t length, uint32_t kind)
{
    CHECK_EQUAL(text->length, length);
    CHECK_EQUAL(text->kind, kind);
    CHECK(!memcmp(text->data, value, length * kind));
}

static void check_name(const codes *codes, uint32_t index, const char *name)
{
    code_text text;
    CHECK(codes_text(codes, index, &text));
    check_text(&text.name, name, strlen(name), 1);
}

TEST(a_code_object_has_the_texts_that_lie_there)
{
    layout layout = make_layout(false);
    codes codes = make_codes(&layout);
    const uint16_t wide[] = {0x416, 0x443, 0x43a};
    const uint32_t astral[] = {0x10400, 'x'};
    put_ordinary_code();
    put(CODE + CODE_FIRSTLINENO, 123456, 4);
    put(NAME + SIZE, 3, 8);
    put(NAME + STATE, 2 << 2 | COMPACT, 4);
    put_bytes(NAME + COMPACT_DATA, wide, sizeof wide);
    put(FILENAME + SIZE, 2, 8);
    put(FILENAME + STATE, 4 << 2 | COMPACT, 4);
    put_bytes(FILENAME + COMPACT_DATA, astral, sizeof astral);
    code_text text;
    uint32_t code = identify(&codes);
    CHECK(code >= ONLOOKER_CODE_FIRST);
    CHECK(codes_text(&codes, code, &text));
    check_text(&text.name, wide, 3, 2);
    check_text(&text.filename, astral, 2, 4);
    CHECK_EQUAL(text.linetable_size, 5);
    CHECK(!memcmp(text.linetable, "lines", 5));
    CHECK_EQUAL(text.firstlineno, 123456);
    CHECK(!codes_text(&codes, code + 1, &text));
    CHECK(!codes_text(&codes, ONLOOKER_CODE_NATIVE, &text));
    CHECK_EQUAL(identify(&codes), code);
    codes_free(&codes);
}

TEST(a_string_whose_data_lies_elsewhere)
{
    layout layout = make_layout(false);
    codes codes = make_codes(&layout);
    put_ordinary_code();
    put(NAME + STATE, 1 << 2 | ASCII, 4);
    put(NAME + COMPACT_DATA, BASE + 3 * PAGE_SIZE, 8);
    put_bytes(BASE + 3 * PAGE_SIZE, "distance", 8);
    check_name(&codes, identify(&codes), "distance");
    codes_free(&codes);
}

/* The new content has the same length and lies at the same place as the old one. */
static void check_other_content(const layout *layout, uint64_t address, uint64_t data,
                                const char *before, const char *after, bool is_name)
{
    codes codes = make_codes(layout);
    (void)address;
    put_bytes(data, before, strlen(before));
    uint32_t first = identify(&codes), second;
    CHECK(first != NOT_LEARNT);
    put_bytes(data, after, strlen(after));
    second = identify(&codes);
    CHECK(second != NOT_LEARNT && second != first);
    if (is_name) {
        check_name(&codes, first, before);
        check_name(&codes, second, after);
    }
    CHECK_EQUAL(identify(&codes), second);
    codes_free(&codes);
}

TEST(without_versions_content_tells_code_objects_apart)
{
    layout layout = make_layout(false);
    /* Wherever the object lies against the end of a page. */
    for (uint64_t back = 0; back < 208; back += 8) {
        uint64_t at = BASE + 3 * PAGE_SIZE - back;
        put_ordinary_code();
        put_code(FILENAME, at, LINETABLE);
        put_str(at, "function_0001");
        check_other_content(&layout, at, at + ASCII_DATA, "function_0001", "function_0002", true);
        put_code(at, NAME, LINETABLE);
        put_str(at, "/srv/app/module_0001.py");
        check_other_content(&layout, at, at + ASCII_DATA, "/srv/app/module_0001.py",
                            "/srv/app/module_0002.py", false);
        put_code(FILENAME, NAME, at);
        put_table(at, "a line table 1");
        check_other_content(&layout, at, at + BYTES_DATA, "a line table 1", "a line table 2",
                            false);
    }
}

TEST(without_versions_long_names_may_differ_at_their_end)
{
    layout layout = make_layout(false);
    put_ordinary_code();
    char before[101] = {0}, after[101] = {0};
    memset(before, 'n', 100);
    memset(after, 'n', 100);
    after[99] = 'm';
    put_str(NAME, before);
    check_other_content(&layout, NAME, NAME + ASCII_DATA, before, after, true);
}

TEST(fields_tell_code_objects_apart)
{
    for (int versions = 0; versions < 2; versions++) {
        layout layout = make_layout(versions);
        codes codes = make_codes(&layout);
        put_ordinary_code();
        uint32_t first = identify(&codes);
        put(CODE + CODE_FIRSTLINENO, 78, 4);
        uint32_t second = identify(&codes);
        CHECK(second != first);
        put_str(NAME + 2048, "another");
        put(CODE + CODE_NAME, NAME + 2048, 8);
        uint32_t third = identify(&codes);
        CHECK(third != first && third != second);
        check_name(&codes, third, "another");
        put(CODE + CODE_NAME, NAME, 8);
        put(CODE + CODE_FIRSTLINENO, 77, 4);
        CHECK_EQUAL(identify(&codes), first); /* the same text: the same code */
        codes_free(&codes);
    }
}

TEST(a_version_tells_code_objects_apart)
{
    layout layout = make_layout(true);
    codes codes = make_codes(&layout);
    put_ordinary_code();
    uint32_t first = identify(&codes);
    check_name(&codes, first, "function");
    put_str(NAME, "reused_2");
    CHECK_EQUAL(identify(&codes), first); /* nobody looks as long as the version is the same */
    put(CODE + CODE_VERSION, 6, 4);
    uint32_t second = identify(&codes);
    CHECK(second != first);
    check_name(&codes, second, "reused_2");
    codes_free(&codes);
}

TEST(a_generation_is_a_time_in_which_nothing_was_freed)
{
    layout layout = make_layout(false);
    codes codes = make_codes(&layout);
    put_ordinary_code();
    uint32_t first = identify_in(&codes, PAGES, 1000), code = NOT_LEARNT;
    put_str(NAME, "reused_2");
    ranges nothing = {0};
    CHECK_EQUAL(codes_check(&codes, CODE, 1000, &nothing, NULL, &code), CODES_KNOWN);
    CHECK_EQUAL(code, first);
    CHECK_EQUAL(codes_check(&codes, CODE, 1001, &nothing, NULL, &code), CODES_UNREAD);
    CHECK_EQUAL(codes_check(&codes, CODE, 0, &nothing, NULL, &code), CODES_UNREAD);
    CHECK_EQUAL(codes_check(&codes, CODE + 8, 1000, &nothing, NULL, &code), CODES_UNKNOWN);
    uint32_t second = identify_in(&codes, PAGES, 1001);
    CHECK(second != first);
    check_name(&codes, second, "reused_2");
    codes_free(&codes);
}

TEST(objects_at_the_end_of_memory_can_be_read)
{
    layout layout = make_layout(false);
    for (uint64_t i = 0; i < 3; i++) {
        codes codes = make_codes(&layout);
        put_ordinary_code();
        uint64_t end = BASE + 2 * PAGE_SIZE, at = end - (i < 2 ? ASCII_DATA : BYTES_DATA) - 8;
        put_code(i == 0 ? at : FILENAME, i == 1 ? at : NAME, i == 2 ? at : LINETABLE);
        if (i < 2)
            put_str(at, "12345678");
        else
            put_table(at, "12345678");
        uint32_t code = identify_in(&codes, 2, 0);
        CHECK(code >= ONLOOKER_CODE_FIRST && code != NOT_LEARNT);
        CHECK_EQUAL(identify_in(&codes, 2, 0), code);
        codes_free(&codes);
    }
}

static void check_not_learnt(const layout *layout)
{
    codes codes = make_codes(layout);
    memory *source = open_arena(PAGES);
    CHECK_EQUAL(codes_learn(&codes, source, CODE), ONLOOKER_FAULT);
    CHECK_EQUAL(codes.entry_count, ONLOOKER_CODE_FIRST);
    memory_close(source);
    codes_free(&codes);
    put_ordinary_code();
}

TEST(what_is_no_code_object_is_refused)
{
    layout layout = make_layout(false);
    put_ordinary_code();
    put(CODE + OBJECT_TYPE, CODE_TYPE + 1, 8);
    check_not_learnt(&layout);
    const uint32_t kinds[] = {0, 3, 5, 6, 7};
    for (uint32_t i = 0; i < 5; i++) {
        put(NAME + STATE, kinds[i] << 2 | COMPACT | ASCII, 4);
        check_not_learnt(&layout);
        put(FILENAME + STATE, kinds[i] << 2 | COMPACT, 4);
        check_not_learnt(&layout);
    }
    const uint64_t lengths[] = {(1 << 16) + 1, UINT32_MAX, INT64_MAX, UINT64_MAX / 2,
                                UINT64_C(1) << 62};
    for (uint32_t i = 0; i < 5; i++) {
        put(NAME + SIZE, lengths[i], 8);
        check_not_learnt(&layout);
        put(FILENAME + SIZE, lengths[i], 8);
        check_not_learnt(&layout);
        put(LINETABLE + SIZE, lengths[i] + (UINT64_C(1) << 26), 8);
        check_not_learnt(&layout);
    }
    put(NAME + SIZE, 1 << 16, 8); /* possible, but beyond what is mapped */
    check_not_learnt(&layout);
    const uint64_t addresses[] = {
        0, 1, BASE - 8, BASE + PAGES * PAGE_SIZE - 8, UINT64_MAX, UINT64_MAX - 7};
    for (uint32_t i = 0; i < 6; i++) {
        for (uint32_t field = CODE_FILENAME; field <= CODE_LINETABLE; field += 8) {
            put(CODE + field, addresses[i], 8);
            check_not_learnt(&layout);
        }
    }
}

TEST(equal_text_is_one_code_and_released_text_is_not_asked_for_again)
{
    layout layout = make_layout(false);
    codes codes = make_codes(&layout);
    put_ordinary_code();
    put_bytes(CODE + 1024, arena + (CODE - BASE), CODE_SIZE);
    memory *source = open_arena(PAGES);
    uint32_t code = identify_at(&codes, source, CODE, 0);
    CHECK_EQUAL(identify_at(&codes, source, CODE + 1024, 0), code);
    CHECK_EQUAL(codes.entry_count, code + 1);
    code_text text;
    codes_release(&codes, code + 1);
    CHECK(!codes_text(&codes, code, &text));
    CHECK_EQUAL(identify_at(&codes, source, CODE, 0), code);
    CHECK_EQUAL(codes_learn(&codes, source, CODE), ONLOOKER_OK);
    CHECK(!codes_text(&codes, code, &text));
    codes_release(&codes, UINT32_MAX);
    memory_close(source);
    codes_free(&codes);
}

TEST(text_that_nobody_takes_away_is_kept_only_so_far)
{
    enum { TABLE = 20 << 20, CODES = 6, FIT = 3 };
    uint64_t count = 2 + TABLE / PAGE_SIZE + 1;
    unsigned char *content = calloc(count, PAGE_SIZE);
    uint64_t *addresses = calloc(count, sizeof *addresses);
    CHECK(content && addresses);
    put_ordinary_code();
    put(CODE + CODE_LINETABLE, BASE + 2 * PAGE_SIZE, 8);
    for (uint64_t i = 0; i < count; i++)
        addresses[i] = BASE + i * PAGE_SIZE;
    memcpy(content, arena, 2 * PAGE_SIZE);
    for (uint32_t i = 0; i < CODES; i++) {
        unsigned char *code = content + 1024 + (size_t)i * CODE_SIZE;
        memcpy(code, arena + (CODE - BASE), CODE_SIZE);
        memcpy(code + CODE_FIRSTLINENO, &i, sizeof i);
    }
    uint64_t size = TABLE;
    memcpy(content + 2 * PAGE_SIZE + SIZE, &size, sizeof size);
    memory *source = memory_open_recording(addresses, content, count);
    CHECK(source);
    layout layout = make_layout(true);
    codes codes = make_codes(&layout);
    uint32_t learnt = 0;
    for (uint32_t rounds = 1; learnt < CODES; rounds++) {
        uint32_t before = learnt, code = 0;
        while (learnt < CODES && code != NOT_LEARNT) {
            code = identify_at(&codes, source, BASE + 1024 + learnt * CODE_SIZE, 0);
            CHECK(code == NOT_LEARNT || codes.entries[code].text.firstlineno == (int)learnt);
            learnt += code != NOT_LEARNT;
        }
        CHECK_EQUAL(learnt - before, FIT);
        CHECK(codes.kept_size <= 1 << 26);
        codes_release(&codes, codes.entry_count);
        CHECK_EQUAL(codes.kept_size, 0);
        CHECK(rounds < CODES);
    }
    memory_close(source);
    free(content);
    free(addresses);
    codes_free(&codes);
}

TEST(more_code_objects_than_there_is_room_for)
{
    enum { CODES = 140000, EACH = CODE_SIZE };
    uint64_t count = (uint64_t)CODES * EACH / PAGE_SIZE + 2;
    unsigned char *content = calloc(count, PAGE_SIZE);
    uint64_t *addresses = calloc(count, sizeof *addresses);
    CHECK(content && addresses);
    put_ordinary_code();
    for (uint64_t i = 0; i < count; i++)
        addresses[i] = BASE + i * PAGE_SIZE;
    memcpy(content, arena, 2 * PAGE_SIZE); /* the strings lie in the second page */
    for (uint64_t i = 0; i < CODES; i++) {
        unsigned char *code = content + 2 * PAGE_SIZE + i * EACH;
        if (code + EACH > content + count * PAGE_SIZE)
            break;
        memcpy(code, arena + (CODE - BASE), EACH);
        uint32_t firstlineno = (uint32_t)i;
        memcpy(code + CODE_FIRSTLINENO, &firstlineno, sizeof firstlineno);
    }
    memory *source = memory_open_recording(addresses, content, count);
    CHECK(source);
    layout layout = make_layout(true);
    codes codes = make_codes(&layout);
    uint32_t overflows = 0;
    for (uint64_t i = 1; i < CODES - 200; i++) {
        uint32_t code = identify_at(&codes, source, BASE + 2 * PAGE_SIZE + i * EACH, 0);
        overflows += code == ONLOOKER_CODE_OVERFLOW;
        CHECK(code == ONLOOKER_CODE_OVERFLOW || codes.entries[code].text.firstlineno == (int)i);
    }
    CHECK(overflows > 0 && overflows < CODES / 4);
    /* Those that were met first are still known, though their addresses were forgotten. */
    CHECK_EQUAL(identify_at(&codes, source, BASE + 2 * PAGE_SIZE + EACH, 0), ONLOOKER_CODE_FIRST);
    free(content);
    free(addresses);
    memory_close(source);
    codes_free(&codes);
}

TEST(huge_layouts_are_refused)
{
    layout layout = make_layout(true);
    codes codes = {0};
    layout.code_name = 1 << 20;
    CHECK(!codes_init(&codes, &layout, CODE_TYPE));
    codes_free(&codes);
}
