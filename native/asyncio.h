/* asyncio.h: one look at the asyncio tasks of a process. */
#ifndef ONLOOKER_ASYNCIO_H
#define ONLOOKER_ASYNCIO_H

#include "awaits.h"

/* What may be a task. */
typedef struct place {
    uint64_t address;
    uint32_t root;
    uint32_t awaits; /* the last task of which it was said that this one waits for it */
    bool current;    /* it is the task that its loop runs */
} place;

struct asyncio_look {
    struct layout code_layout;
    objects objects;
    awaits awaits;
    place *places;
    uint32_t place_count, place_capacity;
    map by_address; /* -> places */
    asyncio_task *tasks;
    uint32_t task_count, task_capacity;
    asyncio_text *awaiters;
    uint32_t awaiter_count, awaiter_capacity;
    uint32_t unsettled;
    uint32_t serial; /* of the task that is being read */
};

enum outcome { OUTCOME_READ, OUTCOME_NO_TASK, OUTCOME_FAULT };

/* What a task itself says. */
typedef struct fields {
    uint64_t coro, waiter, loop;
    asyncio_text name;
    bool done;
} fields;

/* OUTCOME_NO_TASK: there is something else at the address. */
enum outcome fields_read(asyncio_look *look, uint64_t address, fields *out);

/* Adds the names of the tasks that wait for the task at ADDRESS to the look's awaiters. False if it
 * can't be read. */
bool awaiters_add(asyncio_look *look, uint64_t address);

#endif
