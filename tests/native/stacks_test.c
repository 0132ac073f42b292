#include "check.h"

#include "stacks.h"

TEST(equal_stacks_are_one)
{
    stacks stacks = {0};
    CHECK(stacks_init(&stacks));
    uint32_t a = stacks_push(&stacks, STACK_EMPTY, 10, 4), b = stacks_push(&stacks, a, 11, -1);
    CHECK_EQUAL(stacks_push(&stacks, STACK_EMPTY, 10, 4), a);
    CHECK_EQUAL(stacks_push(&stacks, a, 11, -1), b);
    CHECK(stacks_push(&stacks, a, 11, 0) != b);
    CHECK(stacks_push(&stacks, a, 12, -1) != b);
    CHECK(stacks_push(&stacks, b, 11, -1) != b);
    CHECK(stacks_push(&stacks, STACK_EMPTY, 11, -1) != b);
    CHECK_EQUAL(stacks.nodes[b].parent, a);
    CHECK_EQUAL(stacks.nodes[b].code, 11);
    CHECK_EQUAL(stacks.nodes[b].lasti, -1);
    CHECK_EQUAL(stacks.nodes[a].parent, STACK_EMPTY);
    stacks_free(&stacks);
}

/* A tree against its paths, written out. */
TEST(many_stacks_keep_their_paths)
{
    enum { STACKS = 3000, DEEPEST = 6 };
    static int32_t frames[STACKS][DEEPEST];
    static uint32_t depths[STACKS], indexes[STACKS];
    stacks stacks = {0};
    CHECK(stacks_init(&stacks));
    for (uint32_t i = 0; i < STACKS; i++) {
        depths[i] = (uint32_t)check_random(DEEPEST) + 1;
        for (uint32_t depth = 0; depth < depths[i]; depth++) {
            frames[i][depth] = (int32_t)check_random(6) + 5;
            indexes[i] = stacks_push(&stacks, depth ? indexes[i] : STACK_EMPTY,
                                     (uint32_t)frames[i][depth], frames[i][depth] * 2);
        }
    }
    for (uint32_t i = 0; i < STACKS; i++) {
        uint32_t stack = indexes[i];
        for (uint32_t depth = depths[i]; depth--; stack = stacks.nodes[stack].parent) {
            CHECK_EQUAL(stacks.nodes[stack].code, frames[i][depth]);
            CHECK_EQUAL(stacks.nodes[stack].lasti, frames[i][depth] * 2);
            CHECK(stacks.nodes[stack].parent < stack);
        }
        CHECK_EQUAL(stack, STACK_EMPTY);
        for (uint32_t other = 0; other < i; other++)
            CHECK((indexes[i] == indexes[other]) ==
                  (depths[i] == depths[other] &&
                   !memcmp(frames[i], frames[other], depths[i] * sizeof **frames)));
    }
    stacks_free(&stacks);
}

TEST(rows_are_of_a_stack_a_thread_facts_and_values)
{
    stacks stacks = {0};
    CHECK(stacks_init(&stacks));
    uint32_t stack = stacks_pseudo(&stacks, ONLOOKER_CODE_NATIVE);
    uint32_t row = stacks_row(&stacks, stack, 3, ONLOOKER_ON_CPU, 0);
    CHECK(row != ROW_OVERFLOW);
    CHECK_EQUAL(stacks_row(&stacks, stack, 3, ONLOOKER_ON_CPU, 0), row);
    CHECK(stacks_row(&stacks, stack, 4, ONLOOKER_ON_CPU, 0) != row);
    CHECK(stacks_row(&stacks, stack, 3, ONLOOKER_HOLDS_GIL, 0) != row);
    CHECK(stacks_row(&stacks, stack, 3, 0, 0) != row);
    CHECK(stacks_row(&stacks, stack, 3, ONLOOKER_ON_CPU, 1) != row);
    CHECK(stacks_row(&stacks, stacks_push(&stacks, stack, 9, 0), 3, ONLOOKER_ON_CPU, 0) != row);
    CHECK_EQUAL(stacks.rows[row].stack, stack);
    CHECK_EQUAL(stacks.rows[row].thread, 3);
    CHECK_EQUAL(stacks.rows[row].facts, ONLOOKER_ON_CPU);
    CHECK_EQUAL(stacks.rows[row].count, 0);
    stacks_free(&stacks);
}

TEST(what_there_is_no_room_for_goes_to_a_row_of_its_own)
{
    stacks stacks = {0};
    CHECK(stacks_init(&stacks));
    uint32_t last = STACK_EMPTY, next, pushed = 0;
    while ((next = stacks_push(&stacks, last, 7, 0)) != STACK_FULL) {
        last = next;
        pushed++;
    }
    CHECK(pushed > 100000);
    CHECK_EQUAL(stacks_push(&stacks, STACK_FULL, 7, 0), STACK_FULL);
    CHECK_EQUAL(stacks_row(&stacks, STACK_FULL, 1, 0, 0), ROW_OVERFLOW);
    const row *row = &stacks.rows[ROW_OVERFLOW];
    CHECK_EQUAL(stacks.nodes[row->stack].code, ONLOOKER_CODE_OVERFLOW);
    CHECK_EQUAL(row->facts, ONLOOKER_ON_CPU | ONLOOKER_HOLDS_GIL);
    /* What is there can still be found. */
    CHECK_EQUAL(stacks_push(&stacks, STACK_EMPTY, 7, 0), 2);
    uint32_t rows = 0;
    for (uint32_t i = 0; stacks_row(&stacks, 2, i & 0xffff, 1, i >> 16) != ROW_OVERFLOW; i++)
        rows++;
    CHECK(rows > 100000);
    CHECK(stacks_row(&stacks, 2, 0, 1, 0) != ROW_OVERFLOW);
    stacks_free(&stacks);
}
