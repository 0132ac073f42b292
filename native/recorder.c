#include "recorder.h"

#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>

#include "layout.h"
#include "locks.h"
#include "state.h"

/* The target is the one that works: a thread that has to stand still to be read is left alone for
 * so many times as long as that takes, for less than half a percent of its time. Who asks for a
 * higher rate than the usual ones wants more of it. */
#define LEFT_ALONE 255u
#define LEFT_ALONE_FAST 79u
#define FAST_PERIOD_NS 5000000u

/* So many threads can be looked at without leaving the CPU of the one that was waited for. */
#define FEW_THREADS 8u

/* How old the lists of threads may get, and what is known of the CPU time of those that are not
 * Python's. That threads have come is seen at once (at every tick, but not more often than
 * CHANGED_INTERVAL_NS); that one has gone shows when it is sampled. */
#define HOUSE_INTERVAL_NS 100000000u
#define CHANGED_INTERVAL_NS 100000u

/* More than sizeof(struct _gil_runtime_state) in any version (208 bytes in 3.8), and less than it
 * takes to reach the next lock. A thread waits in it at its condition variables. */
#define GIL_SIZE 224u

/* CPU time is accounted where it is asked for and there is a kernel to ask. */
static bool accounts_cpu(const recorder *recorder)
{
    return recorder->threads.tasks && recorder->options.facts & ONLOOKER_ON_CPU;
}

recorder *recorder_open(memory *source, int32_t pid, const layout *layout, const options *options)
{
    recorder *new = calloc(1, sizeof *new);
    if (!new)
        return NULL;
    new->source = source;
    new->layout = *layout;
    new->options = *options;
    new->stale = true;
    new->tasks.task_fd = -1;
    new->reader = (reader){.walker = &new->walker,
                           .tasks = &new->tasks,
                           .counters = &new->counters,
                           .pause = options->pause,
                           .stop = {.leader = pid, .own_child = options->own_child != 0},
                           .pauses_ns = calloc(PAUSES_KEPT, sizeof(uint32_t))};
    if (!new->reader.pauses_ns || !options->period_ns || !layout_check(layout) ||
        !stacks_init(&new->stacks) ||
        !walker_init(&new->walker, source, &new->layout, options->code_type, options->depth,
                     &new->stacks) ||
        (pid && !tasks_init(&new->tasks, pid, options->namespaced != 0))) {
        recorder_close(new);
        return NULL;
    }
    new->threads = (threads){.source = source,
                             .layout = &new->layout,
                             .options = &new->options,
                             .tasks = pid ? &new->tasks : NULL,
                             .walker = &new->walker};
    if (accounts_cpu(new))
        cpu_init(&new->cpu, &new->tasks, &new->stacks, &new->threads, options->period_ns);
    /* A timer of ours should fire when it is due; by default the kernel may be 50 us late. */
    prctl(PR_SET_TIMERSLACK, 1);
    new->counters.start_ns = monotonic_ns();
    ticks_init(&new->ticks, options->period_ns, options->seed, new->counters.start_ns);
    return new;
}

/* --- counting --- */

static uint64_t gil_of(const recorder *recorder, const thread *thread)
{
    const struct threads *threads = &recorder->threads;
    return thread->interpreter < threads->interpreter_count
               ? threads->interpreters[thread->interpreter].gil
               : 0;
}

static uint32_t row_of(recorder *recorder, const thread *thread, uint32_t stack, uint32_t record,
                       uint32_t facts)
{
    if (stack == STACK_EMPTY)
        stack = stacks_pseudo(&recorder->stacks, ONLOOKER_CODE_NO_FRAME);
    uint32_t values = thread->values == CONTEXTS_UNKNOWN ? CONTEXTS_NO_VALUES : thread->values;
    return stacks_row(&recorder->stacks, stack, record, facts, values);
}

static void count(recorder *recorder, thread *thread, uint32_t stack, uint32_t record,
                  uint32_t facts, uint64_t elapsed_ns)
{
    uint32_t index = row_of(recorder, thread, stack, record, facts);
    recorder->counters.contextless += thread->values == CONTEXTS_UNKNOWN;
    row *row = &recorder->stacks.rows[index];
    row->count++;
    row->wall_ns += elapsed_ns;
    if (index == ROW_OVERFLOW)
        recorder->counters.overflow++;
    if (facts & ONLOOKER_ON_CPU && thread->task)
        cpu_charge(&recorder->cpu, thread->task, index);
    if (facts & ONLOOKER_WAITS && thread->wait_slices != thread->task->slices) {
        thread->wait_slices = thread->task->slices;
        row->begun++;
    }
    if (facts & ONLOOKER_HOLDS_GIL)
        contention_hold(&recorder->contention, gil_of(recorder, thread), index);
    if (!recorder->counters.samples++)
        recorder->counters.first_sample_ns = monotonic_ns();
}

/* --- one tick --- */

/* What a thread that is asleep waits for. */
static uint32_t find_wait(recorder *recorder, thread *thread)
{
    task *task = thread->task;
    bool was_known = task->wait_known, futex;
    task_find_wait(&recorder->tasks, task);
    futex = task->wait == ONLOOKER_WAIT_FUTEX;
    uint64_t gil = gil_of(recorder, thread);
    if (!was_known)
        thread->queued = gil && futex && task->waits_at - task->stack_pointer < PAGE_SIZE &&
                         locks_waits_inside(recorder->source, gil, GIL_SIZE, task->waits_at);
    if (gil && futex && (task->waits_at - gil < GIL_SIZE || thread->queued))
        return ONLOOKER_WAITS_GIL;
    if (!was_known && recorder->options.facts & ONLOOKER_HOLDS_LOCK)
        thread->rlock = futex ? locks_find(recorder->source, &recorder->layout, thread->walk.tstate,
                                           task->waits_at, task->stack_pointer)
                              : 0;
    return ONLOOKER_WAITS | task->wait << ONLOOKER_WAIT_SHIFT;
}

/* Whether the thread is on CPU or what it waits for, as far as that has been asked for or can save
 * a read. False when it has ended. */
static bool find_facts(recorder *recorder, thread *thread, uint32_t *facts)
{
    task *task = thread->task;
    uint32_t asked = recorder->options.facts;
    bool ask_waits = asked & (ONLOOKER_WAITS | ONLOOKER_WAITS_GIL | ONLOOKER_HOLDS_LOCK);
    bool ask = asked & ONLOOKER_ON_CPU || ask_waits;
    if (!task)
        return true;
    if (!ask && !thread->settled && thread->same < thread->quiet)
        return true;
    if (!task_account(&recorder->tasks, task)) {
        recorder->stale = true;
        return false;
    }
    if (!task->asleep) {
        thread->settled = false;
        if (task_on_cpu(&recorder->tasks, task)) {
            *facts |= asked & ONLOOKER_ON_CPU;
            thread->same = 0;
            thread->quiet = thread->quiet < QUIET_LIMIT ? thread->quiet * 2 : QUIET_LIMIT;
        } else {
            thread->quiet = QUIET;
            /* Should it have run since task_account, the next call will notice. */
            task->asleep = true;
        }
    }
    if (task->asleep && ask_waits)
        *facts |= find_wait(recorder, thread);
    return true;
}

/* The stack is what the thread sleeps with if it was asleep before and after the read. */
static void settle(recorder *recorder, thread *thread, uint32_t stack)
{
    thread->same = stack == thread->stack ? thread->same + 1 : 0;
    thread->stack = stack;
    thread->settled = thread->task && thread->task->asleep && !thread->outer &&
                      task_account(&recorder->tasks, thread->task) && thread->task->asleep;
}

/* Threads that have to stand still are sampled at a rate that does not depend on what they do, or
 * what comes after the moving would be found too often. */
static bool is_spared(recorder *recorder, thread *thread, uint64_t now_ns)
{
    bool spared = thread->restless && now_ns < thread->rest_until_ns;
    if (!spared) {
        bool fast = recorder->options.period_ns < FAST_PERIOD_NS;
        uint64_t gap_ns = (fast ? LEFT_ALONE_FAST : LEFT_ALONE) * recorder->reader.intrusion_ns;
        thread->rest_until_ns = now_ns + gap_ns / 2 + ticks_random(&recorder->ticks, gap_ns);
    }
    recorder->counters.spared += spared;
    recorder->all_rest &= thread->restless;
    if (thread->rest_until_ns < recorder->rest_until_ns)
        recorder->rest_until_ns = thread->rest_until_ns;
    return spared;
}

static int sample_thread(recorder *recorder, thread *thread, uint64_t now_ns)
{
    if (is_spared(recorder, thread, now_ns))
        return ONLOOKER_OK;
    uint32_t facts = 0, stack, record = thread->record, wanted = recorder->options.wanted;
    bool retried = false;
    const struct threads *threads = &recorder->threads;
    if (recorder->options.facts & ONLOOKER_HOLDS_GIL &&
        thread->interpreter < threads->interpreter_count &&
        threads->interpreters[thread->interpreter].gil_holder == thread->walk.tstate)
        facts |= ONLOOKER_HOLDS_GIL;
    if (wanted == ONLOOKER_HOLDS_GIL && recorder->options.facts == wanted && !facts) {
        thread->looked_ns = now_ns;
        return ONLOOKER_OK;
    }
    if (!find_facts(recorder, thread, &facts))
        return ONLOOKER_OK;
    uint64_t elapsed_ns = now_ns - thread->looked_ns;
    bool waits_gil = facts & ONLOOKER_WAITS_GIL;
    uint64_t lock = waits_gil                ? gil_of(recorder, thread)
                    : facts & ONLOOKER_WAITS ? thread->rlock
                                             : 0;
    if (lock)
        contention_wait(&recorder->contention, lock, waits_gil, elapsed_ns, lock != thread->lock);
    thread->lock = lock;
    if (wanted && !(facts & wanted)) {
        thread->looked_ns = now_ns;
        return ONLOOKER_OK;
    }
    if (thread->settled && thread->task && thread->task->asleep) {
        stack = thread->stack;
        recorder->counters.reused++;
    } else {
        int result = read_thread(&recorder->reader, thread, &stack, &record, &retried);
        recorder->counters.retried += retried;
        if (result == WALK_TORN) {
            if (thread->task && !task_account(&recorder->tasks, thread->task))
                recorder->stale = true; /* it has ended, there was nothing to sample */
            else
                recorder->counters.lost++; /* its time goes to the thread's next sample */
            return ONLOOKER_OK;
        }
        if (result != ONLOOKER_OK)
            return result;
        thread->values = recorder->reader.values;
        settle(recorder, thread, stack);
        /* It went to sleep before it was read: this is what it sleeps with. */
        if (thread->task && thread->task->asleep)
            facts &= ~(uint32_t)ONLOOKER_ON_CPU;
    }
    thread->looked_ns = now_ns;
    if (wanted && !(facts & wanted))
        return ONLOOKER_OK;
    count(recorder, thread, stack, record, facts, elapsed_ns);
    return ONLOOKER_OK;
}

/* Charges those who wait for an RLock to who holds it, before and after the stack is read. */
static int charge_holder(recorder *recorder, const contended_lock *contended, uint64_t now_ns)
{
    const threads *threads = &recorder->threads;
    thread *holder = NULL;
    uint64_t owner = locks_owner(recorder->source, &recorder->layout, contended->address);
    for (uint32_t i = 0; owner && i < threads->count && !holder; i++)
        if (threads->items[i]->thread_id == owner && !threads->items[i]->inner)
            holder = threads->items[i];
    if (!holder)
        return ONLOOKER_OK;
    uint32_t facts = 0, stack = holder->stack, record = holder->record;
    if (!find_facts(recorder, holder, &facts))
        return ONLOOKER_OK;
    bool retried, asleep = holder->task && holder->task->asleep;
    uint32_t waits = contended->waits;
    uint64_t waited_ns = contended->waited_ns;
    if (!asleep) {
        waits = holder->owed += waits;
        waited_ns = holder->owed_ns += waited_ns;
        /* Sampled in this tick it has to stand still for a second time. */
        if (holder->looked_ns == now_ns)
            holder->rest_until_ns += holder->rest_until_ns - now_ns;
        else if (is_spared(recorder, holder, now_ns))
            return ONLOOKER_OK;
    }
    if (!asleep || !holder->settled) {
        int result = read_thread(&recorder->reader, holder, &stack, &record, &retried);
        if (result != ONLOOKER_OK)
            return result == WALK_TORN ? ONLOOKER_OK : result;
        holder->values = recorder->reader.values;
        settle(recorder, holder, stack);
    }
    if (locks_owner(recorder->source, &recorder->layout, contended->address) != owner)
        return ONLOOKER_OK;
    uint32_t index = row_of(recorder, holder, stack, record, ONLOOKER_HOLDS_LOCK);
    row *row = &recorder->stacks.rows[index];
    row->held_up += waits;
    row->held_up_ns += waited_ns;
    if (!asleep) {
        holder->owed = 0;
        holder->owed_ns = 0;
    }
    return ONLOOKER_OK;
}

static int refresh(recorder *recorder, uint64_t now_ns)
{
    if (!memory_alive(recorder->source))
        return ONLOOKER_GONE;
    int result = threads_refresh(&recorder->threads, now_ns);
    if (result != ONLOOKER_OK)
        return result;
    recorder->checked_ns = now_ns;
    recorder->stale = false;
    return ONLOOKER_OK;
}

static int look_at_threads(recorder *recorder, uint64_t now_ns)
{
    bool changed = recorder->stale || recorder->threads.unbegun;
    int result = ONLOOKER_OK;
    if (!changed && now_ns - recorder->checked_ns >= CHANGED_INTERVAL_NS) {
        result = threads_changed(&recorder->threads, &changed);
        recorder->checked_ns = now_ns;
    }
    if (result == ONLOOKER_OK && changed)
        result = refresh(recorder, now_ns);
    recorder->counters.threads = recorder->threads.count;
    if (result == ONLOOKER_OK && recorder->options.facts & ONLOOKER_HOLDS_GIL)
        result = threads_look_at_gil(&recorder->threads);
    return result;
}

/* What takes its time and is no thread's sample: nobody stands still for it. */
static int keep_house(recorder *recorder)
{
    uint64_t now_ns = monotonic_ns();
    if (now_ns - recorder->kept_ns < HOUSE_INTERVAL_NS)
        return ONLOOKER_OK;
    recorder->kept_ns = now_ns;
    reader_step_aside(&recorder->reader);
    if (accounts_cpu(recorder))
        cpu_charge_native_threads(&recorder->cpu);
    return refresh(recorder, now_ns);
}

static uint32_t find_thread(const threads *threads, uint64_t tstate)
{
    uint32_t index = tstate ? map_get(&threads->by_tstate, tstate) : MAP_ABSENT;
    return index != MAP_ABSENT && !threads->items[index]->inner ? index : UINT32_MAX;
}

/* The thread whose CPU we are on comes first; many others would take too much of its time. The read
 * of its stack also tells whether threads have come. */
static int sample_awaited(recorder *recorder, uint32_t index, uint64_t now_ns)
{
    threads *threads = &recorder->threads;
    walker *walker = &recorder->walker;
    heads heads;
    if (index == UINT32_MAX)
        return ONLOOKER_OK;
    walker->also_local = heads.local;
    walker->also_remote = heads.remote;
    walker->also_count = threads_ask_heads(threads, 0, &heads);
    walker->also_read = false;
    int result = sample_thread(recorder, threads->items[index], now_ns);
    walker->also_count = 0;
    if (result != ONLOOKER_OK || !walker->also_read || heads.count < threads->interpreter_count)
        return result;
    bool changed;
    result = threads_judge_heads(threads, &heads, &changed);
    recorder->stale |= changed;
    recorder->checked_ns = now_ns;
    return result;
}

static int tick(recorder *recorder)
{
    const threads *threads = &recorder->threads;
    uint64_t now_ns = monotonic_ns(), awaited = recorder->reader.awaited;
    /* Who holds the GIL has to be known first. */
    bool at_once = !recorder->stale && !(recorder->options.facts & ONLOOKER_HOLDS_GIL);
    int result = ONLOOKER_OK;
    recorder->counters.ticks++;
    recorder->all_rest = true;
    recorder->rest_until_ns = UINT64_MAX;
    reader_begin(&recorder->reader,
                 now_ns > recorder->ticks.due_ns ? now_ns - recorder->ticks.due_ns : 0);
    if (at_once)
        result = sample_awaited(recorder, find_thread(threads, awaited), now_ns);
    if (result == ONLOOKER_OK)
        result = look_at_threads(recorder, now_ns);
    uint32_t first = find_thread(threads, awaited);
    if (first == UINT32_MAX)
        recorder->reader.awaited = 0;
    if (result == ONLOOKER_OK && !at_once)
        result = sample_awaited(recorder, first, now_ns);
    for (uint32_t i = 0; i < threads->count && result == ONLOOKER_OK; i++) {
        if (threads->count > FEW_THREADS)
            reader_leave(&recorder->reader);
        if (i != first && !threads->items[i]->inner)
            result = sample_thread(recorder, threads->items[i], now_ns);
    }
    contention *contention = &recorder->contention;
    for (uint32_t i = 0; i < contention->count && result == ONLOOKER_OK; i++)
        if (!contention->locks[i].is_gil)
            result = charge_holder(recorder, &contention->locks[i], now_ns);
    reader_end(&recorder->reader);
    contention_settle(contention, &recorder->stacks);
    return result;
}

int recorder_tick(recorder *recorder)
{
    int result = tick(recorder);
    reader_leave(&recorder->reader);
    return result;
}

static int wait_until(recorder *recorder, uint64_t due_ns)
{
    bool asleep = due_ns > monotonic_ns() + SPIN_NS;
    reader_wait(&recorder->reader, asleep, due_ns);
    return ticks_wait(due_ns, asleep);
}

int recorder_run(recorder *recorder, uint64_t until_ns)
{
    int result;
    for (;;) {
        uint64_t next_ns = recorder->ticks.due_ns < until_ns ? recorder->ticks.due_ns : until_ns;
        pause_settle(&recorder->reader.stop, next_ns);
        result = wait_until(recorder, next_ns);
        if (result != ONLOOKER_OK || next_ns == until_ns)
            break;
        bool rested = recorder->all_rest;
        result = tick(recorder);
        if (result == ONLOOKER_OK)
            result = keep_house(recorder);
        /* Ticks at which nobody would be sampled are not worth waking up for: they take a CPU. */
        uint64_t not_before_ns =
            recorder->all_rest && recorder->threads.count ? recorder->rest_until_ns : 0;
        uint64_t left_out = ticks_plan(&recorder->ticks, monotonic_ns(), not_before_ns);
        *(rested ? &recorder->counters.spared : &recorder->counters.late) += left_out;
        if (result != ONLOOKER_OK || recorder->ticks.due_ns >= until_ns)
            break; /* to wait for nothing but the end would be to wake up once more */
    }
    reader_leave(&recorder->reader);
    return result;
}

void recorder_use_contexts(recorder *recorder, contexts *contexts)
{
    recorder->walker.contexts = contexts;
    for (uint32_t i = 0; i < recorder->threads.count; i++)
        recorder->threads.items[i]->settled = false; /* it may have a value of another variable */
}

void recorder_finish(recorder *recorder)
{
    if (accounts_cpu(recorder))
        cpu_finish(&recorder->cpu);
}

void recorder_close(recorder *recorder)
{
    if (!recorder)
        return;
    pause_finish(&recorder->reader.stop);
    threads_free(&recorder->threads);
    tasks_free(&recorder->tasks);
    walker_free(&recorder->walker);
    stacks_free(&recorder->stacks);
    free(recorder->reader.pauses_ns);
    free(recorder);
}
