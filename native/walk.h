/* walk.h: reads the Python stack of one thread state, while it runs, as it was at one instant.
 *
 * One call reads, in this order: the pointer to the current frame, what is asked of the
 * thread's context, the frames, the pointer, the frames again, the pointer, the context again, and
 * what tells the frames' code objects from others. A stack counts only if the pointers agree and
 * the two copies of each frame agree on its code object, its caller and, but for the innermost,
 * where it is in its code. Which frames to ask for is predicted from the sample before; a
 * prediction that fell short is completed and read again. */
#ifndef ONLOOKER_WALK_H
#define ONLOOKER_WALK_H

#include "codes.h"
#include "contexts.h"
#include "memory.h"
#include "ranges.h"
#include "recorder.h"
#include "stacks.h"

/* Results of walk_try beside the ONLOOKER_ ones. */
#define WALK_TORN 100  /* the stack moved: read again */
#define WALK_AGAIN 101 /* now it is known what to read: read again */

/* A reading of the pointer to the current frame. */
typedef struct current {
    uint64_t cframe; /* 0 where there is none */
    uint64_t frame;
} current;

/* A frame as read. */
typedef struct raw_frame {
    uint64_t address;
    uint64_t code; /* 0: no Python function's (entered from C) */
    uint64_t instr;
    bool of_generator;
} raw_frame;

/* What is remembered of a thread state from one sample to the next. */
typedef struct walk {
    uint64_t tstate;
    uint64_t generation_at; /* address of the interpreter's count of freed code objects; 0: none */
    uint64_t cframe;        /* predicted, where there are any */
    ranges frames;          /* predicted */
    ranges codes;           /* to confirm */
    context_view context;
    uint32_t values;   /* of context variables, with the last stack: a set */
    uint32_t accepted; /* samples since the prediction was made anew */
    /* The last stack, from the root: frames and, for each, the stack that ends with it. */
    raw_frame *last;
    uint32_t *last_stacks;
    uint32_t last_count, last_capacity, last_stacks_capacity;
    uint64_t last_generation;
    uint32_t last_root; /* the stack that the last one stood on */
    /* The function's frame at the root, and the interpreter's own frame that it stands on. Once
     * seen to lead to nothing but such frames they are known to: the first function's frame lies
     * where the thread's data stack begins, and anything below would lie there in its place. */
    uint64_t root_function, root_shim;
    /* Frames that were cut off below `omitted_at`, as last counted. */
    uint64_t omitted_at, omitted_until_ns;
    uint64_t counting_ns; /* CPU time of ours that it took */
    int32_t omitted;
} walk;

typedef struct walker {
    memory *source;
    const layout *layout;
    codes codes;
    stacks *stacks;
    contexts *contexts; /* NULL: nobody asks for values of context variables */
    bool contextless;   /* a stack counts even if its context does not hold still */
    uint32_t depth;
    uint32_t frame_size;   /* bytes of a frame that hold all fields we read */
    raw_frame *raw;        /* leaf first */
    uint64_t *unconfirmed; /* code objects of raw frames to be confirmed by another read */
    uint32_t raw_limit;
    unsigned char *first, *second, *checked; /* copies */
    unsigned char *context_first, *context_second;
    uint32_t frames_capacity, checked_capacity, context_capacity;
    struct iovec *local, *remote;
    current *pointers;
    uint32_t pieces_capacity, pointer_count;
    /* Something else to be read along with the next stack, once. Each call into the kernel costs a
     * thread that stands still for it as much as a good part of its stack does. */
    const struct iovec *also_local, *also_remote;
    uint32_t also_count; /* 0: nothing, or no longer */
    bool also_read;      /* it has been */
    double pace;         /* how long swift reads take, against a rough estimate; 0: none was made */
} walker;

/* False when memory runs out or the layout makes no sense. */
bool walker_init(walker *walker, memory *source, const layout *layout, uint64_t code_type,
                 uint32_t depth, stacks *stacks);
void walker_free(walker *walker);

/* Reads the stack once. STOPPED: the thread cannot run meanwhile. *STACK comes in as the stack that
 * this one stands on (STACK_EMPTY, or that of an outer interpreter's thread state of the same
 * thread) and goes out with this one's frames on top. ONLOOKER_OK, WALK_TORN, WALK_AGAIN, or as
 * memory_readv. */
int walk_try(walker *walker, walk *walk, bool stopped, uint32_t *stack);

/* Forgets what was learnt from a read that turned out not to count. */
void walk_forget(walk *walk);

void walk_free(walk *walk);

#endif
