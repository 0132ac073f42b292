#include "check.h"

#include <errno.h>
#include <pthread.h>
#include <sys/mman.h>

#include "arrays.h"

#define MIB ((uint64_t)1 << 20)

static bool mremap_fails, mmap_fails;

void *__real_mmap(void *at, size_t bytes, int protection, int flags, int fd, off_t offset);
void *__wrap_mmap(void *at, size_t bytes, int protection, int flags, int fd, off_t offset);
void *__real_mremap(void *old, size_t old_bytes, size_t bytes, int flags, void *new);
void *__wrap_mremap(void *old, size_t old_bytes, size_t bytes, int flags, void *new);

void *__wrap_mmap(void *at, size_t bytes, int protection, int flags, int fd, off_t offset)
{
    return mmap_fails ? MAP_FAILED : __real_mmap(at, bytes, protection, flags, fd, offset);
}

/* As the kernel does when there are too many mappings. */
void *__wrap_mremap(void *old, size_t old_bytes, size_t bytes, int flags, void *new)
{
    if (!mremap_fails)
        return __real_mremap(old, old_bytes, bytes, flags, new);
    munmap(new, bytes);
    errno = ENOMEM;
    return MAP_FAILED;
}

static uint64_t resident_bytes(void)
{
    unsigned long long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    CHECK(file && fscanf(file, "%*u %llu", &pages) == 1);
    fclose(file);
    return pages * 4096;
}

typedef struct known {
    uint64_t *items, count, seed;
} known;

static void fill(known *known, uint64_t from)
{
    for (uint64_t i = from; i < known->count; i++)
        known->items[i] = hash_u64(known->seed + i);
}

static void check(const known *known)
{
    for (uint64_t i = 0; i < known->count; i++)
        CHECK(known->items[i] == hash_u64(known->seed + i));
}

static void change(known *known)
{
    uint64_t count = 1 + check_random(3 * MIB / 8) * check_random(4);
    if (!known->items) {
        known->items = array_new(count, sizeof *known->items);
        CHECK(known->items);
        for (uint64_t i = 0; i < count; i++)
            CHECK(!known->items[i]);
        *known = (struct known){known->items, count, check_random(UINT32_MAX)};
        fill(known, 0);
    } else if (check_random(2)) {
        uint64_t old = known->count;
        known->items = array_grow(known->items, old + count, sizeof *known->items);
        CHECK(known->items);
        known->count = old + count;
        fill(known, old);
    } else {
        known->count = count < known->count ? count : known->count;
        array_trim(known->items, known->count, sizeof *known->items);
    }
    check(known);
}

static void change_often(uint32_t steps)
{
    known all[6] = {0};
    for (uint32_t step = 0; step < steps; step++) {
        known *known = &all[check_random(6)];
        if (known->items && !check_random(3)) {
            check(known);
            array_free(known->items);
            *known = (struct known){0};
        } else {
            change(known);
        }
        if (!check_random(20))
            arrays_release(check_random(8 * MIB));
    }
    for (uint32_t i = 0; i < 6; i++) {
        check(&all[i]);
        array_free(all[i].items);
    }
    arrays_release(0);
}

TEST(arrays_hold_what_was_put_in)
{
    change_often(300);
}

TEST(arrays_are_copied_where_pages_cannot_be_moved)
{
    mremap_fails = true;
    change_often(100);
}

static void *change_in_a_thread(void *argument)
{
    (void)argument;
    for (uint64_t i = 0; i < 50; i++) {
        known known = {.count = 0};
        change(&known);
        change(&known);
        array_free(known.items);
    }
    return NULL;
}

TEST(threads_take_what_others_have_freed)
{
    pthread_t threads[3];
    for (uint32_t i = 0; i < 3; i++)
        CHECK(!pthread_create(&threads[i], NULL, change_in_a_thread, NULL));
    for (uint32_t i = 0; i < 3; i++)
        CHECK(!pthread_join(threads[i], NULL));
    arrays_release(0);
}

TEST(pages_are_used_again)
{
    uint64_t before = resident_bytes();
    for (uint32_t i = 0; i < 6; i++) {
        unsigned char *items = array_new((8 + i) * MIB, 1);
        CHECK(items);
        memset(items, 1, (8 + i) * MIB);
        array_free(items);
    }
    CHECK(resident_bytes() < before + 32 * MIB); /* of 63 MiB; the sanitizers have some, too */
    arrays_release(8 * MIB);
    uint64_t kept = resident_bytes();
    arrays_release(0);
    CHECK(resident_bytes() + 6 * MIB < kept);
    CHECK(resident_bytes() + 10 * MIB > kept);
}

TEST(too_much_is_refused)
{
    CHECK(!array_new(UINT64_MAX, 8));
    CHECK(!array_new(UINT64_MAX / 8, 8));
    uint32_t *items = array_new(1, sizeof *items);
    CHECK(items && !array_grow(items, UINT64_MAX, sizeof *items));
    mmap_fails = true;
    CHECK(!array_new(64 * MIB, 1));
    CHECK(!array_grow(items, 64 * MIB, 1));
    mmap_fails = false;
    array_free(items);
    array_free(NULL);
    array_trim(NULL, 0, 1);
}
