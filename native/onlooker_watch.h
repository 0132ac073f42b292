/* onlooker_watch.h: the part of the boundary that watches who creates threads. Rules as in
 * onlooker.h, which comes before it.
 *
 * A thread of its own seizes all threads of the process (PTRACE_SEIZE, which stops nobody), and
 * with them those that they create. Whoever creates one then stands still until its stack has been
 * read, and so does the new one before its first instruction. The kernel also stops a thread that
 * gets a signal, which it is given at once; one that its process ignores interrupts a system call
 * as SIGSTOP and SIGCONT would (signal(7)). It tells the tracer of all this by waking it: nothing
 * is stopped to be let go in the end. The kernel lets go of all when the tracing thread ends, by
 * itself or with this process. While this process is stopped, so is who would have to stop. */

typedef struct watch watch;

/* A watch of the process that RECORDER records, which must outlive it and have no ticks any more:
 * what is counted there from watch_begin on are the threads created, with the stack of who did it.
 * (A sample that is `lost` counts, too, as ONLOOKER_CODE_UNSAMPLED.) NULL when memory runs out. */
watch *watch_open(recorder *recorder);

/* Returns 0 when all threads are watched, or an errno: the kernel does not let us, or another
 * tracer has one of them. */
int watch_begin(watch *watch);

/* The threads that were there when the watch began, as our pid namespace knows them. */
const int32_t *watch_present(const watch *watch, uint32_t *count);

/* Waits until CLOCK_MONOTONIC reaches UNTIL_NS. Returns ONLOOKER_OK, _GONE or _INTERRUPTED. */
int watch_run(watch *watch, uint64_t until_ns);

/* Keeps what was counted from changing, so that the recorder can be asked for it. Whoever creates
 * a thread meanwhile stands still. */
void watch_hold(watch *watch);
void watch_release(watch *watch);

/* Ends it; what was counted stays. */
void watch_end(watch *watch);

void watch_close(watch *watch);
