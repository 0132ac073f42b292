/* For layout_probe.c: where a thread keeps its context, and a context the values of variables. */
#ifndef LAYOUT_CONTEXTS_H
#define LAYOUT_CONTEXTS_H

#include "internal/pycore_context.h"
#include "internal/pycore_hamt.h"

#if PY_VERSION_HEX < 0x030c0000
typedef struct { /* Python/hamt.c */
    PyObject_VAR_HEAD uint32_t b_bitmap;
    PyObject *b_array[1];
} PyHamtNode_Bitmap;
#endif
typedef struct { /* Python/hamt.c */
    PyObject_HEAD PyHamtNode *a_array[32];
    Py_ssize_t a_count;
} hamt_array_node;
typedef struct { /* Python/hamt.c */
    PyObject_VAR_HEAD int32_t c_hash;
    PyObject *c_array[1];
} hamt_collision_node;

static void contexts(void)
{
    FIXED(thread_context, PyThreadState, context);
    FIXED(task_context, task, context);
    FIXED(context_vars, struct _pycontextobject, ctx_vars);
    FIXED(contextvar_name, struct _pycontextvarobject, var_name);
    FIXED(contextvar_default, struct _pycontextvarobject, var_default);
    FIXED(contextvar_hash, struct _pycontextvarobject, var_hash);
    FIXED(hamt_root, PyHamtObject, h_root);
    FIXED(hamtbitmap_bitmap, PyHamtNode_Bitmap, b_bitmap);
    FIXED(hamtbitmap_array, PyHamtNode_Bitmap, b_array);
    FIXED(hamtarray_array, hamt_array_node, a_array);
    FIXED(hamtcollision_size, hamt_collision_node, ob_base.ob_size);
    FIXED(hamtcollision_array, hamt_collision_node, c_array);
}

#endif
