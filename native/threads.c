#include "threads.h"

#include <stdlib.h>
#include <string.h>

/* Bounds of what is believed of a target. */
#define INTERPRETER_LIMIT 4096u
#define THREAD_LIMIT 32768u
#define THREAD_SIZE_LIMIT 2048u

/* Thread states that are read as one OS thread's stack, one inside of the other. */
#define OUTER_LIMIT 1024u

/* Threads that get a record of their own; a program that starts threads all the time must not make
 * us grow without end. */
#define RECORD_LIMIT (1u << 16)

static uint64_t runtime_field(const threads *threads, int32_t offset)
{
    return threads->options->runtime + (uint32_t)offset;
}

static int read_field(const threads *threads, uint64_t base, int32_t offset, uint64_t *out)
{
    return memory_read_u64(threads->source, base + (uint32_t)offset, out);
}

static uint32_t furthest(uint32_t size, int32_t offset, uint32_t width)
{
    uint32_t end = offset == ONLOOKER_NONE ? 0 : (uint32_t)offset + width;
    return end > size ? end : size;
}

static uint32_t new_record(threads *threads, uint64_t thread_id, int64_t interpreter,
                           const task *task)
{
    if (threads->record_count >= RECORD_LIMIT - 1 ||
        !array_reserve((void **)&threads->records, &threads->record_capacity, threads->record_count,
                       sizeof *threads->records, RECORD_LIMIT))
        return THREADS_SHARED_RECORD;
    threads->records[threads->record_count] =
        (thread_record){.thread_id = thread_id,
                        .interpreter = interpreter,
                        .tid = task ? task->tid : 0,
                        .target_tid = task ? task->target_tid : 0,
                        .alive = 1};
    return threads->record_count++;
}

/* A thread of C's that calls into Python gets a new thread state for each call (PyGILState_Ensure);
 * it stays the same thread. */
static uint32_t python_record(threads *threads, uint64_t thread_id, int64_t interpreter, task *task)
{
    uint32_t last = task ? task->python_record : UINT32_MAX;
    if (last != UINT32_MAX && threads->records[last].thread_id == thread_id &&
        threads->records[last].interpreter == interpreter)
        return last;
    last = new_record(threads, thread_id, interpreter, task);
    if (task)
        task->python_record = last;
    return last;
}

uint32_t threads_native_record(threads *threads, task *task)
{
    if (task->record == UINT32_MAX)
        task->record = new_record(threads, 0, -1, task);
    return task->record;
}

/* Lists that move while they are read may lead back to where we were. ONLOOKER_FAULT then. */
static int meet_address(threads *threads, uint64_t address)
{
    if (map_get(&threads->met, address) != MAP_ABSENT)
        return ONLOOKER_FAULT;
    return map_set(&threads->met, address, 0) ? ONLOOKER_OK : ONLOOKER_NO_MEMORY;
}

static int read_interpreters(threads *threads)
{
    const layout *layout = threads->layout;
    uint64_t address, finalizing, next;
    int result =
        read_field(threads, threads->options->runtime, layout->runtime_finalizing, &finalizing);
    if (result == ONLOOKER_OK && finalizing)
        return ONLOOKER_GONE;
    if (result == ONLOOKER_OK)
        result = read_field(threads, threads->options->runtime, layout->runtime_interpreters_head,
                            &address);
    threads->interpreter_count = 0;
    for (; result == ONLOOKER_OK && address; address = next) {
        uint32_t index = threads->interpreter_count;
        if (!array_reserve((void **)&threads->interpreters, &threads->interpreter_capacity, index,
                           sizeof *threads->interpreters, INTERPRETER_LIMIT))
            return ONLOOKER_OK;
        interpreter *new = &threads->interpreters[index];
        uint64_t id;
        *new = (interpreter){.address = address};
        if ((result = meet_address(threads, address)) != ONLOOKER_OK ||
            (result = read_field(threads, address, layout->interpreter_id, &id)) != ONLOOKER_OK ||
            (result = read_field(threads, address, layout->interpreter_threads_head,
                                 &new->threads_head)) != ONLOOKER_OK ||
            (result = read_field(threads, address, layout->interpreter_next, &next)) != ONLOOKER_OK)
            return result;
        new->id = (int64_t)id;
        if (layout->runtime_gil != ONLOOKER_NONE)
            new->gil = runtime_field(threads, layout->runtime_gil);
        else if ((result = read_field(threads, address, layout->interpreter_gil, &new->gil)) !=
                 ONLOOKER_OK)
            return result;
        threads->interpreter_count++;
    }
    return result;
}

/* The kernel's id of a thread, in the target's own pid namespace. */
static int32_t native_id(const threads *threads, const unsigned char *tstate, uint64_t thread_id)
{
    const layout *layout = threads->layout;
    if (layout->thread_native_thread_id != ONLOOKER_NONE)
        return (int32_t)load_u32(tstate, layout->thread_native_thread_id);
    int32_t tid = 0;
    if (threads->options->pthread_tid_offset != ONLOOKER_NONE && thread_id)
        memory_read(threads->source, thread_id + (uint32_t)threads->options->pthread_tid_offset,
                    &tid, sizeof tid);
    return tid;
}

static bool has_frame(const layout *layout, uint64_t tstate, const unsigned char *bytes)
{
    if (layout->thread_cframe == ONLOOKER_NONE)
        return load_u64(bytes, layout->thread_current_frame);
    /* A state's own _PyCFrame is for outside of Python functions. */
    return load_u64(bytes, layout->thread_cframe) - tstate >= PAGE_SIZE;
}

static thread *known(const threads *threads, uint64_t tstate, const unsigned char *bytes,
                     int64_t interpreter_id)
{
    const layout *layout = threads->layout;
    uint32_t index = map_get(&threads->by_tstate, tstate);
    thread *found = index == MAP_ABSENT ? NULL : threads->items[index];
    if (!found || found->thread_id != load_u64(bytes, layout->thread_id) ||
        threads->records[found->record].interpreter != interpreter_id)
        return NULL;
    const task *task = found->task;
    return !task || (!task->gone &&
                     (layout->thread_native_thread_id == ONLOOKER_NONE ||
                      task->target_tid == native_id(threads, bytes, found->thread_id)))
               ? found
               : NULL;
}

static thread *meet(threads *threads, uint64_t tstate, uint32_t interpreter,
                    const unsigned char *bytes, uint64_t now_ns)
{
    const layout *layout = threads->layout;
    uint64_t thread_id = load_u64(bytes, layout->thread_id);
    const struct interpreter *of = &threads->interpreters[interpreter];
    thread *thread = known(threads, tstate, bytes, of->id);
    if (thread) {
        thread->interpreter = interpreter;
        return thread;
    }
    int32_t tid = native_id(threads, bytes, thread_id);
    task *task = threads->tasks ? tasks_find(threads->tasks, tid) : NULL;
    /* A thread state whose thread has ended, or has not begun, runs nothing. */
    if (threads->tasks && !task) {
        threads->unbegun |= layout->thread_native_thread_id != ONLOOKER_NONE && !tid;
        return NULL;
    }
    thread = calloc(1, sizeof *thread);
    if (!thread)
        return NULL;
    thread->walk.tstate = tstate;
    if (layout->interpreter_code_object_generation != ONLOOKER_NONE)
        thread->walk.generation_at =
            of->address + (uint32_t)layout->interpreter_code_object_generation;
    thread->thread_id = thread_id;
    thread->interpreter = interpreter;
    thread->task = task;
    if (task)
        task->python = true; /* so that no scan forgets it before this refresh has ended */
    thread->looked_ns = now_ns;
    thread->quiet = QUIET;
    thread->record = python_record(threads, thread_id, of->id, task);
    return thread;
}

static int read_threads(threads *threads, uint32_t interpreter, thread ***list, uint32_t *count,
                        uint32_t *capacity, uint64_t now_ns)
{
    const layout *layout = threads->layout;
    unsigned char bytes[THREAD_SIZE_LIMIT];
    uint32_t size = furthest(0, layout->thread_next, 8);
    size = furthest(size, layout->thread_interp, 8);
    size = furthest(size, layout->thread_id, 8);
    size = furthest(size, layout->thread_native_thread_id, 8);
    size = furthest(size, layout->thread_cframe, 8);
    size = furthest(size, layout->thread_current_frame, 8);
    if (size > sizeof bytes)
        return ONLOOKER_FAULT;
    uint64_t tstate = threads->interpreters[interpreter].threads_head;
    while (tstate && threads->met.used < THREAD_LIMIT) {
        int result = meet_address(threads, tstate);
        if (result == ONLOOKER_OK)
            result = memory_read(threads->source, tstate, bytes, size);
        if (result != ONLOOKER_OK)
            return result;
        /* Not a (living) thread state: the list moved. */
        if (load_u64(bytes, layout->thread_interp) != threads->interpreters[interpreter].address)
            return ONLOOKER_FAULT;
        if (!array_reserve((void **)list, capacity, *count, sizeof **list, THREAD_LIMIT))
            return ONLOOKER_NO_MEMORY;
        thread *thread = meet(threads, tstate, interpreter, bytes, now_ns);
        if (thread) {
            thread->seen = true;
            thread->framed = has_frame(layout, tstate, bytes);
            (*list)[(*count)++] = thread;
        }
        tstate = load_u64(bytes, layout->thread_next);
    }
    return ONLOOKER_OK;
}

static void forget(threads *threads, thread *thread)
{
    threads->records[thread->record].alive = 0;
    walk_free(&thread->walk);
    free(thread);
}

/* A thread state is made by who creates the thread. Until that begins it has no native thread yet
 * or, up to 3.11, it says that it is its creator's. So of an interpreter's states that claim one
 * native thread those with no frame are nobody's, but for the oldest if none has. */
static void leave_out_unbegun(threads *threads)
{
    map claimed = {0}; /* by the kernel's id */
    for (uint32_t i = threads->count; i-- > 0;) {
        thread *thread = threads->items[i];
        if (!thread->task)
            continue;
        uint32_t tid = (uint32_t)thread->task->tid, index = map_get(&claimed, tid);
        struct thread *older = index == MAP_ABSENT ? NULL : threads->items[index];
        if (older && older->interpreter == thread->interpreter &&
            !(older->framed && thread->framed)) {
            threads->unbegun = true;
            (thread->framed ? older : thread)->inner = true;
            if (!thread->framed)
                continue;
        }
        if (!map_set(&claimed, tid, i))
            break;
    }
    map_free(&claimed);
}

/* A thread that runs in several interpreters has a state in each; the newest interpreter's calls
 * stand on those of the one it was entered from. States beyond OUTER_LIMIT begin a stack of their
 * own. */
static void link_same_os_threads(threads *threads)
{
    if (threads->interpreter_count < 2)
        return;
    map outermost = {0}; /* so far, by the kernel's id */
    for (uint32_t i = 0; i < threads->count; i++) {
        thread *thread = threads->items[i];
        if (!thread->task || thread->inner)
            continue;
        uint32_t last = map_get(&outermost, (uint32_t)thread->task->tid);
        if (last != MAP_ABSENT && threads->items[last]->level + 1 < OUTER_LIMIT) {
            threads->items[last]->outer = thread;
            thread->level = threads->items[last]->level + 1;
            thread->inner = true;
        }
        if (!map_set(&outermost, (uint32_t)thread->task->tid, i))
            break;
    }
    map_free(&outermost);
}

int threads_refresh(threads *threads, uint64_t now_ns)
{
    thread **list = NULL;
    uint32_t count = 0, capacity = 0;
    if (!threads->record_count)
        new_record(threads, 0, -1, NULL);
    for (uint32_t i = 0; i < threads->count; i++)
        threads->items[i]->seen = false;
    threads->unbegun = false;
    map_clear(&threads->met);
    int result = read_interpreters(threads);
    for (uint32_t i = 0; result == ONLOOKER_OK && i < threads->interpreter_count; i++)
        result = read_threads(threads, i, &list, &count, &capacity, now_ns);
    if (result == ONLOOKER_FAULT) {
        /* Half a list says nothing about who has gone. */
        for (uint32_t i = 0; i < threads->count; i++) {
            thread *thread = threads->items[i];
            if (!thread->seen && !(thread->task && thread->task->gone) &&
                array_reserve((void **)&list, &capacity, count, sizeof *list, THREAD_LIMIT)) {
                thread->seen = true;
                list[count++] = thread;
            }
        }
    }
    for (uint32_t i = 0; i < threads->count; i++) {
        if (threads->items[i]->task)
            threads->items[i]->task->python = false;
        if (!threads->items[i]->seen)
            forget(threads, threads->items[i]);
    }
    free(threads->items);
    threads->items = list;
    threads->count = count;
    threads->capacity = capacity;
    map_clear(&threads->by_tstate);
    for (uint32_t i = 0; i < count; i++) {
        if (!map_set(&threads->by_tstate, list[i]->walk.tstate, i))
            return ONLOOKER_NO_MEMORY;
        threads->records[list[i]->record].alive = 1;
        if (list[i]->task)
            list[i]->task->python = true;
        list[i]->outer = NULL;
        list[i]->inner = false;
        list[i]->level = 0;
    }
    leave_out_unbegun(threads);
    link_same_os_threads(threads);
    return result == ONLOOKER_FAULT ? ONLOOKER_OK : result;
}

uint32_t threads_ask_heads(const threads *threads, uint32_t first, heads *heads)
{
    const layout *layout = threads->layout;
    uint32_t rest = threads->interpreter_count - first, pieces = 0;
    heads->first = first;
    heads->count = rest < HEADS_LIMIT ? rest : HEADS_LIMIT;
    for (; pieces < heads->count; pieces++)
        heads->remote[pieces].iov_base =
            (void *)(uintptr_t)(threads->interpreters[first + pieces].address +
                                (uint32_t)layout->interpreter_threads_head);
    heads->remote[pieces++].iov_base =
        (void *)(uintptr_t)runtime_field(threads, layout->runtime_interpreters_head);
    heads->remote[pieces++].iov_base =
        (void *)(uintptr_t)runtime_field(threads, layout->runtime_finalizing);
    for (uint32_t i = 0; i < pieces; i++) {
        heads->local[i] = (struct iovec){&heads->values[i], sizeof heads->values[i]};
        heads->remote[i].iov_len = sizeof heads->values[i];
    }
    return pieces;
}

int threads_judge_heads(const threads *threads, const heads *heads, bool *changed)
{
    const uint64_t *values = heads->values;
    uint32_t count = heads->count;
    if (values[count + 1])
        return ONLOOKER_GONE;
    *changed = !threads->interpreter_count || values[count] != threads->interpreters[0].address;
    for (uint32_t i = 0; i < count; i++)
        *changed |= values[i] != threads->interpreters[heads->first + i].threads_head;
    return ONLOOKER_OK;
}

int threads_changed(const threads *threads, bool *changed)
{
    *changed = false;
    for (uint32_t first = 0; !*changed && (!first || first < threads->interpreter_count);
         first += HEADS_LIMIT) {
        heads heads;
        uint32_t pieces = threads_ask_heads(threads, first, &heads);
        int result = memory_readv(threads->source, heads.local, heads.remote, pieces);
        if (result == ONLOOKER_FAULT) {
            *changed = true; /* an interpreter has gone */
            return ONLOOKER_OK;
        }
        if (result == ONLOOKER_OK)
            result = threads_judge_heads(threads, &heads, changed);
        if (result != ONLOOKER_OK)
            return result;
    }
    return ONLOOKER_OK;
}

int threads_look_at_gil(threads *threads)
{
    const layout *layout = threads->layout;
    for (uint32_t i = 0; i < threads->interpreter_count; i++) {
        interpreter *interpreter = &threads->interpreters[i];
        uint64_t holder = 0;
        int32_t locked = 0;
        struct iovec local[] = {{&holder, sizeof holder}, {&locked, sizeof locked}};
        struct iovec remote[] = {
            {(void *)(uintptr_t)(interpreter->gil + (uint32_t)layout->gil_last_holder),
             sizeof holder},
            {(void *)(uintptr_t)(interpreter->gil + (uint32_t)layout->gil_locked), sizeof locked}};
        interpreter->gil_holder = 0;
        if (!interpreter->gil)
            continue;
        int result = memory_readv(threads->source, local, remote, 2);
        if (result == ONLOOKER_OK && locked == 1)
            interpreter->gil_holder = holder;
        else if (result != ONLOOKER_OK && result != ONLOOKER_FAULT)
            return result;
    }
    return ONLOOKER_OK;
}

void threads_free(threads *threads)
{
    for (uint32_t i = 0; i < threads->count; i++)
        forget(threads, threads->items[i]);
    free(threads->items);
    free(threads->interpreters);
    free(threads->records);
    map_free(&threads->by_tstate);
    map_free(&threads->met);
}
