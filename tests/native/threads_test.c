#include "check.h"

#include "threads.h"

/* Structures of an interpreter with no more fields than the lists of threads need. */
enum {
    RUNTIME_HEAD = 0,
    RUNTIME_FINALIZING = 8,
    INTERPRETER_NEXT = 0,
    INTERPRETER_ID = 8,
    INTERPRETER_THREADS = 16,
    INTERPRETER_GIL = 24,
    INTERPRETER_SIZE = 32,
    THREAD_NEXT = 0,
    THREAD_INTERP = 8,
    THREAD_ID = 16,
    THREAD_NATIVE_ID = 24,
    THREAD_FRAME = 32,
    THREAD_SIZE = 64
};

/* Four interpreters that all claim states of one thread, this one. */
enum { INTERPRETERS = 4, STATES = 32000, PAGES = 1 + STATES * THREAD_SIZE / 4096 };

#define RUNTIME UINT64_C(0x100000)
#define INTERPRETER(index) (RUNTIME + 64 + (uint64_t)(index) * INTERPRETER_SIZE)
#define STATE(index) (RUNTIME + PAGE_SIZE + (uint64_t)(index) * THREAD_SIZE)

static unsigned char arena[PAGES * PAGE_SIZE];

static void put(uint64_t address, uint64_t value)
{
    memcpy(arena + (address - RUNTIME), &value, sizeof value);
}

static layout make_layout(void)
{
    layout new;
    memset(&new, 0xff, sizeof new); /* ONLOOKER_NONE everywhere */
    new.runtime_interpreters_head = RUNTIME_HEAD;
    new.runtime_finalizing = RUNTIME_FINALIZING;
    new.interpreter_next = INTERPRETER_NEXT;
    new.interpreter_id = INTERPRETER_ID;
    new.interpreter_threads_head = INTERPRETER_THREADS;
    new.interpreter_gil = INTERPRETER_GIL;
    new.thread_next = THREAD_NEXT;
    new.thread_interp = THREAD_INTERP;
    new.thread_id = THREAD_ID;
    new.thread_native_thread_id = THREAD_NATIVE_ID;
    new.thread_current_frame = THREAD_FRAME;
    return new;
}

/* STATES thread states, so many for each of INTERPRETERS interpreters. */
static void fill_arena(uint32_t states, uint32_t interpreters)
{
    uint32_t each = states / interpreters;
    put(RUNTIME + RUNTIME_HEAD, INTERPRETER(0));
    for (uint32_t i = 0; i < interpreters; i++) {
        put(INTERPRETER(i) + INTERPRETER_NEXT, i + 1 < interpreters ? INTERPRETER(i + 1) : 0);
        put(INTERPRETER(i) + INTERPRETER_ID, interpreters - 1 - i);
        put(INTERPRETER(i) + INTERPRETER_THREADS, STATE(i * each));
    }
    for (uint32_t i = 0; i < states; i++) {
        put(STATE(i) + THREAD_NEXT, (i + 1) % each ? STATE(i + 1) : 0);
        put(STATE(i) + THREAD_INTERP, INTERPRETER(i / each));
        put(STATE(i) + THREAD_ID, 1);
        put(STATE(i) + THREAD_NATIVE_ID, (uint64_t)getpid());
        put(STATE(i) + THREAD_FRAME, 1);
    }
}

static memory *open_arena(void)
{
    static uint64_t addresses[PAGES];
    for (uint64_t i = 0; i < PAGES; i++)
        addresses[i] = RUNTIME + i * PAGE_SIZE;
    memory *source = memory_open_recording(addresses, arena, PAGES);
    CHECK(source);
    return source;
}

/* The threads of the arena, which are all this process's first. One at a time. */
static threads begin(void)
{
    static layout layout;
    static options options = {.runtime = RUNTIME, .pthread_tid_offset = ONLOOKER_NONE};
    static tasks tasks;
    layout = make_layout();
    memset(&tasks, 0, sizeof tasks);
    CHECK(tasks_init(&tasks, getpid(), false));
    return (threads){
        .source = open_arena(), .layout = &layout, .options = &options, .tasks = &tasks};
}

static void end(threads *threads)
{
    threads_free(threads);
    tasks_free(threads->tasks);
    memory_close(threads->source);
}

/* Follows every thread that is sampled through its outer states; returns the longest way. */
static uint32_t check_links(const threads *threads)
{
    uint32_t met = 0, longest = 0;
    for (uint32_t i = 0; i < threads->count; i++) {
        uint32_t length = 0;
        if (threads->items[i]->inner)
            continue;
        for (const thread *state = threads->items[i]; state; state = state->outer) {
            CHECK_EQUAL(state->inner, length > 0);
            CHECK_EQUAL(state->level, length);
            length++;
        }
        met += length;
        longest = length > longest ? length : longest;
    }
    CHECK_EQUAL(met, threads->count); /* each is part of one stack */
    return longest;
}

static void check_states(uint32_t states, uint32_t interpreters, uint32_t longest)
{
    fill_arena(states, interpreters);
    threads threads = begin();
    for (int i = 0; i < 3; i++) {
        CHECK_EQUAL(threads_refresh(&threads, 0), ONLOOKER_OK);
        CHECK_EQUAL(threads.interpreter_count, interpreters);
        CHECK_EQUAL(threads.count, states);
        CHECK_EQUAL(check_links(&threads), longest);
    }
    end(&threads);
}

TEST(a_threads_states_in_many_interpreters_are_one_stack)
{
    check_states(INTERPRETERS, INTERPRETERS, INTERPRETERS);
}

TEST(a_thread_of_one_interpreter_stands_on_nothing)
{
    check_states(10, 1, 1);
}

TEST(more_states_of_a_thread_than_anybody_has)
{
    check_states(STATES, INTERPRETERS, 1024);
}

/* Of two states of one interpreter, the newer one first. */
static void check_unbegun(bool newer_is_sampled, bool older_is_sampled, bool unbegun)
{
    threads threads = begin();
    CHECK_EQUAL(threads_refresh(&threads, 0), ONLOOKER_OK);
    CHECK_EQUAL(threads.unbegun, unbegun);
    bool sampled[2] = {false, false};
    for (uint32_t i = 0; i < threads.count; i++)
        sampled[threads.items[i]->walk.tstate == STATE(1)] = !threads.items[i]->inner;
    CHECK_EQUAL(sampled[0], newer_is_sampled);
    CHECK_EQUAL(sampled[1], older_is_sampled);
    end(&threads);
}

TEST(a_state_whose_thread_has_not_begun_is_nobodys)
{
    fill_arena(2, 1);
    check_unbegun(true, true, false);
    put(STATE(0) + THREAD_FRAME, 0);
    check_unbegun(false, true, true);
    put(STATE(1) + THREAD_FRAME, 0);
    check_unbegun(false, true, true);
    put(STATE(0) + THREAD_FRAME, 1);
    check_unbegun(true, false, true);
    put(STATE(0) + THREAD_NATIVE_ID, 0);
    check_unbegun(false, true, true);
}
