/* onlooker_freeze.h: makes the memory of a running process stand still, so that it can be read as
 * it was at one moment.
 *
 * A snapshot costs the target a fork: all its threads are stopped, one of them clones the process
 * (see inject.h), and they go on. The clone never runs. Its memory, which the kernel shares with
 * the target page by page until the target writes, is read through /proc/CHILD/mem; not by
 * process_vm_readv, which would copy every page. When it is over, the clone is killed, and a thread
 * of the target is stopped for a moment to wait for it, so that no zombie stays. The target sees no
 * signal: the clone's end sends none, and no waitpid without __WALL finds it.
 *
 * A stop holds all threads while the target itself is read.
 *
 * If this process is killed, the kernel lets go of what it stopped, and kills the clone. The clone
 * then stays a zombie of the target until the next snapshot, which waits for those too.
 *
 * Everything is done by a thread of its own for each freeze, since ptrace ties tracees to a thread;
 * so the functions here may be called from any. */

#define ONLOOKER_FREEZE_SNAPSHOT 1
#define ONLOOKER_FREEZE_STOP 2

/* How far a freeze got. */
#define ONLOOKER_FROZEN 0
#define ONLOOKER_FREEZE_GONE 1    /* the target ended, or runs another program */
#define ONLOOKER_FREEZE_REFUSED 2 /* TID may not be traced: see ERROR */
#define ONLOOKER_FREEZE_TRACED 3  /* this process traces TID already, in another thread */
#define ONLOOKER_FREEZE_STUCK 4   /* TID did not stop in time: it waits where only death wakes it */
#define ONLOOKER_FREEZE_CROWDED 5 /* more threads than can be stopped, or they never end coming */
#define ONLOOKER_FREEZE_NO_SITE                                                                    \
    6                               /* the instructions for the clone are not, or no longer, there \
                                     */
#define ONLOOKER_FREEZE_NO_THREAD 7 /* no thread could be made to clone */
#define ONLOOKER_FREEZE_NO_CLONE 8  /* the clone failed: see ERROR */

/* The status that a clone ends with which was let go before it could be killed. */
#define ONLOOKER_FREEZE_EXIT_STATUS 0x5d

/* The /proc/PID/oom_score_adj of every clone that is killed: the most that there is. */
#define ONLOOKER_FREEZE_OOM_SCORE_ADJ 1000

typedef struct freeze_options {
    int32_t pid;
    int32_t how;       /* ONLOOKER_FREEZE_SNAPSHOT or _STOP */
    int32_t own_child; /* the target is a child of this process */
    int32_t memory_fd; /* of a stop: what it is read through; ends (reads give 0 bytes) with it */
    /* Where the target has these instructions: "syscall; ret", and the C library's way out of a
     * signal handler, "mov $15, %rax; syscall". */
    uint64_t syscall_return;
    uint64_t sigreturn;
    uint64_t stop_limit_ns; /* for all threads to stop */
    uint64_t hold_limit_ns; /* for a stop to last */
    /* Clones of freezes before that are zombies, by the ids that the target knows. */
    const int32_t *leftovers;
    uint32_t leftover_count;
} freeze_options;

typedef struct freeze_report {
    int32_t outcome;
    int32_t error;   /* an errno */
    int32_t tid;     /* the thread that it is about */
    int32_t child;   /* the clone */
    int32_t held;    /* the freeze lasts */
    int32_t expired; /* a stop was ended at its limit */
    int32_t zombies; /* how many clones could not be waited for */
    uint32_t threads;
    uint64_t stop_ns; /* from the first stop of a thread to the last */
    uint64_t clone_ns;
    uint64_t hold_ns;   /* of a stop */
    uint64_t resume_ns; /* to let all threads go */
    uint64_t reap_ns;   /* a thread's second stop */
} freeze_report;

typedef struct freeze freeze;

/* A freeze that has not begun. NULL when memory runs out. Copies the options. */
freeze *freeze_open(const freeze_options *options);

/* Freezes the process; the report tells whether it is frozen. Returns 0, or an errno if not even
 * the thread for it could be made. Call it once, and freeze_close in any case. */
int freeze_begin(freeze *frozen);

/* How it stands now. */
void freeze_look(freeze *frozen, freeze_report *report);

/* Ends the freeze, and returns when nothing is left of it. May be called twice, but not at once. */
void freeze_end(freeze *frozen);

/* Ends the freeze, and frees it. */
void freeze_close(freeze *frozen);
