#include "reader.h"

#include <time.h>

/* How many reads of one stack may be torn, and how many may only complete the prediction. */
typedef struct patience {
    uint32_t torn, predictions;
} patience;

/* With a thread that stands still, or is believed to. */
static const patience STILL = {1, 64};
/* With one that runs: many predictions that fall short are as good as a torn read. */
static const patience RUNNING = {1, 4};

/* Times that a thread is made to stand still for one sample: between two of them it may have gone
 * to sleep, or have been between two frames, from where it is given time to move on. */
#define ROUNDS 8u
#define MOVE_ON_NS 50000u
#define MOVE_ON_LIMIT_NS 10000000u

/* After so many samples a restless thread is asked, by so many reads, whether it still is. It isn't
 * if that was so in so many times in a row: one that is calm by turns must not be read in another
 * way, at another rate, in one turn than in the other. */
#define STAYS_RESTLESS 32u
#define PROBES 16u
#define CALM 8u

/* What standing still takes is the mean of about so many times, and to begin with: */
#define INTRUSIONS 16u
#define FIRST_INTRUSION_NS 100000u

/* Reads until it succeeds. WALK_TORN: out of patience. */
static int walk_repeatedly(reader *reader, walk *walk, patience patience, uint32_t *stack,
                           bool *retried)
{
    while (patience.torn && patience.predictions) {
        int result = walk_try(reader->walker, walk, reader->still, stack);
        if (result == WALK_TORN) {
            reader->counters->torn++;
            patience.torn--;
        } else if (result == WALK_AGAIN) {
            patience.predictions--;
        } else {
            return result;
        }
        *retried = true;
    }
    return WALK_TORN;
}

/* The whole stack of an OS thread; *RECORD is that of the thread state on top. */
static int read_stack(reader *reader, thread *thread, patience patience, uint32_t *stack,
                      uint32_t *record, bool *retried)
{
    uint32_t base = STACK_EMPTY;
    *record = thread->record;
    if (thread->outer) {
        int result = read_stack(reader, thread->outer, patience, &base, record, retried);
        if (result != ONLOOKER_OK)
            return result;
    }
    *stack = base;
    int result = walk_repeatedly(reader, &thread->walk, patience, stack, retried);
    if (*stack != base)
        *record = thread->record;
    if (*stack != base || !thread->outer)
        reader->values = thread->walk.values;
    return result;
}

/* What we take from the target is time on its CPU: from here to reader_leave. */
static void intrude(reader *reader)
{
    if (!reader->intruding_since)
        reader->intruding_since = own_cpu_ns();
}

/* Moves the mean of what a thread loses by a part of the difference. What takes very long is new
 * code, or is not our doing. */
static void account_intrusion(reader *reader)
{
    if (!reader->intruding_since)
        return;
    uint64_t took_ns = own_cpu_ns() - reader->intruding_since;
    uint64_t most_ns = INTRUSIONS / 4 * reader->intrusion_ns;
    if (took_ns > most_ns)
        took_ns = most_ns;
    reader->intrusion_ns += took_ns / INTRUSIONS - reader->intrusion_ns / INTRUSIONS;
    reader->intruding_since = 0;
}

void reader_leave(reader *reader)
{
    displace_end(&reader->displacement);
    account_intrusion(reader);
}

void reader_step_aside(reader *reader)
{
    displace_elsewhere(&reader->displacement);
    account_intrusion(reader);
}

void reader_begin(reader *reader, uint64_t late_ns)
{
    if (!reader->intrusion_ns)
        reader->intrusion_ns = FIRST_INTRUSION_NS;
    if (!reader->displacement.bound)
        return;
    intrude(reader);
    /* Who is in a hurry has the CPU as soon as the timer's interrupt has. */
    if (reader->displacement.hurried)
        reader->intruding_since -= late_ns;
}

void reader_end(reader *reader)
{
    account_intrusion(reader);
}

void reader_wait(reader *reader, bool asleep, uint64_t due_ns)
{
    if (asleep && reader->awaited && due_ns >= reader->awaited_ns &&
        displace_to(&reader->displacement, reader->awaited_cpu,
                    reader->pause == ONLOOKER_PAUSE_NEVER))
        return;
    if (!asleep) {
        displace_end(&reader->displacement);
        return;
    }
    displace_elsewhere(&reader->displacement);
    displace_avoid(reader->busy_cpu);
    displace_hurry(&reader->displacement);
}

static int read_paused(reader *reader, thread *thread, uint32_t *stack, uint32_t *record,
                       bool *retried)
{
    intrude(reader);
    int error = pause_begin(&reader->stop, thread->task->tid);
    if (error) {
        reader->counters->pause_errno = error;
        return WALK_TORN;
    }
    reader->still = true;
    int result = read_stack(reader, thread, STILL, stack, record, retried);
    reader->still = false;
    uint64_t length_ns = pause_end(&reader->stop);
    reader->pauses_ns[reader->counters->paused++ % PAUSES_KEPT] =
        length_ns < UINT32_MAX ? (uint32_t)length_ns : UINT32_MAX;
    return result;
}

/* *POSSIBLE: false if the thread runs and can't be displaced. */
static int read_displaced(reader *reader, thread *thread, uint32_t *stack, uint32_t *record,
                          bool *retried, bool *possible)
{
    enum displaced displaced = displace_begin(&reader->displacement, reader->tasks, thread->task,
                                              reader->pause == ONLOOKER_PAUSE_NEVER);
    *possible = displaced != DISPLACED_NOT;
    intrude(reader);
    switch (displaced) {
    case DISPLACED_ASLEEP:
        thread->task->asleep = true;
        return read_stack(reader, thread, STILL, stack, record, retried);
    case DISPLACED_NOT:
        return WALK_TORN;
    case DISPLACED:
        break;
    }
    reader->still = true;
    uint64_t counting_ns = thread->walk.counting_ns;
    int result = read_stack(reader, thread, STILL, stack, record, retried);
    reader->still = false;
    /* Counting frames is so rare that it doesn't count for how often the thread may be read. */
    reader->intruding_since += thread->walk.counting_ns - counting_ns;
    if (!displace_held(&reader->displacement, reader->tasks, thread->task)) {
        for (struct thread *state = thread; state; state = state->outer)
            walk_forget(&state->walk);
        return WALK_TORN;
    }
    if (result != ONLOOKER_OK)
        return result;
    reader->counters->displaced++;
    thread->displaced++;
    return result;
}

/* Whether the thread calls and returns so much that reads of it are torn. Once it does it is asked
 * again from time to time, by reads that don't count, from another CPU than its own. */
static bool is_restless(reader *reader, thread *thread)
{
    if (thread->restless && thread->displaced >= STAYS_RESTLESS &&
        thread->task->cpu != sched_getcpu()) {
        int result = ONLOOKER_OK;
        for (uint32_t i = 0; i < PROBES && result == ONLOOKER_OK; i++) {
            uint32_t stack = STACK_EMPTY;
            bool retried;
            result = walk_repeatedly(reader, &thread->walk, RUNNING, &stack, &retried);
        }
        thread->displaced = 0;
        thread->calm = result == ONLOOKER_OK ? thread->calm + 1 : 0;
        thread->restless = thread->calm < CALM;
    }
    return thread->restless;
}

/* Waits until the thread has run. */
static void let_move_on(reader *reader, task *task)
{
    uint64_t slices = task->slices, run_ns = task->run_ns;
    for (uint64_t waited_ns = 0; waited_ns < MOVE_ON_LIMIT_NS; waited_ns += MOVE_ON_NS) {
        nanosleep(&(struct timespec){.tv_nsec = MOVE_ON_NS}, NULL);
        if (!task_account(reader->tasks, task) || task->slices != slices || task->run_ns != run_ns)
            break;
    }
}

static int read_either_way(reader *reader, thread *thread, uint32_t *stack, uint32_t *record,
                           bool *retried)
{
    int32_t pause = reader->pause;
    task *task = thread->task;
    if (!task || task->gone)
        return read_stack(reader, thread, STILL, stack, record, retried);
    bool asleep = task->asleep && task_account(reader->tasks, task) && task->asleep;
    if (!asleep)
        reader->busy_cpu = task->cpu;
    if (asleep || (pause != ONLOOKER_PAUSE_ALWAYS && !is_restless(reader, thread))) {
        int result = read_stack(reader, thread, asleep ? STILL : RUNNING, stack, record, retried);
        if (result != WALK_TORN)
            return result;
        thread->restless = true;
        thread->displaced = thread->calm = 0;
    }
    for (uint32_t round = 0; round < ROUNDS; round++) {
        int result = WALK_TORN;
        bool displaceable = false;
        if (pause != ONLOOKER_PAUSE_ALWAYS)
            result = read_displaced(reader, thread, stack, record, retried, &displaceable);
        /* A thread that sleeps is not stopped: its system call might return EINTR. It does not
         * need it either, for its stack does not move. */
        if (!displaceable && !task_on_cpu(reader->tasks, task))
            result = read_stack(reader, thread, STILL, stack, record, retried);
        else if (!displaceable && pause != ONLOOKER_PAUSE_NEVER)
            result = read_paused(reader, thread, stack, record, retried);
        if (result != WALK_TORN)
            return result;
        *retried = true;
        let_move_on(reader, task);
    }
    reader->walker->contextless = true;
    int result = read_stack(reader, thread, STILL, stack, record, retried);
    reader->walker->contextless = false;
    return result;
}

int read_thread(reader *reader, thread *thread, uint32_t *stack, uint32_t *record, bool *retried)
{
    int result = read_either_way(reader, thread, stack, record, retried);
    if (thread->restless && thread->displaced < STAYS_RESTLESS) {
        reader->awaited = thread->walk.tstate;
        reader->awaited_cpu = thread->task->cpu;
        reader->awaited_ns = thread->rest_until_ns;
    } else if (reader->awaited == thread->walk.tstate) {
        reader->awaited = 0;
    }
    return result;
}

int read_stopped(reader *reader, thread *thread, uint32_t *stack, uint32_t *record)
{
    bool retried;
    reader->still = true;
    int result = read_stack(reader, thread, STILL, stack, record, &retried);
    reader->still = false;
    return result;
}
