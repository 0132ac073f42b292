/* threads.h: the interpreters of the target and their thread states. */
#ifndef ONLOOKER_THREADS_H
#define ONLOOKER_THREADS_H

#include "map.h"
#include "memory.h"
#include "recorder.h"
#include "tasks.h"
#include "walk.h"

/* The record of threads that have ended, and of those for which there is no room. */
#define THREADS_SHARED_RECORD 0u

/* Same stacks in a row after which a thread may be suspected of sleeping, when nobody asked whether
 * it is on CPU; and after how many while it turned out not to. */
#define QUIET 2u
#define QUIET_LIMIT 64u

typedef struct interpreter {
    uint64_t address;
    int64_t id;
    uint64_t threads_head; /* newest thread state */
    uint64_t gil;          /* its struct _gil_runtime_state; 0: not known */
    uint64_t gil_holder;   /* thread state, as of threads_look_at_gil; 0: nobody */
} interpreter;

typedef struct thread {
    walk walk;
    uint64_t thread_id;   /* pthread_t */
    uint32_t interpreter; /* index; may be stale after a refresh that found the list moving */
    uint32_t record;
    task *task;             /* NULL: a recording, or a thread that the kernel does not know */
    struct thread *outer;   /* the same OS thread's state in the interpreter it came from */
    bool inner;             /* some other thread's `outer`, sampled with that one, or not begun */
    uint32_t level;         /* how many steps of `outer` lead here */
    bool seen;              /* by the refresh that is under way */
    bool framed;            /* had a frame then */
    bool settled;           /* `stack` is what it has been asleep with */
    uint32_t stack;         /* of the last sample */
    uint32_t values;        /* of context variables, likewise: a set */
    uint32_t same;          /* samples in a row that had this stack */
    uint32_t quiet;         /* so many make it worth asking whether it sleeps */
    uint64_t lock;          /* GIL or RLock that it waited for at the last sample; 0: neither */
    uint64_t rlock;         /* that it waits for while task->wait is known; 0: none */
    bool queued;            /* it waits for the GIL then, in a list */
    uint32_t owed;          /* waits for RLocks that it held while it ran and was not read ... */
    uint64_t owed_ns;       /* ... and their time: for the next stack that it runs with */
    uint64_t wait_slices;   /* of the task, when a wait was last counted */
    bool restless;          /* reads of it are torn: see reader.h */
    uint32_t calm;          /* times in a row that it was not, when asked */
    uint64_t rest_until_ns; /* not sampled before, if restless */
    uint32_t displaced;     /* samples since it was last found to be restless */
    uint64_t looked_ns;     /* when wall time was last given out */
} thread;

typedef struct threads {
    memory *source;
    const layout *layout;
    const options *options;
    tasks *tasks; /* NULL: a recording */
    walker *walker;
    interpreter *interpreters;
    uint32_t interpreter_count, interpreter_capacity;
    thread **items; /* newest interpreter first, newest thread first */
    uint32_t count, capacity;
    bool unbegun;  /* some state's thread had not begun at the last refresh */
    map by_tstate; /* -> items */
    map met;       /* addresses of interpreters and thread states in the refresh under way */
    thread_record *records;
    uint32_t record_count, record_capacity;
} threads;

/* The words of the target that tell whether threads or interpreters have come, for one read. */
#define HEADS_LIMIT 64u
typedef struct heads {
    uint64_t values[HEADS_LIMIT + 2];
    struct iovec local[HEADS_LIMIT + 2], remote[HEADS_LIMIT + 2];
    uint32_t first, count; /* of the interpreters whose heads these are */
} heads;

/* Reads the lists of interpreters and thread states anew. NOW_NS is when threads met for the first
 * time start to be looked at. ONLOOKER_OK, _GONE (also when the interpreter is finalising) or as
 * memory_readv; the lists move while they are read, so a fault only means: later. */
int threads_refresh(threads *threads, uint64_t now_ns);

/* What to read of up to HEADS_LIMIT interpreters from FIRST on; the number of pieces. */
uint32_t threads_ask_heads(const threads *threads, uint32_t first, heads *heads);

/* After that was read. *CHANGED: threads or interpreters have come since the last refresh. (That
 * one has gone shows when it is sampled.) ONLOOKER_OK or _GONE. */
int threads_judge_heads(const threads *threads, const heads *heads, bool *changed);

/* Both, for all interpreters. ONLOOKER_OK, _GONE, or as memory_readv. */
int threads_changed(const threads *threads, bool *changed);

/* Updates every interpreter's gil_holder. */
int threads_look_at_gil(threads *threads);

/* The record of a thread that is not Python's. */
uint32_t threads_native_record(threads *threads, task *task);

void threads_free(threads *threads);

#endif
