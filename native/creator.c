#include "creator.h"

#include "state.h"

/* What is read beside the stack may move although its thread does not: the count of code objects
 * that were freed, and the lists of threads. */
#define READS 8u
#define REFRESHES 2u

/* How often threads that have ended are looked for. */
#define SCAN_INTERVAL_NS 100000000u

static bool is(const thread *thread, int32_t tid)
{
    return thread->task && thread->task->tid == tid;
}

/* Most hold the GIL meanwhile, and then nobody else's thread state need be looked at. */
static thread *find_holder(recorder *recorder, int32_t tid)
{
    threads *threads = &recorder->threads;
    if (threads_look_at_gil(threads) != ONLOOKER_OK)
        return NULL;
    for (uint32_t i = 0; i < threads->interpreter_count; i++) {
        uint32_t index = map_get(&threads->by_tstate, threads->interpreters[i].gil_holder);
        if (index != MAP_ABSENT && is(threads->items[index], tid))
            return threads->items[index];
    }
    return NULL;
}

static void refresh(recorder *recorder)
{
    uint64_t now_ns = monotonic_ns();
    if (now_ns - recorder->kept_ns >= SCAN_INTERVAL_NS) {
        recorder->kept_ns = now_ns;
        tasks_scan(&recorder->tasks);
    }
    threads_refresh(&recorder->threads, now_ns);
    recorder->counters.threads = recorder->threads.count;
}

/* Only a context that makes no sense keeps a stack that stands still from being read. */
static int read_still(recorder *recorder, thread *thread, uint32_t *stack, uint32_t *record)
{
    int result = WALK_TORN;
    for (uint32_t i = 0; i < READS && result == WALK_TORN; i++) {
        recorder->walker.contextless = i == READS - 1;
        result = read_stopped(&recorder->reader, thread, stack, record);
    }
    recorder->walker.contextless = false;
    if (result == ONLOOKER_OK && *stack == STACK_EMPTY)
        *stack = stacks_pseudo(&recorder->stacks, ONLOOKER_CODE_NO_FRAME);
    else if (result != ONLOOKER_OK)
        *stack = stacks_pseudo(&recorder->stacks, ONLOOKER_CODE_UNSAMPLED);
    recorder->counters.lost += result != ONLOOKER_OK;
    return result;
}

static thread *find_any(recorder *recorder, int32_t tid)
{
    const threads *threads = &recorder->threads;
    refresh(recorder);
    for (uint32_t i = 0; i < threads->count; i++)
        if (!threads->items[i]->inner && is(threads->items[i], tid))
            return threads->items[i];
    return NULL;
}

static uint32_t native_record(recorder *recorder, int32_t tid)
{
    tasks *tasks = &recorder->tasks;
    uint32_t index = map_get(&tasks->by_tid, (uint32_t)tid);
    if (index == MAP_ABSENT || tasks->items[index]->gone) {
        tasks_scan(tasks);
        index = map_get(&tasks->by_tid, (uint32_t)tid);
    }
    return index == MAP_ABSENT ? THREADS_SHARED_RECORD
                               : threads_native_record(&recorder->threads, tasks->items[index]);
}

int creator_count(recorder *recorder, int32_t tid)
{
    uint32_t stack, record;
    uint32_t *values = &recorder->reader.values;
    if (!memory_alive(recorder->source))
        return ONLOOKER_GONE;
    *values = CONTEXTS_NO_VALUES;
    thread *thread = find_holder(recorder, tid);
    for (uint32_t i = 0; i < REFRESHES && !thread; i++)
        thread = find_any(recorder, tid);
    if (thread) {
        read_still(recorder, thread, &stack, &record);
    } else {
        stack = stacks_pseudo(&recorder->stacks, ONLOOKER_CODE_NATIVE);
        record = native_record(recorder, tid);
    }
    if (*values == CONTEXTS_UNKNOWN) {
        *values = CONTEXTS_NO_VALUES;
        recorder->counters.contextless++;
    }
    uint32_t index = stacks_row(&recorder->stacks, stack, record, 0, *values);
    recorder->stacks.rows[index].count++;
    recorder->counters.overflow += index == ROW_OVERFLOW;
    if (!recorder->counters.samples++)
        recorder->counters.first_sample_ns = monotonic_ns();
    return ONLOOKER_OK;
}
