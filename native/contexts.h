/* contexts.h: the values of context variables in a thread's current context.
 *
 * PyThreadState.context leads to a PyContext, and that to a tree (HAMT) that never changes: whoever
 * sets a variable makes another tree. So it is enough that the pointers and what was read of the
 * tree are the same in two readings; they are made together with those of the stack, one before and
 * one after it (walk.h), and prove as much. What to read is predicted from the reading before. */
#ifndef ONLOOKER_CONTEXTS_H
#define ONLOOKER_CONTEXTS_H

#include "memory.h"
#include "ranges.h"
#include "recorder.h"

#include "onlooker_contexts.h"

/* The set of a context without values. */
#define CONTEXTS_NO_VALUES 0u

/* No set: the context did not hold still. */
#define CONTEXTS_UNKNOWN UINT32_MAX

enum contexts_answer {
    CONTEXTS_KNOWN,
    CONTEXTS_UNREAD, /* now it is known what to read: read again */
    CONTEXTS_TORN,   /* it moved: read again */
};

/* What is remembered of a context from one reading to the next. */
typedef struct context_view {
    ranges pieces; /* predicted */
    ranges needed; /* in the reading under way */
} context_view;

bool contexts_asked(const contexts *contexts);

/* The set of values in the context that the pointer at SLOT leads to, given two copies of the
 * view's pieces. If the context stands STILL one does, and what is missing is read at once. */
enum contexts_answer contexts_find(contexts *contexts, memory *source, uint64_t slot,
                                   context_view *view, const unsigned char *first,
                                   const unsigned char *second, bool still, uint32_t *set);

void context_view_free(context_view *view);

#endif
