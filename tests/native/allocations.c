#include "allocations.h"

#include <stddef.h>

uint64_t allocations_left;

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);

bool count_down(uint64_t *left)
{
    uint64_t was = __atomic_load_n(left, __ATOMIC_RELAXED);
    while (was && !__atomic_compare_exchange_n(left, &was, was - 1, true, __ATOMIC_RELAXED,
                                               __ATOMIC_RELAXED))
        continue;
    return was == 1;
}

static bool fails(void)
{
    return count_down(&allocations_left);
}

void *__wrap_malloc(size_t size)
{
    return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fails() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *old, size_t size)
{
    return fails() ? NULL : __real_realloc(old, size);
}

uint64_t allocations_fail_each(bool (*fail)(uint64_t index))
{
    uint64_t cases = 0;
    while (fail(cases + 1))
        cases++;
    return cases;
}
