/* tracee.h: one thread that the calling thread traces. ptrace ties a tracee to the one thread that
 * seized it: all calls for it come from there. When that thread ends, the kernel lets go of all
 * that it traces, which go on as if nothing had been. */
#ifndef ONLOOKER_TRACEE_H
#define ONLOOKER_TRACEE_H

#include "recorder.h"

/* Why a thread stands still, or that it does not. */
typedef enum tracee_event {
    TRACEE_NONE,    /* it runs, or sleeps in the kernel */
    TRACEE_STOP,    /* as asked by tracee_interrupt, or with its whole process by SIGSTOP */
    TRACEE_SYSCALL, /* where it enters or leaves a system call */
    TRACEE_CLONE,   /* it made a child, which is traced too */
    TRACEE_SIGNAL,  /* to have a signal delivered */
    TRACEE_GONE,    /* it ended */
} tracee_event;

typedef struct tracee {
    int32_t tid;
    bool stopped;
    bool of_job;    /* the last TRACEE_STOP was SIGSTOP's: it goes on by SIGCONT */
    bool keep;      /* somebody else of this process waits for its end: don't reap it */
    int32_t signal; /* of the last TRACEE_SIGNAL; passed on when the thread goes on */
} tracee;

/* Seizes a thread, which goes on and minds nothing of it, with PTRACE_O_ options. 0 or an errno. */
int tracee_seize(int32_t tid, int options);

/* Seizes a thread, which goes on, and asks it to stop. 0 or an errno. */
int tracee_interrupt_new(tracee *thread);

/* What has happened since. */
tracee_event tracee_poll(tracee *thread);

/* Waits for the next event until UNTIL_NS (CLOCK_MONOTONIC), then returns TRACEE_NONE. */
tracee_event tracee_wait(tracee *thread, uint64_t until_ns);

/* Waits for TRACEE_STOP, passing on the signals that come before. Returns it, _GONE or _NONE. */
tracee_event tracee_wait_stop(tracee *thread, uint64_t until_ns);

/* Lets a stopped thread go on by REQUEST (PTRACE_CONT or PTRACE_SYSCALL), or stand still without us
 * (PTRACE_LISTEN). 0 or an errno. */
int tracee_continue(tracee *thread, int request);

/* Lets go of a stopped thread, or of one that is dead: nothing else waits for a dead thread. */
void tracee_detach(tracee *thread);

#endif
