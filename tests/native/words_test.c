#include "check.h"

#include "memory.h"
#include "onlooker_words.h"

enum { WORDS = PAGE_SIZE / 8 };

static uint64_t pages[2][WORDS];

/* Two pages, with one that can't be read between them. */
static memory *open(void)
{
    static const uint64_t addresses[] = {0x10000, 0x10000 + 2 * PAGE_SIZE};
    memory *source = memory_open_recording(addresses, (unsigned char *)pages, 2);
    CHECK(source);
    return source;
}

static uint64_t find(uint64_t start, uint64_t *found, uint64_t limit)
{
    static const uint64_t words[] = {0x7f0000001230, 0x55000000};
    memory *source = open();
    uint64_t count = words_find(source, start, 0x10000 + 4 * PAGE_SIZE, words, 2, found, limit);
    memory_close(source);
    return count;
}

TEST(words_are_found_around_what_cannot_be_read)
{
    uint64_t found[8];
    pages[0][0] = pages[1][WORDS - 1] = 0x7f0000001230;
    pages[0][5] = 0x55000000;
    pages[0][6] = 0x55000001;
    CHECK_EQUAL(find(0x10000, found, 8), 3);
    CHECK_EQUAL(found[0], 0x10000);
    CHECK_EQUAL(found[1], 0x10028);
    CHECK_EQUAL(found[2], 0x10000 + 3 * PAGE_SIZE - 8);
}

TEST(a_search_goes_on_where_room_ran_out)
{
    uint64_t found[2];
    pages[0][3] = pages[0][4] = pages[1][1] = 0x55000000;
    CHECK_EQUAL(find(0x10000, found, 2), 2);
    CHECK_EQUAL(found[1], 0x10020);
    CHECK_EQUAL(find(found[1] + 8, found, 2), 1);
}
