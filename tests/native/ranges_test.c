#include "check.h"

#include "ranges.h"

/* The model: which bytes of some pages were asked for. */
#define PAGES 40u
#define SPAN (PAGES * PAGE_SIZE)
#define BASE UINT64_C(0x7f0000000000)

static bool asked[SPAN], covered[SPAN], page_asked[PAGES];

static void ask(uint64_t start, uint32_t length)
{
    for (uint64_t at = start - BASE; at < start - BASE + length; at++) {
        asked[at] = true;
        page_asked[at / PAGE_SIZE] = true;
    }
}

static void check_shape(const ranges *ranges)
{
    uint64_t bytes = 0;
    memset(covered, 0, sizeof covered);
    for (uint32_t i = 0; i < ranges->count; i++) {
        const range *range = &ranges->items[i];
        CHECK(range->start < range->end);
        CHECK_EQUAL(range->at, bytes);
        bytes += range->end - range->start;
        memset(covered + (range->start - BASE), 1, range->end - range->start);
        if (!i)
            continue;
        const struct range *before = &ranges->items[i - 1];
        CHECK(before->end < range->start);
        /* What could be read as one piece is one piece. */
        CHECK(range->start - before->end > 1024 ||
              PAGE_OF(range->start) - PAGE_OF(before->end - 1) > PAGE_SIZE);
    }
    CHECK_EQUAL(ranges->bytes, bytes);
}

static void check_bytes(void)
{
    for (uint32_t at = 0; at < SPAN; at++) {
        CHECK(!asked[at] || covered[at]);
        /* Only pages that were asked for are known to exist. */
        CHECK(!covered[at] || page_asked[at / PAGE_SIZE]);
    }
}

static void check_finding(const ranges *ranges)
{
    for (uint32_t i = 0; i < 300; i++) {
        uint64_t start = BASE + check_random(SPAN - 200);
        uint32_t length = (uint32_t)check_random(200) + 1, at = 0;
        uint32_t hint = (uint32_t)check_random(3) ? (uint32_t)check_random(40) : UINT32_MAX;
        while (at < ranges->count &&
               (start < ranges->items[at].start || start + length > ranges->items[at].end))
            at++;
        int64_t found = ranges_find(ranges, start, length, &hint);
        if (at == ranges->count) {
            CHECK_EQUAL(found, -1);
        } else {
            CHECK_EQUAL(found, ranges->items[at].at + (start - ranges->items[at].start));
            CHECK_EQUAL(hint, at);
            CHECK_EQUAL(ranges_find(ranges, start, length, &hint), found);
        }
    }
}

TEST(ranges_are_sorted_disjoint_and_merged)
{
    for (uint32_t round = 0; round < 150; round++) {
        ranges ranges = {0};
        memset(asked, 0, sizeof asked);
        memset(page_asked, 0, sizeof page_asked);
        /* Sparse, dense, with long pieces and with short ones. */
        uint32_t adds = (uint32_t)check_random(60) + 1, longest = 1u << check_random(14);
        for (uint32_t i = 0; i < adds; i++) {
            uint32_t length = (uint32_t)check_random(longest) + 1;
            uint64_t start = BASE + check_random(SPAN - length);
            if (check_random(4) == 0) /* up to the end of a page, or from its start */
                start = check_random(2) ? PAGE_OF(start) : PAGE_OF(start + length) - length;
            start = start < BASE ? BASE : start;
            CHECK(ranges_add(&ranges, start, length));
            ask(start, length);
            ranges_place(&ranges);
            check_shape(&ranges);
        }
        check_bytes();
        check_finding(&ranges);
        ranges_free(&ranges);
    }
}

TEST(neighbours_merge_up_to_a_kilobyte_apart)
{
    ranges ranges = {0};
    CHECK(ranges_add(&ranges, BASE + 100, 50));
    CHECK(ranges_add(&ranges, BASE + 150 + 1024, 50));
    CHECK_EQUAL(ranges.count, 1);
    CHECK(ranges_add(&ranges, BASE + 150 + 1024 + 50 + 1025, 1));
    CHECK_EQUAL(ranges.count, 2);
    /* A piece between two joins both to one. */
    CHECK(ranges_add(&ranges, BASE + 150 + 1024 + 500, 1));
    CHECK_EQUAL(ranges.count, 1);
    CHECK_EQUAL(ranges.items[0].start, BASE + 100);
    CHECK_EQUAL(ranges.items[0].end, BASE + 150 + 1024 + 50 + 1025 + 1);
    ranges_free(&ranges);
}

TEST(impossible_addresses_are_refused)
{
    ranges ranges = {0};
    CHECK(!ranges_add(&ranges, 0, 8));
    CHECK(!ranges_add(&ranges, PAGE_SIZE - 1, 8));
    CHECK(!ranges_add(&ranges, UINT64_C(1) << 56, 8));
    CHECK(!ranges_add(&ranges, UINT64_MAX - 7, 8));
    CHECK(!ranges_add(&ranges, UINT64_MAX, 8));
    CHECK(!ranges_add(&ranges, BASE, 0));
    CHECK(!ranges_add(&ranges, BASE, RANGES_BYTES_LIMIT + 1));
    CHECK_EQUAL(ranges.count, 0);
    CHECK_EQUAL(ranges.bytes, 0);
    CHECK(ranges_add(&ranges, PAGE_SIZE, 8));
    CHECK(ranges_add(&ranges, (UINT64_C(1) << 56) - 8, 8));
    ranges_free(&ranges);
}

static void check_refused(ranges *ranges, uint64_t start, uint32_t length)
{
    uint32_t count = ranges->count, bytes = ranges->bytes;
    range *before = malloc(count * sizeof *before);
    CHECK(before);
    memcpy(before, ranges->items, count * sizeof *before);
    CHECK(!ranges_add(ranges, start, length));
    CHECK_EQUAL(ranges->count, count);
    CHECK_EQUAL(ranges->bytes, bytes);
    CHECK(!memcmp(before, ranges->items, count * sizeof *before));
    free(before);
}

TEST(too_many_pieces_are_refused)
{
    ranges ranges = {0};
    for (uint32_t i = 0; i < RANGES_LIMIT; i++)
        CHECK(ranges_add(&ranges, BASE + UINT64_C(4) * PAGE_SIZE * i, 8));
    CHECK_EQUAL(ranges.count, RANGES_LIMIT);
    check_refused(&ranges, BASE - 4 * PAGE_SIZE, 8);
    check_refused(&ranges, BASE + UINT64_C(4) * PAGE_SIZE * RANGES_LIMIT, 8);
    check_refused(&ranges, BASE + 2 * PAGE_SIZE, 8);
    /* What lies in one that is there takes no room. */
    CHECK(ranges_add(&ranges, BASE + UINT64_C(4) * PAGE_SIZE * 7, 8));
    CHECK(ranges_add(&ranges, BASE + UINT64_C(4) * PAGE_SIZE * 9 + 2, 4));
    ranges_free(&ranges);
}

TEST(too_many_bytes_are_refused)
{
    ranges ranges = {0};
    CHECK(ranges_add(&ranges, BASE, RANGES_BYTES_LIMIT - 100));
    check_refused(&ranges, BASE + 2 * RANGES_BYTES_LIMIT, 101);
    check_refused(&ranges, BASE + RANGES_BYTES_LIMIT - 100, 101);
    CHECK(ranges_add(&ranges, BASE + 50, RANGES_BYTES_LIMIT - 150));
    CHECK(ranges_add(&ranges, BASE + RANGES_BYTES_LIMIT - 100, 100));
    CHECK_EQUAL(ranges.bytes, RANGES_BYTES_LIMIT);
    check_refused(&ranges, BASE + 2 * RANGES_BYTES_LIMIT, 1);
    ranges_clear(&ranges);
    CHECK_EQUAL(ranges.bytes, 0);
    CHECK(ranges_add(&ranges, BASE + 2 * RANGES_BYTES_LIMIT, 101));
    ranges_free(&ranges);
}

TEST(a_vector_copies_each_range_to_its_place)
{
    enum { COUNT = 25, MOST = 4 };
    ranges ranges = {0};
    for (uint64_t i = 0; i < COUNT; i++)
        CHECK(ranges_add(&ranges, BASE + 2 * PAGE_SIZE * i, (uint32_t)(8 + i)));
    ranges_place(&ranges);
    CHECK_EQUAL(ranges.count, COUNT);
    unsigned char *copy = malloc(ranges.bytes);
    CHECK(copy);
    uint32_t pieces = 0;
    for (uint32_t first = 0; first < COUNT; first += MOST) {
        struct iovec local[MOST], remote[MOST];
        uint32_t count = ranges_vector(&ranges, first, MOST, copy, local, remote);
        CHECK_EQUAL(count, COUNT - first < MOST ? COUNT - first : MOST);
        for (uint32_t i = 0; i < count; i++, pieces++) {
            CHECK_EQUAL(remote[i].iov_base, BASE + 2 * PAGE_SIZE * pieces);
            CHECK_EQUAL(remote[i].iov_len, 8 + pieces);
            CHECK_EQUAL(local[i].iov_len, 8 + pieces);
            uint32_t hint = 0;
            int64_t at = ranges_find(&ranges, (uintptr_t)remote[i].iov_base, 8 + pieces, &hint);
            CHECK(local[i].iov_base == copy + at);
            memset(local[i].iov_base, (int)pieces, local[i].iov_len);
        }
    }
    CHECK_EQUAL(pieces, COUNT);
    /* The copies fill the buffer and do not overlap. */
    for (uint32_t at = 0, i = 0; i < COUNT; at += 8 + i, i++)
        CHECK(copy[at] == i && copy[at + 7 + i] == i);
    free(copy);
    ranges_free(&ranges);
}
