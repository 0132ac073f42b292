#include "locks.h"

/* Words of a stack that are looked at. */
#define STACK_WORDS 64u

#define BASES_LIMIT 16u

/* Who waits for a condition variable of musl's makes itself an item of its list, whose newest item
 * it points to, and sleeps at a futex in there (pthread_cond_timedwait.c). The newer item is the
 * first word. */
#define WAITER_FUTEX 20u
#define WAITERS_LIMIT 256u

static bool word_at(memory *source, uint64_t base, int32_t offset, uint64_t *out)
{
    return memory_read_u64(source, base + (uint64_t)(int64_t)offset, out) == ONLOOKER_OK;
}

static bool is_rlock(memory *source, const layout *layout, uint64_t address)
{
    static const char NAME[] = "_thread.RLock";
    uint64_t type, name;
    if (!word_at(source, address, layout->object_type, &type))
        return false;
    for (uint32_t i = 0; type && i < BASES_LIMIT; i++) {
        char found[sizeof NAME];
        if (word_at(source, type, layout->type_name, &name) &&
            memory_read(source, name, found, sizeof found) == ONLOOKER_OK &&
            !memcmp(found, NAME, sizeof NAME))
            return true;
        if (!word_at(source, type, layout->type_base, &type))
            return false;
    }
    return false;
}

static bool is_rlock_of(memory *source, const layout *layout, uint64_t address, uint64_t lock)
{
    uint64_t found;
    return address && address % 8 == 0 && word_at(source, address, layout->rlock_lock, &found) &&
           found == lock && is_rlock(source, layout, address);
}

/* Where the stack of the thread's innermost frame begins. */
static bool find_stack(memory *source, const layout *layout, uint64_t tstate, uint64_t *out)
{
    uint64_t frame = tstate, code;
    int32_t current = layout->thread_current_frame, variables;
    if (layout->thread_cframe != ONLOOKER_NONE) {
        current = layout->cframe_current_frame;
        if (!word_at(source, tstate, layout->thread_cframe, &frame))
            return false;
    }
    if (!word_at(source, frame, current, &frame) || !frame)
        return false;
    if (layout->frame_valuestack != ONLOOKER_NONE)
        return word_at(source, frame, layout->frame_valuestack, out);
    if (!word_at(source, frame, layout->frame_executable, &code) ||
        memory_read(source, code + (uint32_t)layout->code_nlocalsplus, &variables,
                    sizeof variables) != ONLOOKER_OK)
        return false;
    *out = frame + (uint32_t)layout->frame_localsplus + (uint64_t)(uint32_t)variables * 8;
    return true;
}

/* The RLock that is on a stack, or a method that is bound to it. */
static uint64_t find_on_stack(memory *source, const layout *layout, uint64_t stack, uint64_t lock)
{
    uint64_t words[STACK_WORDS], self;
    if (!stack || stack % 8)
        return 0;
    uint64_t count = STACK_WORDS, on_page = (PAGE_OF(stack) + PAGE_SIZE - stack) / 8;
    if (memory_read(source, stack, words, sizeof words) != ONLOOKER_OK) {
        /* Behind what is in use there may be nothing. */
        count = on_page < STACK_WORDS ? on_page : 0;
        if (memory_read(source, stack, words, count * 8) != ONLOOKER_OK)
            return 0;
    }
    for (uint64_t i = 0; i < count; i++) {
        if (!words[i] || words[i] % 8)
            continue;
        if (is_rlock_of(source, layout, words[i], lock))
            return words[i];
        if (word_at(source, words[i], layout->method_self, &self) &&
            is_rlock_of(source, layout, self, lock))
            return self;
    }
    return 0;
}

uint64_t locks_find(memory *source, const layout *layout, uint64_t tstate, uint64_t waits_at,
                    uint64_t stack_pointer)
{
    uint64_t mutex, stack, found = 0;
    if (layout->rlock_lock != ONLOOKER_NONE) {
        /* `with lock` and `lock.acquire()` keep it on the stack of their frame for as long as they
         * last. Who calls that from C does not, but the call has it on the C stack. */
        if (find_stack(source, layout, tstate, &stack))
            found = find_on_stack(source, layout, stack, waits_at);
        return found ? found : find_on_stack(source, layout, stack_pointer, waits_at);
    }
    /* A thread parks on its own C stack, with the address of the mutex beside its semaphore. */
    if (!word_at(source, waits_at, layout->waitentry_addr - layout->waitentry_sema, &mutex))
        return 0;
    uint64_t lock = mutex - (uint32_t)layout->rlock_mutex;
    return is_rlock(source, layout, lock) ? lock : 0;
}

bool locks_waits_inside(memory *source, uint64_t start, uint32_t size, uint64_t waits_at)
{
    uint64_t words[LOCKS_SIZE_LIMIT / 8], newest = 0, newer = waits_at - WAITER_FUTEX;
    for (uint32_t i = 0; newer && i < WAITERS_LIMIT; i++) {
        newest = newer;
        if (memory_read_u64(source, newest, &newer) != ONLOOKER_OK)
            return false;
    }
    if (newer || size > sizeof words || memory_read(source, start, words, size) != ONLOOKER_OK)
        return false;
    for (uint32_t i = 0; i < size / 8; i++)
        if (words[i] == newest)
            return true;
    return false;
}

uint64_t locks_owner(memory *source, const layout *layout, uint64_t lock)
{
    uint64_t owner;
    return word_at(source, lock, layout->rlock_owner, &owner) ? owner : 0;
}
