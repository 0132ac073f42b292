#include "asyncio.h"

#define AWAITERS_LIMIT (1u << 22)
#define DEPTH_LIMIT 64u /* of futures that wait for one another */
#define GETTERS_LIMIT (1u << 16)
#define TASK_GROUP_DONE "TaskGroup._on_task_done"
#define HANDLE_COMPLETION "_AsCompletedIterator._handle_completion" /* of 3.13 */

/* Functions of asyncio that it has called when a future is done, and that then end another one
 * which is in a variable of theirs. */
static const char *const PASSES_ON[] = {
    "_wait.<locals>._on_completion",        "gather.<locals>._done_callback",
    "_gather.<locals>._done_callback", /* of 3.9 */
    "shield.<locals>._inner_done_callback", "as_completed.<locals>._on_completion",
};

static bool add(asyncio_look *look, uint64_t task)
{
    fields fields;
    uint32_t place = map_get(&look->by_address, task);
    if (place != MAP_ABSENT && look->places[place].awaits == look->serial)
        return true; /* it is known already */
    enum outcome outcome = fields_read(look, task, &fields);
    if (outcome != OUTCOME_READ)
        return outcome == OUTCOME_NO_TASK;
    if (!array_reserve((void **)&look->awaiters, &look->awaiter_capacity, look->awaiter_count,
                       sizeof *look->awaiters, AWAITERS_LIMIT))
        return false;
    if (place != MAP_ABSENT)
        look->places[place].awaits = look->serial;
    look->awaiters[look->awaiter_count++] = fields.name;
    return true;
}

/* From 3.14 on a task says itself who waits for it: nobody, one, or a set. */
static bool add_own(asyncio_look *look, uint64_t address)
{
    objects *objects = &look->objects;
    const asyncio_layout *layout = &objects->layout;
    uint64_t awaiter, table, key;
    uint32_t slots;
    unsigned char is_set;
    if (!word_at(objects, address, layout->task_awaited_by, &awaiter) ||
        !moment_read(&objects->moment, address + (uint32_t)layout->task_awaited_by_is_set, &is_set,
                     1))
        return false;
    if (!awaiter || !is_set)
        return !awaiter || add(look, awaiter);
    if (!objects_set(objects, awaiter, &table, &slots))
        return false;
    for (uint32_t i = 0; i < slots; i++)
        if (!word_at(objects, table + (uint64_t)i * (uint32_t)layout->setentry_size,
                     layout->setentry_key, &key) ||
            (key && !add(look, key)))
            return false;
    return true;
}

static bool add_waiting(asyncio_look *look, uint64_t future, uint32_t depth);

static bool is_future(asyncio_look *look, uint64_t address)
{
    const object_type *type = objects_type(&look->objects, address);
    return type && type->future == FUTURE_PLAIN;
}

/* Those that wait for something to come to a queue: asyncio.as_completed puts there what ends. */
static bool add_by_queue(asyncio_look *look, uint64_t queue, uint32_t depth)
{
    objects *objects = &look->objects;
    const asyncio_layout *layout = &objects->layout;
    uint64_t getters, count, block, index, getter;
    if (!objects_attribute(objects, queue, "_getters", &getters))
        return false;
    const object_type *type = getters ? objects_type(objects, getters) : NULL;
    if (!type || type->role != ROLE_DEQUE)
        return !getters || type;
    if (!word_at(objects, getters, layout->tuple_size, &count) || count > GETTERS_LIMIT ||
        !word_at(objects, getters, layout->deque_leftblock, &block) ||
        !word_at(objects, getters, layout->deque_leftindex, &index))
        return false;
    for (; count; count--, index++) {
        if (index >= (uint32_t)layout->dequeblock_items) {
            if (!word_at(objects, block, layout->dequeblock_rightlink, &block))
                return false;
            index = 0;
        }
        if (!word_at(objects, block + 8 * index, layout->dequeblock_data, &getter) ||
            (is_future(look, getter) && !add_waiting(look, getter, depth + 1)))
            return false;
    }
    return true;
}

/* The first future in the cells of a function that passes on what ends, or the queue. */
static bool add_by_closure(asyncio_look *look, uint64_t function, uint32_t depth)
{
    objects *objects = &look->objects;
    const asyncio_layout *layout = &objects->layout;
    uint64_t name, closure, at, cell, value;
    uint32_t cells;
    bool passes = false;
    if (!word_at(objects, function, layout->function_qualname, &name))
        return false;
    for (size_t i = 0; i < sizeof PASSES_ON / sizeof *PASSES_ON; i++)
        passes |= objects_is_string(objects, name, PASSES_ON[i]);
    if (!passes)
        return true;
    if (!word_at(objects, function, layout->function_closure, &closure) ||
        !objects_sequence(objects, closure, &at, &cells))
        return false;
    for (uint32_t i = 0; i < cells; i++) {
        if (!moment_word(&objects->moment, at + UINT64_C(8) * i, &cell) ||
            !word_at(objects, cell, layout->cell_ref, &value))
            return false;
        const object_type *type = value ? objects_type(objects, value) : NULL;
        if (type && type->future == FUTURE_PLAIN)
            return add_waiting(look, value, depth + 1);
        if (type && type->role == ROLE_QUEUE)
            return add_by_queue(look, value, depth);
    }
    return true;
}

/* A bound method: a task's own (of one written in Python), a group's or as_completed's. */
static bool add_by_method(asyncio_look *look, uint64_t method, uint32_t depth)
{
    objects *objects = &look->objects;
    uint64_t function, self, name;
    if (!word_at(objects, method, objects->layout.method_func, &function) ||
        !word_at(objects, method, objects->layout.method_self, &self))
        return false;
    const object_type *type = objects_type(objects, function);
    if (!type)
        return false;
    if (type->role != ROLE_FUNCTION)
        return true;
    if (!word_at(objects, function, objects->layout.function_qualname, &name))
        return false;
    if (objects_is_string(objects, name, "Task.__wakeup"))
        return add(look, self);
    if (objects_is_string(objects, name, HANDLE_COMPLETION))
        return objects_attribute(objects, self, "_done", &self) &&
               (!self || add_by_queue(look, self, depth));
    return !objects_is_string(objects, name, TASK_GROUP_DONE) ||
           (objects_attribute(objects, self, "_parent_task", &self) && (!self || add(look, self)));
}

/* A C function that is bound to the task that it wakes. */
static bool add_by_cfunction(asyncio_look *look, uint64_t function)
{
    static const char wakeup[] = "task_wakeup";
    objects *objects = &look->objects;
    char name[sizeof wakeup];
    uint64_t definition, at, self;
    if (!word_at(objects, function, objects->layout.cfunction_ml, &definition) ||
        !moment_word(&objects->moment, definition, &at) ||
        !word_at(objects, function, objects->layout.method_self, &self))
        return false;
    /* A name that is shorter may lie at the end of what can be read. */
    return !moment_read(&objects->moment, at, name, sizeof name) ||
           memcmp(name, wakeup, sizeof name) || add(look, self);
}

/* functools.partial(_release_waiter, waiter) of asyncio.wait_for, up to 3.11. */
static bool add_by_partial(asyncio_look *look, uint64_t partial, uint32_t depth)
{
    objects *objects = &look->objects;
    const asyncio_layout *layout = &objects->layout;
    uint64_t function, arguments, at, name, waiter;
    uint32_t count;
    if (!word_at(objects, partial, layout->partial_fn, &function))
        return false;
    const object_type *type = objects_type(objects, function);
    if (!type)
        return false;
    if (type->role != ROLE_FUNCTION)
        return true;
    if (!word_at(objects, function, layout->function_qualname, &name))
        return false;
    if (!objects_is_string(objects, name, "_release_waiter"))
        return true;
    return word_at(objects, partial, layout->partial_args, &arguments) &&
           objects_sequence(objects, arguments, &at, &count) && count &&
           moment_word(&objects->moment, at, &waiter) &&
           (!is_future(look, waiter) || add_waiting(look, waiter, depth + 1));
}

/* What is called when a future is done, if that leads to a task. */
static bool add_by_callback(asyncio_look *look, uint64_t callback, uint32_t depth)
{
    const object_type *type = objects_type(&look->objects, callback);
    uint64_t task;
    if (!type)
        return false;
    switch (type->role) {
    case ROLE_WAKEUP:
        return word_at(&look->objects, callback, look->objects.layout.wakeup_task, &task) &&
               (!task || add(look, task));
    case ROLE_CFUNCTION:
        return add_by_cfunction(look, callback);
    case ROLE_METHOD:
        return add_by_method(look, callback, depth);
    case ROLE_FUNCTION:
        return add_by_closure(look, callback, depth);
    case ROLE_PARTIAL:
        return add_by_partial(look, callback, depth);
    default:
        return true;
    }
}

/* The tasks that go on when a future is done. */
static bool add_waiting(asyncio_look *look, uint64_t future, uint32_t depth)
{
    objects *objects = &look->objects;
    const object_type *type = objects_type(objects, future);
    uint64_t first = 0, callbacks, at, pair, pair_at, callback;
    uint32_t count, two;
    if (depth > DEPTH_LIMIT)
        return true;
    if (!type)
        return false;
    if (type->future == FUTURE_NO) {
        if (!objects_attribute(objects, future, "_callbacks", &callbacks))
            return false;
    } else if (!word_at(objects, future, objects->layout.task_callback0, &first) ||
               !word_at(objects, future, objects->layout.task_callbacks, &callbacks)) {
        return false;
    }
    if (first && !add_by_callback(look, first, depth))
        return false;
    if (!callbacks)
        return true;
    if (!objects_sequence(objects, callbacks, &at, &count))
        return false;
    for (uint32_t i = 0; i < count; i++) /* each is a tuple: the callback and its context */
        if (!moment_word(&objects->moment, at + UINT64_C(8) * i, &pair) ||
            !objects_sequence(objects, pair, &pair_at, &two) || !two ||
            !moment_word(&objects->moment, pair_at, &callback) ||
            !add_by_callback(look, callback, depth))
            return false;
    return true;
}

bool awaiters_add(asyncio_look *look, uint64_t address)
{
    const object_type *type = objects_type(&look->objects, address);
    if (!type)
        return false;
    return type->future != FUTURE_NO && look->objects.layout.task_awaited_by != ONLOOKER_NONE
               ? add_own(look, address)
               : add_waiting(look, address, 0);
}
