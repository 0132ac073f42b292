#include "asyncio.h"

#include <stdio.h>
#include <stdlib.h>

#include "layout.h"

#define TASKS_LIMIT (1u << 18)
#define TASK_BYTES 1024
#define FIND_ATTEMPTS 4u
#define ATTEMPTS 25u /* at a task that moves */
#define ATTEMPTS_AT_ONCE 2u
#define PIECES_AT_ONCE 384u
#define PENDING 0u /* of a future's state */

/* A task is copied as a whole, but for its head with the count of references. */
static bool is_sound(const asyncio_layout *layout)
{
    const int32_t words[] = {layout->task_loop, layout->task_fut_waiter, layout->task_coro,
                             layout->task_name, layout->task_callback0,  layout->task_callbacks};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (words[i] < 16 || words[i] + 8 > layout->task_size)
            return false;
    return layout->task_size <= TASK_BYTES && layout->task_state >= 16 &&
           layout->task_state + 4 <= layout->task_size;
}

asyncio_look *asyncio_open(memory *source, const struct layout *codes, const asyncio_layout *layout,
                           uint64_t code_type)
{
    asyncio_look *look = calloc(1, sizeof *look);
    if (!look)
        return NULL;
    look->code_layout = *codes;
    if (layout_check(codes) && objects_init(&look->objects, source, layout) && is_sound(layout) &&
        awaits_init(&look->awaits, &look->objects, &look->code_layout, code_type))
        return look;
    asyncio_close(look);
    return NULL;
}

void asyncio_close(asyncio_look *look)
{
    if (!look)
        return;
    objects_free(&look->objects);
    awaits_free(&look->awaits);
    map_free(&look->by_address);
    free(look->places);
    free(look->tasks);
    free(look->awaiters);
    free(look);
}

static void add_place(asyncio_look *look, uint64_t address, uint32_t root, bool current)
{
    uint32_t index = map_get(&look->by_address, address);
    if (index != MAP_ABSENT) {
        look->places[index].current |= current;
        return;
    }
    if (!array_reserve((void **)&look->places, &look->place_capacity, look->place_count,
                       sizeof *look->places, TASKS_LIMIT) ||
        !map_set(&look->by_address, address, look->place_count))
        return;
    look->places[look->place_count++] =
        (place){.address = address, .root = root, .current = current};
}

/* False if the list does not end where it began: it changed meanwhile. */
static bool find_in_list(asyncio_look *look, uint64_t head, uint32_t root)
{
    uint64_t node, offset = (uint64_t)(int64_t)look->objects.layout.task_node;
    if (!moment_word(&look->objects.moment, head, &node))
        return false;
    for (uint32_t i = 0; node != head && i < TASKS_LIMIT; i++) {
        add_place(look, node - offset, root, false);
        if (!moment_word(&look->objects.moment, node, &node))
            return false;
    }
    return node == head;
}

static uint64_t referent(asyncio_look *look, uint64_t reference)
{
    const object_type *type = objects_type(&look->objects, reference);
    uint64_t found;
    /* The sets' mark of a deleted item is no reference. */
    if (!type || type->role != ROLE_WEAKREF ||
        !word_at(&look->objects, reference, look->objects.layout.weakref_object, &found))
        return 0;
    type = found ? objects_type(&look->objects, found) : NULL;
    return type && type->role != ROLE_NONE ? found : 0;
}

static bool find_in_set(asyncio_look *look, uint64_t set, uint32_t root, bool weak)
{
    objects *objects = &look->objects;
    uint64_t table, key;
    uint32_t slots;
    if (!objects_set(objects, set, &table, &slots))
        return false;
    for (uint32_t i = 0; i < slots; i++) {
        uint64_t slot = table + (uint64_t)i * (uint32_t)objects->layout.setentry_size;
        if (!word_at(objects, slot, objects->layout.setentry_key, &key))
            return false;
        if (key && weak)
            key = referent(look, key);
        if (key)
            add_place(look, key, root, false);
    }
    return true;
}

static bool find_running(asyncio_look *look, uint64_t dict, uint32_t root)
{
    items items;
    uint64_t key, task;
    if (!objects_dict(&look->objects, dict, &items))
        return false;
    while (objects_next(&look->objects, &items, &key, &task))
        if (task)
            add_place(look, task, root, true);
    return items.next == items.count;
}

static bool find_from(asyncio_look *look, const asyncio_root *root, uint32_t index)
{
    uint64_t task;
    switch (root->kind) {
    case ONLOOKER_TASKS_SLOT:
        if (!moment_word(&look->objects.moment, root->address, &task))
            return false;
        if (task)
            add_place(look, task, index, true);
        return true;
    case ONLOOKER_TASKS_LIST:
        return find_in_list(look, root->address, index);
    case ONLOOKER_TASKS_SET:
    case ONLOOKER_TASKS_WEAK:
        return find_in_set(look, root->address, index, root->kind == ONLOOKER_TASKS_WEAK);
    default:
        return find_running(look, root->address, index);
    }
}

/* Finds all that may be tasks. What changes under our eyes is looked at again. */
static void find(asyncio_look *look, const asyncio_root *roots, uint32_t count)
{
    for (uint32_t attempt = 0; attempt < FIND_ATTEMPTS; attempt++) {
        bool found = true;
        moment_forget(&look->objects.moment);
        map_clear(&look->by_address);
        look->place_count = 0;
        for (uint32_t i = 0; i < count; i++)
            found &= find_from(look, &roots[i], i);
        if (found || look->objects.moment.result != ONLOOKER_OK)
            return;
    }
}

static int by_address(const void *left, const void *right)
{
    uint64_t one = ((const place *)left)->address, other = ((const place *)right)->address;
    return (one > other) - (one < other);
}

/* What belongs to tasks that lie side by side mostly does so too, and is read at once. */
static void sort_places(asyncio_look *look)
{
    if (look->place_count)
        qsort(look->places, look->place_count, sizeof *look->places, by_address);
    for (uint32_t i = 0; i < look->place_count; i++)
        if (!map_set(&look->by_address, look->places[i].address, i))
            look->objects.moment.result = ONLOOKER_NO_MEMORY;
}

/* A task's name: from 3.12 on it may be a number that stands for Task-N. */
static bool read_name(asyncio_look *look, uint64_t address, asyncio_text *out)
{
    const object_type *type = objects_type(&look->objects, address);
    char name[32];
    uint64_t number;
    if (!type)
        return false;
    if (type->role != ROLE_INT)
        return objects_string(&look->objects, address, out);
    if (!objects_integer(&look->objects, address, &number))
        return false;
    int length = snprintf(name, sizeof name, "Task-%llu", (unsigned long long)number);
    return objects_add_text(&look->objects, (unsigned char *)name, (uint64_t)length, 1, out);
}

static enum outcome read_native(asyncio_look *look, uint64_t address, fields *out)
{
    const asyncio_layout *layout = &look->objects.layout;
    unsigned char task[TASK_BYTES];
    if (!moment_read(&look->objects.moment, address + 16, task + 16,
                     (uint32_t)layout->task_size - 16))
        return OUTCOME_FAULT;
    *out = (fields){.coro = load_u64(task, layout->task_coro),
                    .waiter = load_u64(task, layout->task_fut_waiter),
                    .loop = load_u64(task, layout->task_loop),
                    .done = load_u32(task, layout->task_state) != PENDING};
    return read_name(look, load_u64(task, layout->task_name), &out->name) ? OUTCOME_READ
                                                                          : OUTCOME_FAULT;
}

/* Of a task of a class written in Python. */
static enum outcome read_python(asyncio_look *look, uint64_t address, fields *out)
{
    static const char *const names[] = {"_coro", "_loop", "_fut_waiter", "_name", "_state"};
    enum { CORO, LOOP, WAITER, NAME, STATE, NAMES };
    objects *objects = &look->objects;
    uint64_t values[NAMES] = {0}, key, value;
    items items;
    if (!objects_attributes(objects, address, &items))
        return OUTCOME_FAULT;
    while (objects_next(objects, &items, &key, &value))
        for (int i = 0; key && i < NAMES; i++)
            if (objects_is_string(objects, key, names[i]))
                values[i] = value;
    if (items.next < items.count)
        return OUTCOME_FAULT;
    if (!values[CORO] || !values[LOOP])
        return OUTCOME_NO_TASK;
    const object_type *waiter = values[WAITER] ? objects_type(objects, values[WAITER]) : NULL;
    if (values[WAITER] && !waiter)
        return OUTCOME_FAULT;
    *out = (fields){.coro = values[CORO],
                    .waiter = waiter && waiter->role != ROLE_NONE ? values[WAITER] : 0,
                    .loop = values[LOOP],
                    .done = values[STATE] && !objects_is_string(objects, values[STATE], "PENDING")};
    return !values[NAME] || read_name(look, values[NAME], &out->name) ? OUTCOME_READ
                                                                      : OUTCOME_FAULT;
}

enum outcome fields_read(asyncio_look *look, uint64_t address, fields *out)
{
    const object_type *type = objects_type(&look->objects, address);
    if (!type)
        return OUTCOME_FAULT;
    if (type->future == FUTURE_TASK)
        return read_native(look, address, out);
    if (map_get(&look->by_address, address) == MAP_ABSENT)
        return OUTCOME_NO_TASK;
    return read_python(look, address, out);
}

/* Whether a future is done. */
static bool read_done(asyncio_look *look, uint64_t future, bool *done)
{
    objects *objects = &look->objects;
    const object_type *type = objects_type(objects, future);
    uint64_t value;
    uint32_t state;
    if (!type)
        return false;
    if (type->future == FUTURE_NO) {
        if (!objects_attribute(objects, future, "_state", &value))
            return false;
        *done = value && !objects_is_string(objects, value, "PENDING");
        return true;
    }
    if (!moment_read(&objects->moment, future + (uint32_t)objects->layout.task_state, &state, 4))
        return false;
    *done = state != PENDING;
    return true;
}

/* What a task waits for: another task by its name, anything else by its type. */
static bool read_waiter(asyncio_look *look, uint64_t future, asyncio_task *out)
{
    fields other;
    bool done;
    if (!read_done(look, future, &done))
        return false;
    out->facts |= ONLOOKER_TASK_WAITS | (done ? ONLOOKER_TASK_WAITED : 0);
    switch (fields_read(look, future, &other)) {
    case OUTCOME_READ:
        out->facts |= ONLOOKER_TASK_FOR_TASK;
        out->waits_for = other.name;
        return true;
    case OUTCOME_NO_TASK: {
        const object_type *type = objects_type(&look->objects, future);
        out->waits_for = type ? type->name : (asyncio_text){0};
        return type;
    }
    default:
        return false;
    }
}

static enum outcome read_task(asyncio_look *look, const place *place, asyncio_task *out)
{
    fields fields;
    chain chain;
    enum outcome outcome = fields_read(look, place->address, &fields);
    if (outcome != OUTCOME_READ || fields.done)
        return outcome == OUTCOME_FAULT ? OUTCOME_FAULT : OUTCOME_NO_TASK;
    if (!awaits_follow(&look->awaits, fields.coro, &chain))
        return OUTCOME_FAULT;
    *out = (asyncio_task){.address = place->address,
                          .loop = fields.loop,
                          .name = fields.name,
                          .root = place->root,
                          .facts = (place->current ? ONLOOKER_TASK_CURRENT : 0) |
                                   (chain.executing ? ONLOOKER_TASK_EXECUTING : 0) |
                                   (chain.created ? ONLOOKER_TASK_CREATED : 0),
                          .stack = chain.stack,
                          .entry = chain.entry,
                          .first_awaiter = look->awaiter_count,
                          .first_frame = chain.first_frame,
                          .frames = chain.frames};
    if (fields.waiter && !read_waiter(look, fields.waiter, out))
        return OUTCOME_FAULT;
    look->serial++;
    if (!awaiters_add(look, place->address))
        return OUTCOME_FAULT;
    out->awaiters = look->awaiter_count - out->first_awaiter;
    return OUTCOME_READ;
}

/* How much was told. */
typedef struct mark {
    uint32_t tasks, awaiters, frames, unsettled;
} mark;

static mark mark_here(const asyncio_look *look)
{
    return (mark){look->task_count, look->awaiter_count, look->awaits.frame_count, look->unsettled};
}

static void take_back(asyncio_look *look, mark mark)
{
    look->task_count = mark.tasks;
    look->awaiter_count = mark.awaiters;
    look->awaits.frame_count = mark.frames;
    look->unsettled = mark.unsettled;
}

/* Reads a task until all that was read for it is true at one moment. */
static enum outcome read_again(asyncio_look *look, const place *place, asyncio_task *out)
{
    moment *moment = &look->objects.moment;
    mark before = mark_here(look);
    for (uint32_t i = 0; i < ATTEMPTS && moment->result == ONLOOKER_OK; i++) {
        moment_begin(moment, i ? MOMENT_FRESH : MOMENT_TRACED);
        take_back(look, before);
        enum outcome outcome = read_task(look, place, out);
        if (moment_holds(moment))
            return outcome; /* even a fault: it can't be a task */
    }
    return OUTCOME_FAULT;
}

typedef enum outcome read_function(asyncio_look *, const place *, asyncio_task *);

static void add_task(asyncio_look *look, const place *place, read_function *read)
{
    asyncio_task task;
    mark before = mark_here(look);
    enum outcome outcome = read(look, place, &task);
    if (outcome == OUTCOME_READ &&
        array_reserve((void **)&look->tasks, &look->task_capacity, look->task_count,
                      sizeof *look->tasks, TASKS_LIMIT)) {
        look->tasks[look->task_count++] = task;
        return;
    }
    take_back(look, before);
    look->unsettled += outcome != OUTCOME_NO_TASK;
}

/* Reads the tasks from FIRST on that few enough bytes tell of to look at them at once again: they
 * have much in common. Most are still what the blocks say, or else what new ones say; if any of
 * these is not, each is read again. Returns the next task. */
static uint32_t confirm_some(asyncio_look *look, uint32_t first)
{
    moment *moment = &look->objects.moment;
    mark before = mark_here(look);
    uint32_t next = first;
    for (uint32_t attempt = 0; attempt < ATTEMPTS_AT_ONCE; attempt++) {
        moment_begin(moment, MOMENT_TRACED);
        next = first;
        do
            add_task(look, &look->places[next++], read_task);
        while (next < look->place_count && moment->piece_count < PIECES_AT_ONCE);
        if (look->unsettled == before.unsettled && moment_holds(moment))
            return next;
        take_back(look, before);
        moment_forget(moment);
    }
    for (uint32_t i = first; i < next; i++)
        add_task(look, &look->places[i], read_again);
    return next;
}

int asyncio_read(asyncio_look *look, const asyncio_root *roots, uint32_t count)
{
    find(look, roots, count);
    sort_places(look);
    if (memory_is_still(look->objects.moment.source))
        for (uint32_t i = 0; i < look->place_count; i++)
            add_task(look, &look->places[i], read_task);
    else
        for (uint32_t i = 0; i < look->place_count;)
            i = confirm_some(look, i);
    return look->objects.moment.result;
}

static bool is_at(moment *moment, const asyncio_piece *piece, const unsigned char *copies)
{
    unsigned char now[4096];
    for (uint32_t done = 0, step; done < piece->length; done += step) {
        step = piece->length - done < sizeof now ? piece->length - done : sizeof now;
        if (!moment_read(moment, piece->address + done, now, step) ||
            memcmp(now, copies + piece->at + done, step))
            return false;
    }
    return true;
}

/* Whether both have the same stack, in the same frames. */
static bool stands_alike(const asyncio_look *look, const asyncio_task *one,
                         const asyncio_task *other)
{
    const uint64_t *frames = look->awaits.frames;
    return one->stack == other->stack && one->facts == other->facts &&
           one->frames == other->frames &&
           (!one->frames || !memcmp(frames + one->first_frame, frames + other->first_frame,
                                    one->frames * sizeof *frames));
}

bool asyncio_confirm(asyncio_look *look, uint32_t index, const asyncio_piece *pieces,
                     uint32_t count, const unsigned char *copies)
{
    moment *moment = &look->objects.moment;
    asyncio_task now, *told = &look->tasks[index];
    const place *place = &look->places[map_get(&look->by_address, told->address)];
    mark before = mark_here(look);
    moment->effort = 0; /* the caller's efforts are bounded */
    moment_begin(moment, MOMENT_FRESH);
    bool holds = read_task(look, place, &now) == OUTCOME_READ && stands_alike(look, told, &now);
    for (uint32_t i = 0; holds && i < count; i++)
        holds = is_at(moment, &pieces[i], copies);
    holds = holds && moment_holds(moment);
    take_back(look, before);
    if (holds)
        return true;
    moment_forget(moment);
    if (read_again(look, place, &now) == OUTCOME_READ)
        *told = now;
    else
        take_back(look, before);
    return false;
}

void asyncio_get(const asyncio_look *look, asyncio_tasks *out)
{
    *out = (asyncio_tasks){.tasks = look->tasks,
                           .awaiters = look->awaiters,
                           .frames = look->awaits.frames,
                           .texts = look->objects.texts,
                           .nodes = look->awaits.stacks.nodes,
                           .text_bytes = look->objects.text_bytes,
                           .task_count = look->task_count,
                           .awaiter_count = look->awaiter_count,
                           .frame_count = look->awaits.frame_count,
                           .node_count = look->awaits.stacks.node_count,
                           .code_count = look->awaits.codes.entry_count,
                           .unsettled = look->unsettled};
}

int asyncio_code(const asyncio_look *look, uint32_t index, code_text *out)
{
    return codes_text(&look->awaits.codes, index, out);
}
