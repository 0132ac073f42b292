#include "check.h"

#include "locks.h"

/* One page is all that there is of the target; its end is the end of a frame's stack. */
enum { PAGE = 0x10000, THREAD = 0, FRAME = 64, TYPE = 256, OWN = 320, NAME = 384, RLOCK = 512 };
enum { BOUND = 640, SEMAPHORE = 768, C_STACK = 1024, STACK = PAGE_SIZE - 24 };

static const layout LAYOUT = {.object_type = 8,
                              .type_name = 16,
                              .type_base = 24,
                              .thread_cframe = ONLOOKER_NONE,
                              .thread_current_frame = 8,
                              .frame_executable = 8,
                              .frame_valuestack = 16,
                              .method_self = 24,
                              .rlock_lock = 16,
                              .rlock_owner = 24};

static uint64_t words[PAGE_SIZE / 8];

static void set(uint32_t at, uint64_t value)
{
    words[at / 8] = value;
}

static uint64_t stack_pointer;

static uint64_t found(const layout *layout, uint64_t waits_at)
{
    uint64_t address = PAGE;
    memory *source = memory_open_recording(&address, (unsigned char *)words, 1);
    CHECK(source);
    uint64_t lock = locks_find(source, layout, PAGE + THREAD, PAGE + waits_at, stack_pointer);
    if (lock)
        CHECK_EQUAL(locks_owner(source, layout, lock), 77);
    memory_close(source);
    return lock;
}

static void make(void)
{
    set(THREAD + 8, PAGE + FRAME);
    set(FRAME + 16, PAGE + STACK);
    set(STACK, 1); /* no address */
    set(STACK + 8, PAGE + BOUND);
    set(BOUND + 24, PAGE + RLOCK);
    set(RLOCK + 8, PAGE + OWN);
    set(RLOCK + 16, PAGE + SEMAPHORE);
    set(RLOCK + 24, 77);
    set(OWN + 24, PAGE + TYPE);
    set(TYPE + 16, PAGE + NAME);
    memcpy((char *)words + NAME, "_thread.RLock", 14);
}

TEST(a_lock_is_found_behind_a_method_of_it)
{
    make();
    CHECK_EQUAL(found(&LAYOUT, SEMAPHORE), PAGE + RLOCK);
}

TEST(a_lock_that_is_not_waited_for_is_not_found)
{
    make();
    CHECK_EQUAL(found(&LAYOUT, SEMAPHORE + 8), 0);
}

TEST(a_lock_is_found_on_the_c_stack)
{
    make();
    set(STACK + 8, 0);
    CHECK_EQUAL(found(&LAYOUT, SEMAPHORE), 0);
    set(C_STACK + 16, PAGE + RLOCK);
    stack_pointer = PAGE + C_STACK;
    CHECK_EQUAL(found(&LAYOUT, SEMAPHORE), PAGE + RLOCK);
    stack_pointer++;
    CHECK_EQUAL(found(&LAYOUT, SEMAPHORE), 0);
}

TEST(other_objects_are_no_locks)
{
    make();
    set(NAME, 0);
    CHECK_EQUAL(found(&LAYOUT, SEMAPHORE), 0);
}

TEST(bases_without_end_are_given_up)
{
    make();
    set(OWN + 24, PAGE + OWN);
    CHECK_EQUAL(found(&LAYOUT, SEMAPHORE), 0);
}

TEST(a_lock_is_found_by_where_its_waiter_parks)
{
    layout parks = LAYOUT;
    parks.rlock_lock = ONLOOKER_NONE;
    parks.rlock_mutex = 16;
    parks.waitentry_addr = 8;
    parks.waitentry_sema = 16;
    make();
    CHECK_EQUAL(found(&parks, SEMAPHORE), 0);
    set(SEMAPHORE - 8, PAGE + RLOCK + 16);
    CHECK_EQUAL(found(&parks, SEMAPHORE), PAGE + RLOCK);
}

static bool queued(uint64_t futex)
{
    uint64_t address = PAGE;
    memory *source = memory_open_recording(&address, (unsigned char *)words, 1);
    CHECK(source);
    bool inside = locks_waits_inside(source, PAGE + 1024, 64, PAGE + futex);
    memory_close(source);
    return inside;
}

TEST(a_waiter_of_musls_is_found_in_its_list)
{
    enum { NEWEST = 2048, OLDEST = 2112, FUTEX = 20 };
    set(1024 + 40, PAGE + NEWEST);
    set(OLDEST, PAGE + NEWEST);
    CHECK(queued(NEWEST + FUTEX));
    CHECK(queued(OLDEST + FUTEX));
    set(1024 + 40, PAGE + OLDEST);
    CHECK(!queued(OLDEST + FUTEX));
    set(NEWEST, PAGE + OLDEST); /* a list without end */
    CHECK(!queued(OLDEST + FUTEX));
    set(NEWEST, 8); /* no address */
    CHECK(!queued(OLDEST + FUTEX));
    CHECK(!queued(8));
}
