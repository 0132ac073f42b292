#include "check.h"

#include "map.h"

TEST(an_empty_map_has_nothing)
{
    map map = {0};
    CHECK_EQUAL(map_get(&map, 0), MAP_ABSENT);
    map_clear(&map);
    CHECK_EQUAL(map_get(&map, UINT64_MAX), MAP_ABSENT);
    map_free(&map);
}

TEST(every_key_is_ordinary)
{
    map map = {0};
    const uint64_t keys[] = {0, 1, UINT64_MAX, UINT64_C(1) << 63, UINT32_MAX};
    for (uint32_t i = 0; i < 5; i++) {
        CHECK_EQUAL(map_get(&map, keys[i]), MAP_ABSENT);
        CHECK(map_set(&map, keys[i], i));
    }
    for (uint32_t i = 0; i < 5; i++)
        CHECK_EQUAL(map_get(&map, keys[i]), i);
    map_free(&map);
    CHECK_EQUAL(map_get(&map, 0), MAP_ABSENT);
}

/* A map against an array that is searched from its start. */
TEST(it_says_what_an_array_says)
{
    enum { KEYS = 1500 };
    static uint64_t keys[KEYS];
    static uint32_t values[KEYS];
    uint32_t count = 0;
    map map = {0};
    for (uint32_t step = 0; step < 6000; step++) {
        uint64_t key = check_random(KEYS) << check_random(40);
        uint32_t value = (uint32_t)check_random(MAP_ABSENT), at = 0;
        while (at < count && keys[at] != key)
            at++;
        CHECK_EQUAL(map_get(&map, key), at < count ? values[at] : MAP_ABSENT);
        if (at < KEYS) {
            CHECK(map_set(&map, key, value));
            count += at == count;
            keys[at] = key;
            values[at] = value;
        }
        CHECK_EQUAL(map.used, count);
        CHECK(map.used < map.slots);
    }
    for (uint32_t i = 0; i < count; i++)
        CHECK_EQUAL(map_get(&map, keys[i]), values[i]);
    map_free(&map);
}

TEST(keys_of_one_slot_are_told_apart)
{
    uint64_t keys[40];
    uint32_t count = 0;
    map map = {0};
    for (uint64_t key = 0; count < 40; key++)
        if ((hash_u64(key) & 63) == 63) /* the last slot: the search wraps around */
            keys[count++] = key;
    for (uint32_t i = 0; i < count; i++)
        CHECK(map_set(&map, keys[i], i));
    CHECK_EQUAL(map.slots, 64);
    for (uint32_t i = 0; i < count; i++)
        CHECK_EQUAL(map_get(&map, keys[i]), i);
    map_free(&map);
}

TEST(a_cleared_map_is_empty_and_can_be_used)
{
    map map = {0};
    for (uint32_t round = 0; round < 3; round++) {
        for (uint32_t key = 0; key < 500; key++) {
            CHECK_EQUAL(map_get(&map, key), MAP_ABSENT);
            CHECK(map_set(&map, key, key + round));
        }
        for (uint32_t key = 0; key < 500; key++)
            CHECK_EQUAL(map_get(&map, key), key + round);
        map_clear(&map);
        CHECK_EQUAL(map.used, 0);
    }
    map_free(&map);
}
