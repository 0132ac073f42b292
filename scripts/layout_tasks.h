/* For layout_probe.c: what asyncio's tasks are, and what suspended coroutines await. */
#ifndef LAYOUT_TASKS_H
#define LAYOUT_TASKS_H

typedef struct { /* Modules/_asynciomodule.c: FutureObj_HEAD, then what only a task has */
    PyObject_HEAD PyObject *loop;
    PyObject *callback0;
    PyObject *context0;
    PyObject *callbacks;
    PyObject *exception;
#if PY_VERSION_HEX >= 0x030a0000
    PyObject *exception_tb;
#endif
    PyObject *result;
    PyObject *source_tb;
#if PY_VERSION_HEX >= 0x03090000
    PyObject *cancel_msg;
#endif
#if PY_VERSION_HEX >= 0x030d0000
    PyObject *cancelled_exc;
#endif
#if PY_VERSION_HEX >= 0x030e0000
    PyObject *awaited_by;
#endif
    enum { PENDING, CANCELLED, FINISHED } state;
#if PY_VERSION_HEX < 0x030d0000
    int log_tb;
    int blocking;
    PyObject *dict;
    PyObject *weakreflist;
#if PY_VERSION_HEX >= 0x030b0000
    PyObject *cancelled_exc;
#elif PY_VERSION_HEX >= 0x03090000
    _PyErr_StackItem cancelled_exc_state;
#endif
#else
#if PY_VERSION_HEX >= 0x030e0000
    char is_task;
    char awaited_by_is_set;
#endif
    unsigned log_tb : 1;
    unsigned blocking : 1;
    unsigned must_cancel : 1;
    unsigned log_destroy_pending : 1;
    int num_cancels_requested;
#endif
    PyObject *fut_waiter;
    PyObject *coro;
    PyObject *name;
    PyObject *context;
#if PY_VERSION_HEX >= 0x030e0000
    struct llist_node node;
#endif
} task;
typedef struct { /* FutureIter of Modules/_asynciomodule.c, PyCoroWrapper, PyAsyncGenASend, ... */
    PyObject_HEAD PyObject *wrapped;
} await_wrapper;
typedef struct { /* TaskWakeupMethWrapper of Modules/_asynciomodule.c, where there is one */
    PyObject_HEAD PyObject *task;
} task_wakeup;
typedef struct { /* partialobject of Modules/_functoolsmodule.c */
    PyObject_HEAD PyObject *fn;
    PyObject *args;
} partial;
#if PY_VERSION_HEX < 0x030c0000
typedef struct { /* Modules/_asynciomodule.c: what a thread's dict has as its running loop */
    PyObject_HEAD PyObject *loop;
} running_loop_holder;
#endif

/* What a suspended coroutine, generator or asynchronous generator awaits lies on its frame's stack.
 */
#define STATE(column, value) FACT(column, (unsigned char)(value)) /* of an int8_t */
static void awaits(void)
{
#if PY_VERSION_HEX < 0x030b0000
    FIXED(generator_frame, PyGenObject, gi_frame);
    FACT(generator_awaits_opcode, YIELD_FROM); /* of the instruction that it will run next */
    FACT(generator_awaits_oparg, 0);
    FACT(generator_awaited_depth, 1); /* in words, down from the top of the stack */
    FIXED(code_code, PyCodeObject, co_code);
    FIXED(frame_valuestack, PyFrameObject, f_valuestack);
#if PY_VERSION_HEX < 0x030a0000
    FIXED(frame_stackpointer, PyFrameObject, f_stacktop);
#else
    FIXED(frame_stackdepth, PyFrameObject, f_stackdepth);
#endif
#elif PY_VERSION_HEX < 0x030d0000
    FIXED(generator_iframe, PyGenObject, gi_iframe);
    FIXED(generator_frame_state, PyGenObject, gi_frame_state);
    STATE(generator_created, FRAME_CREATED);
    STATE(generator_suspended, FRAME_SUSPENDED);
    STATE(generator_executing, FRAME_EXECUTING);
    FACT(generator_awaits_opcode, RESUME);
#if PY_VERSION_HEX < 0x030c0000
    FACT(generator_awaits_opcode_too, RESUME_QUICK);
#else
    FACT(generator_awaits_opcode_too, INSTRUMENTED_RESUME);
#endif
    FACT(generator_awaits_oparg, 2); /* and from there: 2 after `yield from`, 3 after `await` */
    FACT(generator_awaited_depth, 1);
    FIXED(frame_stackdepth, _PyInterpreterFrame, stacktop);
    FIXED(frame_localsplus, _PyInterpreterFrame, localsplus);
#else
#if PY_VERSION_HEX < 0x030e0000
    FIXED(generator_iframe, PyGenObject, gi_iframe);
    FIXED(generator_frame_state, PyGenObject, gi_frame_state);
    FIXED(frame_stackdepth, _PyInterpreterFrame, stacktop);
#else
    FIELD(generator_iframe, PyGenObject, gi_iframe, gen_object, gi_iframe);
    FIELD(generator_frame_state, PyGenObject, gi_frame_state, gen_object, gi_frame_state);
    FIELD(frame_stackpointer, _PyInterpreterFrame, stackpointer, interpreter_frame, stackpointer);
#endif
    FIELD(frame_localsplus, _PyInterpreterFrame, localsplus, interpreter_frame, localsplus);
    STATE(generator_created, FRAME_CREATED);
    STATE(generator_suspended, FRAME_SUSPENDED);
    STATE(generator_awaits, FRAME_SUSPENDED_YIELD_FROM);
    STATE(generator_executing, FRAME_EXECUTING);
#if PY_VERSION_HEX < 0x030f0000
    FACT(generator_awaited_depth, 1);
#else
    STATE(generator_awaits_too, FRAME_SUSPENDED_YIELD_FROM_LOCKED);
    FACT(generator_awaited_depth, 2); /* a send keeps a word above it */
#endif
#endif
    FIXED(awaitwrapper_wrapped, await_wrapper, wrapped);
}

/* What a future calls when it is done, as far as it leads to a task that waits. */
static void callbacks(void)
{
    FIXED(method_func, PyMethodObject, im_func);
    FIXED(cfunction_ml, PyCFunctionObject, m_ml);
    FIXED(function_qualname, PyFunctionObject, func_qualname);
    FIXED(function_closure, PyFunctionObject, func_closure);
    FIXED(cell_ref, PyCellObject, ob_ref);
    FIXED(partial_fn, partial, fn);
    FIXED(partial_args, partial, args);
    FIXED(wakeup_task, task_wakeup, task);
}

static void tasks(void)
{
    callbacks();
    FIXED(task_loop, task, loop);
    FIXED(task_callback0, task, callback0);
    FIXED(task_callbacks, task, callbacks);
    FIXED(task_state, task, state);
    FIXED(task_fut_waiter, task, fut_waiter);
    FIXED(task_coro, task, coro);
    FIXED(task_name, task, name);
    FACT(task_size, sizeof(task));
#if PY_VERSION_HEX >= 0x030e0000
    FIXED(task_awaited_by, task, awaited_by);
    FIXED(task_awaited_by_is_set, task, awaited_by_is_set);
    FIXED(task_node, task, node);
    FIXED(interpreter_asyncio_tasks_head, PyInterpreterState, asyncio_tasks_head);
    FIXED(thread_asyncio_running_loop, _PyThreadStateImpl, asyncio_running_loop);
    FIXED(thread_asyncio_running_task, _PyThreadStateImpl, asyncio_running_task);
    FIXED(thread_asyncio_tasks_head, _PyThreadStateImpl, asyncio_tasks_head);
    FIXED(module_state, PyModuleObject, md_state); /* which knows where _asyncio publishes these */
#elif PY_VERSION_HEX >= 0x030d0000
    /* It follows PyThreadState, which is longer in later patch releases. */
    PUBLISHED(thread_asyncio_running_loop, thread_state, size, 0, 0);
#else
    FIXED(thread_dict, PyThreadState, dict);
#endif
#if PY_VERSION_HEX < 0x030c0000
    FIXED(runningloopholder_loop, running_loop_holder, loop);
#endif
    FIXED(weakref_object, PyWeakReference, wr_object);
    FIXED(type_base, PyTypeObject, tp_base);
    FACT(setentry_size, sizeof(setentry));
    FIXED(setentry_key, setentry, key);
#if PY_VERSION_HEX < 0x030e0000
    FIXED(set_mask, PySetObject, mask);
    FIXED(set_table, PySetObject, table);
#else
    FIELD(set_mask, PySetObject, mask, set_object, mask);
    FIELD(set_table, PySetObject, table, set_object, table);
#endif
}

#endif
