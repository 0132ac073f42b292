/* reader.h: reads the whole stack of a thread, in the way that tells the truth about it.
 *
 * Which way that is must not depend on what the thread is doing at this very moment: reads that are
 * repeated until one succeeds find all threads where they stand still, in calls of C functions, and
 * so do stops that only follow a torn read. So a thread whose reads have been torn is made to stand
 * still before it is read, wherever it is: displaced if its CPU is ours to use, else stopped. */
#ifndef ONLOOKER_READER_H
#define ONLOOKER_READER_H

#include "displace.h"
#include "pause.h"
#include "recorder.h"
#include "tasks.h"
#include "threads.h"
#include "walk.h"

#define PAUSES_KEPT 65536u

typedef struct reader {
    walker *walker;
    tasks *tasks;
    counters *counters;
    int32_t pause; /* ONLOOKER_PAUSE_... */
    thread_stop stop;
    displacement displacement;
    bool still;       /* the thread that is being read stands still */
    uint32_t values;  /* of context variables, of the last one that was read: a set */
    uint64_t awaited; /* thread state, on whose CPU we wait for the next tick; 0: none */
    int32_t awaited_cpu;
    uint64_t awaited_ns;      /* it is left alone until then */
    int32_t busy_cpu;         /* where a thread was that ran, when it was last looked at */
    uint64_t intruding_since; /* our CPU time when a thread was made to stand still; 0: none is */
    uint64_t intrusion_ns;    /* time that this takes, a running mean */
    uint32_t *pauses_ns;      /* a ring of PAUSES_KEPT */
} reader;

/* Call when a tick begins, LATE_NS after it was due, and when it has ended, and before waiting for
 * the next one. Who is ASLEEP until DUE_NS is to wake at once: a recorder that has to wait for its
 * turn sees what the others do when they give way. */
void reader_begin(reader *reader, uint64_t late_ns);
void reader_end(reader *reader);
void reader_wait(reader *reader, bool asleep, uint64_t due_ns);

/* Leaves the CPU that we may be on because of a thread; with or without the hurry. */
void reader_leave(reader *reader);
void reader_step_aside(reader *reader);

/* Reads the stack of THREAD and of the outer thread states of the same OS thread. *RECORD is that
 * of the thread state on top, *RETRIED whether it took more than one read. The task is `asleep`
 * afterwards if it went to sleep before it was read. ONLOOKER_OK, WALK_TORN when no read was
 * consistent, or as memory_readv. */
int read_thread(reader *reader, thread *thread, uint32_t *stack, uint32_t *record, bool *retried);

/* The same for a thread that somebody has stopped. */
int read_stopped(reader *reader, thread *thread, uint32_t *stack, uint32_t *record);

#endif
