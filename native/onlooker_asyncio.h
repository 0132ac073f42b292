/* onlooker_asyncio.h: the boundary between the native reader of asyncio's tasks and Python, as
 * onlooker.h is that of the recorder: declarations, comments and integer #defines, for the compiler
 * and cffi alike.
 *
 * The reader finds all tasks that the given roots lead to and reads what each of them is about: its
 * fields, the frames of what it awaits, who waits for it. The target runs meanwhile. What is told
 * of a task was all true at one moment; a task that never held still is counted, and left out.
 *
 * Addresses are the target's. Nothing here needs the GIL. Results are those of onlooker.h. */

/* What leads to tasks. */
#define ONLOOKER_TASKS_SLOT 0    /* a pointer to the task that a loop runs now */
#define ONLOOKER_TASKS_LIST 1    /* the head of a linked list of tasks */
#define ONLOOKER_TASKS_SET 2     /* a set of tasks */
#define ONLOOKER_TASKS_WEAK 3    /* a set of weak references to tasks */
#define ONLOOKER_TASKS_RUNNING 4 /* a dict whose values are the tasks that loops run now */

/* Facts about a task. */
#define ONLOOKER_TASK_CURRENT 1   /* it is the one that its loop runs */
#define ONLOOKER_TASK_EXECUTING 2 /* its coroutine runs, or something that it awaits does */
#define ONLOOKER_TASK_CREATED 4   /* its coroutine has not run yet */
#define ONLOOKER_TASK_WAITS 8     /* it waits for a future ... */
#define ONLOOKER_TASK_WAITED 16   /* ... which is done by now */
#define ONLOOKER_TASK_FOR_TASK 32 /* ... which is a task: `waits_for` is its name, not a type's */

/* Offsets and facts by the layout's names, as in onlooker.h. Those of tasks may also be what the
 * process itself publishes. */
typedef struct asyncio_layout {
    int32_t object_type, type_name, type_basicsize, type_itemsize, type_flags, type_dictoffset;
    int32_t type_base, type_cached_keys, type_inline_values_flag;
    int32_t instance_managed_dict, instance_managed_values;
    int32_t dict_keys, dict_values, dictkeys_nentries, dictkeys_indices, dictkeys_size;
    int32_t dictkeys_log2_size, dictkeys_log2_index_bytes, dictkeys_kind;
    int32_t dictentry_size, dictentry_key, dictentry_value;
    int32_t dictunicodeentry_size, dictunicodeentry_key, dictunicodeentry_value;
    int32_t dictvalues_values, dictvalues_valid;
    int32_t list_size, list_item, tuple_size, tuple_item;
    int32_t set_mask, set_table, setentry_size, setentry_key, weakref_object;
    int32_t long_tag, long_tag_shift, long_digit, long_digit_bits;
    int32_t unicode_length, unicode_state, unicode_ascii_data, unicode_compact_data, unicode_data;
    int32_t generator_iframe, generator_frame, generator_frame_state;
    int32_t generator_created, generator_suspended, generator_executing;
    int32_t generator_awaits, generator_awaits_too, generator_awaits_opcode;
    int32_t generator_awaits_opcode_too, generator_awaits_oparg, generator_awaited_depth;
    int32_t frame_executable, frame_executable_tag, frame_instr, frame_lasti_scale;
    int32_t frame_localsplus, frame_stackpointer, frame_stackdepth, frame_valuestack;
    int32_t code_adaptive, code_code, bytes_data, awaitwrapper_wrapped;
    int32_t method_func, method_self, cfunction_ml, function_qualname;
    int32_t function_closure, cell_ref, partial_fn, partial_args, wakeup_task;
    int32_t deque_leftblock, deque_leftindex;
    int32_t dequeblock_data, dequeblock_rightlink, dequeblock_items;
    int32_t task_size, task_loop, task_callback0, task_callbacks, task_state, task_fut_waiter;
    int32_t task_coro, task_name, task_awaited_by, task_awaited_by_is_set, task_node;
} asyncio_layout;

typedef struct asyncio_root {
    uint64_t address;
    uint32_t kind; /* ONLOOKER_TASKS_ */
    uint32_t unused;
} asyncio_root;

/* Bytes of the texts: characters of KIND bytes (1, 2 or 4), or UTF-8 (0). */
typedef struct asyncio_text {
    uint64_t at;
    uint32_t bytes;
    uint32_t kind;
} asyncio_text;

typedef struct asyncio_task {
    uint64_t address;
    uint64_t loop;
    asyncio_text name;
    asyncio_text waits_for;
    uint32_t root;  /* the first that led to it */
    uint32_t facts; /* ONLOOKER_TASK_ */
    uint32_t stack; /* its leaf's node: what it awaits is called by what awaits it */
    uint32_t entry; /* its coroutine's code, ONLOOKER_CODE_NO_FRAME if it has none */
    uint32_t first_awaiter;
    uint32_t awaiters; /* names of tasks that wait for it: so many from `first_awaiter` on */
    uint32_t first_frame;
    uint32_t frames; /* addresses of the stack's, its root's first: so many from `first_frame` on */
} asyncio_task;

/* Bytes of the target that were read for a task's variables. */
typedef struct asyncio_piece {
    uint64_t address;
    uint32_t at; /* of their copy */
    uint32_t length;
} asyncio_piece;

typedef struct asyncio_tasks {
    const asyncio_task *tasks;
    const asyncio_text *awaiters;
    const uint64_t *frames;
    const unsigned char *texts;
    const node *nodes; /* as recorder_nodes */
    uint64_t text_bytes;
    uint32_t task_count, awaiter_count, frame_count, node_count, code_count;
    uint32_t unsettled; /* tasks that never held still */
} asyncio_tasks;

typedef struct asyncio_look asyncio_look;

/* Memory that FILE, such as /proc/PID/mem, reads; FILE must stay open for as long. It is for a copy
 * of a process, whose pages process_vm_readv would make its own (FOLL_PIN). NULL when memory runs
 * out. */
memory *memory_open_file(int32_t file);

/* A look at the tasks of a process. CODES are the offsets that the recorder has. Copies the
 * layouts; keeps SOURCE, which must outlive it. NULL when memory runs out or the layouts make no
 * sense. */
asyncio_look *asyncio_open(memory *source, const layout *codes, const asyncio_layout *layout,
                           uint64_t code_type);

/* Reads all tasks; once. Returns ONLOOKER_OK, _GONE, _DENIED or _NO_MEMORY. */
int asyncio_read(asyncio_look *look, const asyncio_root *roots, uint32_t count);

/* Whether at one moment task number INDEX is as it was told and COPIES are what lies at PIECES. If
 * not, it is told anew, unless it never holds still or has ended. */
bool asyncio_confirm(asyncio_look *look, uint32_t index, const asyncio_piece *pieces,
                     uint32_t count, const unsigned char *copies);

/* What was read, which belongs to the look: until it reads more. */
void asyncio_get(const asyncio_look *look, asyncio_tasks *out);

/* As recorder_code. */
int asyncio_code(const asyncio_look *look, uint32_t index, code_text *out);

void asyncio_close(asyncio_look *look);
