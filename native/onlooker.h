/* onlooker.h: the boundary between the native recorder and Python. This file is the C compiler's
 * header and cffi's declarations at once, so it holds only declarations, comments and integer
 * #defines, has no include guard, and is included exactly once by each C file, after <stdint.h>
 * (through recorder.h).
 *
 * The recorder reads the memory of another process, walks CPython's structures there and counts
 * what it sees: how often a thread was found with a stack, what the thread was doing, and the wall
 * and CPU time that this stands for. It names nothing and holds no opinion about profiles.
 *
 * All times are nanoseconds. Addresses are the target's. Nothing here needs the GIL. A recorder is
 * used by one thread at a time. */

/* An offset that this CPython does not have. */
#define ONLOOKER_NONE -1

/* Results. */
#define ONLOOKER_OK 0
#define ONLOOKER_GONE 1        /* the target ended, executed another program, or is finalising */
#define ONLOOKER_FAULT 2       /* an address could not be read */
#define ONLOOKER_DENIED 3      /* the kernel does not let us read this process */
#define ONLOOKER_NO_MEMORY 4   /* our own memory ran out */
#define ONLOOKER_INTERRUPTED 5 /* a signal for us arrived; call again to go on */

/* Facts about a thread at the instant its stack was read. */
#define ONLOOKER_ON_CPU 1    /* running, or runnable and waiting for a CPU */
#define ONLOOKER_HOLDS_GIL 2 /* holds its interpreter's GIL */
#define ONLOOKER_WAITS 4     /* is blocked in the kernel, but not for the GIL */
#define ONLOOKER_WAITS_GIL 8 /* is blocked since it wants its interpreter's GIL */
/* Holds an RLock that others wait for. A row with this fact stands for the time of those only. */
#define ONLOOKER_HOLDS_LOCK 16
/* With WAITS: facts >> ONLOOKER_WAIT_SHIFT is the kind of system call, one of these. */
#define ONLOOKER_WAIT_SHIFT 5
#define ONLOOKER_WAIT_OTHER 0 /* any other call, or not known */
#define ONLOOKER_WAIT_FUTEX 1
#define ONLOOKER_WAIT_SLEEP 2
#define ONLOOKER_WAIT_SELECT 3
#define ONLOOKER_WAIT_POLL 4
#define ONLOOKER_WAIT_EPOLL 5
#define ONLOOKER_WAIT_SOCKET 6
#define ONLOOKER_WAIT_IO 7 /* reads and writes, of whatever: a file, a pipe, a socket */
#define ONLOOKER_WAIT_CHILD 8
#define ONLOOKER_WAIT_SIGNAL 9

/* When a thread that cannot be read consistently is stopped for some microseconds. */
#define ONLOOKER_PAUSE_NEVER 0
#define ONLOOKER_PAUSE_AUTO 1
#define ONLOOKER_PAUSE_ALWAYS 2

/* Frames that stand for something else than a code object; a node's `code` is one of these or an
 * index for recorder_code. */
#define ONLOOKER_CODE_OMITTED 0   /* `lasti` frames beyond the depth limit, at the root side */
#define ONLOOKER_CODE_NATIVE 1    /* a thread that is not Python's */
#define ONLOOKER_CODE_NO_FRAME 2  /* a Python thread outside any Python function */
#define ONLOOKER_CODE_UNSAMPLED 3 /* CPU time of threads that no sample met */
#define ONLOOKER_CODE_OVERFLOW 4  /* the table of stacks is full */
#define ONLOOKER_CODE_FIRST 5     /* the first real code object */

/* Offsets in CPython's structures, by CPython's names; ONLOOKER_NONE where a version has no such
 * field. The recorder asks which fields exist, never which version this is. */
typedef struct layout {
    int32_t runtime_interpreters_head;
    int32_t runtime_finalizing;
    int32_t runtime_gil; /* struct _gil_runtime_state inside _PyRuntime */
    int32_t interpreter_next;
    int32_t interpreter_id;
    int32_t interpreter_threads_head;
    int32_t interpreter_gil; /* pointer to the struct _gil_runtime_state */
    int32_t interpreter_code_object_generation;
    int32_t gil_last_holder;
    int32_t gil_locked;
    int32_t thread_next;
    int32_t thread_interp;
    int32_t thread_current_frame; /* the frame itself ... */
    int32_t thread_cframe;        /* ... or the _PyCFrame that points to it */
    int32_t cframe_current_frame;
    int32_t thread_id; /* pthread_t */
    int32_t thread_native_thread_id;
    int32_t thread_context;
    int32_t frame_previous;
    int32_t frame_executable;
    int32_t frame_instr;
    int32_t frame_owner;
    int32_t frame_owner_shim;     /* owners from this on are the interpreter's own frames */
    int32_t frame_executable_tag; /* bits of frame_executable that are no part of the pointer */
    int32_t frame_lasti_scale;    /* bytes a unit of f_lasti; NONE: frame_instr is a pointer */
    int32_t code_filename;
    int32_t code_name;
    int32_t code_qualname;
    int32_t code_linetable;
    int32_t code_firstlineno;
    int32_t code_adaptive;
    int32_t code_version;
    int32_t code_nlocalsplus;
    int32_t frame_localsplus;
    int32_t frame_valuestack;
    int32_t object_type;
    int32_t type_name;
    int32_t type_base;
    int32_t method_self;
    int32_t rlock_lock;  /* the semaphore that is waited for ... */
    int32_t rlock_mutex; /* ... or a mutex: who waits for it has its address in a wait_entry */
    int32_t rlock_owner;
    int32_t waitentry_addr;
    int32_t waitentry_sema;
    int32_t unicode_length;
    int32_t unicode_state;
    int32_t unicode_ascii_data;
    int32_t unicode_compact_data;
    int32_t bytes_size;
    int32_t bytes_data;
} layout;

typedef struct options {
    uint64_t runtime;           /* address of _PyRuntime */
    uint64_t code_type;         /* address of PyCode_Type; 0: not known */
    uint64_t period_ns;         /* between two ticks */
    uint64_t seed;              /* of the ticks' jitter */
    uint32_t depth;             /* frames kept of a stack, from the leaf */
    uint32_t facts;             /* facts to find out */
    uint32_t wanted;            /* read only threads with one of these facts; 0: all threads */
    int32_t pause;              /* ONLOOKER_PAUSE_... */
    int32_t namespaced;         /* thread ids are of another pid namespace than ours */
    int32_t pthread_tid_offset; /* of the kernel's thread id in struct pthread, or NONE */
    int32_t own_child;          /* the target is a child of this process */
} options;

/* One step of a stack: the frame of `code` at byte `lasti` of its code, called from `parent`.
 * Node 0 is the empty stack. A stack is the index of its leaf's node. */
typedef struct node {
    uint32_t parent;
    uint32_t code;
    int32_t lasti;
} node;

/* What was seen of `thread` with `stack`, `facts` and `values`. */
typedef struct row {
    uint32_t stack;
    uint32_t thread; /* index for recorder_threads */
    uint32_t facts;
    uint32_t count;      /* samples */
    uint32_t begun;      /* waits: samples before which the thread had run; a lower bound */
    uint32_t held_up;    /* waits of others for the GIL or lock that this held, likewise */
    uint64_t wall_ns;    /* elapsed since the thread's sample before, summed */
    uint64_t cpu_ns;     /* the kernel's account since its CPU sample before, summed */
    uint64_t held_up_ns; /* elapsed time of other threads that waited for it, summed */
    uint64_t values;     /* of context variables: a set of onlooker_contexts.h */
} row;

typedef struct thread_record {
    uint64_t thread_id;  /* pthread_t, threading's ident; 0: not a Python thread */
    int64_t interpreter; /* id; -1: not a Python thread */
    int32_t tid;         /* as our pid namespace knows it; 0: many threads that share this record */
    int32_t target_tid;  /* as the target's pid namespace knows it */
    int32_t alive;
    int32_t unused;
} thread_record;

/* A str as it lies in the target: `length` code points of `kind` bytes (1, 2 or 4). */
typedef struct text {
    const unsigned char *data;
    uint64_t length;
    uint32_t kind;
    uint32_t ascii;
} text;

typedef struct code_text {
    text name; /* co_qualname where there is one, else co_name */
    text filename;
    const unsigned char *linetable;
    uint64_t linetable_size;
    int32_t firstlineno;
} code_text;

typedef struct counters {
    uint64_t ticks;
    uint64_t late;            /* ticks that were due while the recorder was behind, and left out */
    uint64_t samples;         /* of threads */
    uint64_t reused;          /* samples of threads that had not run since the sample before */
    uint64_t torn;            /* reads thrown away because the stack moved under them */
    uint64_t retried;         /* samples that needed more than one read */
    uint64_t displaced;       /* samples of threads that stood still since we were on their CPU */
    uint64_t paused;          /* samples for which the thread was stopped */
    uint64_t spared;          /* samples left out, so that a thread does not stand still too much */
    uint64_t lost;            /* samples given up: not consistent within the allowed tries */
    uint64_t first_sample_ns; /* CLOCK_MONOTONIC; 0: none yet */
    uint64_t start_ns;        /* CLOCK_MONOTONIC of recorder_open's end */
    uint64_t threads;         /* Python threads at the last look */
    int64_t pause_errno;      /* why the last stop failed; 0: none did */
    uint64_t overflow;        /* samples that found the table of stacks full */
    uint64_t contextless;     /* samples of which the context would not hold still */
} counters;

typedef struct memory memory;
typedef struct recorder recorder;

/* The memory of process PID, read with process_vm_readv. NULL with errno set on failure. */
memory *memory_open_process(int32_t pid);

/* A recording: COUNT pages of 4096 bytes each, at ADDRESSES, which must ascend; both are copied.
 * NULL when memory runs out. */
memory *memory_open_recording(const uint64_t *addresses, const unsigned char *pages,
                              uint64_t count);

/* From now on remember every page that is read. Returns ONLOOKER_OK or ONLOOKER_NO_MEMORY. */
int memory_capture(memory *source);

/* The pages remembered: their number; the ADDRESS and the 4096 bytes of page INDEX, or NULL. */
uint64_t memory_captured_count(const memory *source);
const unsigned char *memory_captured_page(const memory *source, uint64_t index, uint64_t *address);

void memory_close(memory *source);

/* A recorder of the process PID that SOURCE reads (PID 0: a recording, without threads of the
 * kernel's). Copies LAYOUT and OPTIONS; keeps SOURCE, which must outlive it. NULL when memory
 * runs out or the layout makes no sense. */
recorder *recorder_open(memory *source, int32_t pid, const layout *layout, const options *options);

/* Samples at every due tick until CLOCK_MONOTONIC reaches UNTIL_NS, or up to the last tick before
 * if there is one. Returns ONLOOKER_OK, _GONE, _DENIED, _NO_MEMORY or _INTERRUPTED; what was
 * counted before stays. */
int recorder_run(recorder *recorder, uint64_t until_ns);

/* One sample of every thread, now. Results as recorder_run. */
int recorder_tick(recorder *recorder);

/* Settles the CPU time that no sample has taken yet: each thread's since its last CPU sample goes
 * to that sample's stack. Call once, after the last tick. */
void recorder_finish(recorder *recorder);

/* What was counted. The arrays belong to the recorder and live until its next call. */
const node *recorder_nodes(const recorder *recorder, uint32_t *count);
const row *recorder_rows(const recorder *recorder, uint32_t *count);
const thread_record *recorder_threads(const recorder *recorder, uint32_t *count);
const counters *recorder_counters(const recorder *recorder);

/* Durations of the stops, newest last in a ring of *CAPACITY; *COUNT were made in all. */
const uint32_t *recorder_pauses_ns(const recorder *recorder, uint64_t *count, uint32_t *capacity);

/* One past the last code index. */
uint32_t recorder_code_count(const recorder *recorder);

/* The text of code INDEX; false (0) when INDEX is no real code object or was released. The bytes
 * live until recorder_release_codes. */
int recorder_code(const recorder *recorder, uint32_t index, code_text *out);

/* Frees the texts of all codes below BELOW: Python has its own form of them by then. */
void recorder_release_codes(recorder *recorder, uint32_t below);

void recorder_close(recorder *recorder);
