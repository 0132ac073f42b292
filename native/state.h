/* state.h: what a recorder is made of. */
#ifndef ONLOOKER_STATE_H
#define ONLOOKER_STATE_H

#include "contention.h"
#include "cpu.h"
#include "memory.h"
#include "reader.h"
#include "recorder.h"
#include "stacks.h"
#include "tasks.h"
#include "threads.h"
#include "ticks.h"
#include "walk.h"

struct recorder {
    memory *source;
    layout layout;
    options options;
    stacks stacks;
    walker walker;
    tasks tasks;
    threads threads;
    cpu cpu;
    contention contention;
    reader reader;
    counters counters;
    ticks ticks;
    bool all_rest;          /* all threads are left alone now, ... */
    uint64_t rest_until_ns; /* ... the first of them until then */
    uint64_t checked_ns, kept_ns;
    bool stale; /* the lists of threads: not read yet, or a thread has gone */
};

#endif
