/* check.h: a test program. Each TEST is a function; the program runs the one that its argument
 * names, in a process of its own, as tests/native/test_units.py does for all of them. */
#ifndef CHECK_H
#define CHECK_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "recorder.h"

#define TESTS_LIMIT 64

/* Far beyond what a test needs: reaching it means that it hangs. */
#define TEST_SECONDS 120

/* The exit code of a test that the machine does not permit. */
#define SKIPPED 77

static struct {
    const char *name;
    void (*function)(void);
} check_tests[TESTS_LIMIT];
static int check_test_count;

#define TEST(test)                                                                                 \
    static void test(void);                                                                        \
    __attribute__((constructor)) static void check_register_##test(void)                           \
    {                                                                                              \
        check_tests[check_test_count].name = #test;                                                \
        check_tests[check_test_count++].function = test;                                           \
    }                                                                                              \
    static void test(void)

/* Ends the test, unless CONDITION holds. */
#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);                \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

/* The same for two numbers, which it shows. */
#define CHECK_EQUAL(left, right)                                                                   \
    do {                                                                                           \
        long long check_left = (long long)(left), check_right = (long long)(right);                \
        if (check_left != check_right) {                                                           \
            fprintf(stderr, "%s:%d: %s is %lld, %s is %lld\n", __FILE__, __LINE__, #left,          \
                    check_left, #right, check_right);                                              \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

/* Ends the test as one that cannot be made here. */
static inline void check_skip(const char *why)
{
    printf("%s", why);
    exit(SKIPPED);
}

/* Random numbers that are the same in every run. */
static uint64_t check_random_state;

static inline uint64_t check_random(uint64_t below)
{
    check_random_state += 0x9e3779b97f4a7c15u;
    return hash_u64(check_random_state) % below;
}

int main(int argc, char **argv)
{
    for (int i = 0; i < check_test_count; i++) {
        if (argc == 2 && !strcmp(argv[1], check_tests[i].name)) {
            alarm(TEST_SECONDS);
            check_tests[i].function();
            return 0;
        }
    }
    fprintf(stderr, "there is no such test\n");
    return 2;
}

#endif
