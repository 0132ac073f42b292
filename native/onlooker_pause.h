/* onlooker_pause.h: a thread that is stopped for longer than a stack takes. As onlooker.h says. */

typedef struct thread_stop thread_stop;

/* Stops the thread TID of process PID, which should be running; OWN_CHILD as in options. NULL with
 * errno set when it can't be stopped. */
thread_stop *pause_thread(int32_t pid, int32_t tid, int32_t own_child);

/* Lets it go. */
void pause_release(thread_stop *stop);
