/* Prints where each field that Onlooker reads lies, for the CPython whose headers it is compiled
 * with. scripts/layouts compiles it once per CPython and makes
 * agent/onlooker/runtime/layout_rows.py of it.
 *
 * Output lines:  COLUMN fixed OFFSET
 *                COLUMN published AT SIZE_AT WIDTH BASE_AT     (places in _Py_DebugOffsets, 3.13+)
 *                version HEX / table_size BYTES / line_table NAME
 */
#define Py_BUILD_CORE 1
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "Python.h"
#include "frameobject.h"
#if PY_VERSION_HEX < 0x030d0000
#include "opcode.h"
#endif

#include "internal/pycore_pystate.h" /* in 3.8 it has the interpreter and the runtime, too */
#if PY_VERSION_HEX >= 0x03090000
#include "internal/pycore_interp.h"
#include "internal/pycore_runtime.h"
#endif
#include "internal/pycore_code.h"
#if PY_VERSION_HEX >= 0x030b0000
#include "internal/pycore_dict.h"
#include "internal/pycore_frame.h"
#include "internal/pycore_moduleobject.h"
#endif
#if PY_VERSION_HEX >= 0x030e0000
#include "internal/pycore_interpframe.h"
#include "internal/pycore_stackref.h"
#endif
#if PY_VERSION_HEX >= 0x030d0000
#include "internal/pycore_tstate.h"
#endif
#if PY_VERSION_HEX < 0x03090000
#include "internal/pycore_pymem.h" /* has the collector's state */
#else
#include "internal/pycore_gc.h"
#endif
#if PY_VERSION_HEX >= 0x030c0000
#include "internal/pycore_obmalloc.h"
#endif

/* Structs that CPython keeps in its .c files. */
#if PY_VERSION_HEX < 0x030b0000
typedef struct { /* Objects/dict-common.h */
    Py_ssize_t dk_refcnt;
    Py_ssize_t dk_size;
    void *dk_lookup;
    Py_ssize_t dk_usable;
    Py_ssize_t dk_nentries;
    char dk_indices[];
} dict_keys;
typedef struct { /* Objects/dict-common.h */
    Py_hash_t me_hash;
    PyObject *me_key;
    PyObject *me_value;
} PyDictKeyEntry;
typedef struct { /* Objects/moduleobject.c */
    PyObject_HEAD PyObject *md_dict;
    struct PyModuleDef *md_def;
    void *md_state;
} PyModuleObject;
#else
typedef struct _dictkeysobject dict_keys;
#endif

typedef struct { /* Modules/_collectionsmodule.c */
    PyObject_VAR_HEAD struct deque_block *leftblock;
    struct deque_block *rightblock;
    Py_ssize_t leftindex;
    Py_ssize_t rightindex;
} deque;
typedef struct deque_block {
    struct deque_block *leftlink;
    PyObject *data[64];
    struct deque_block *rightlink;
} deque_block;
typedef struct { /* Modules/arraymodule.c */
    PyObject_VAR_HEAD char *ob_item;
    Py_ssize_t allocated;
    struct arraydescr {
        char typecode;
        int itemsize;
    } const *ob_descr;
} array;

#define WIDTH(type, member) sizeof(((type *)0)->member)
#define FACT(column, value) printf("%s fixed %ld\n", #column, (long)(value))
#define FIXED(column, type, member) FACT(column, offsetof(type, member))

#if PY_VERSION_HEX < 0x030d0000
/* A field that the process publishes from 3.13 on is, before that, at a fixed place. */
#define FIELD(column, type, member, group, name) FIXED(column, type, member)
#else
#define AT(path) offsetof(_Py_DebugOffsets, path)
#define PUBLISHED(column, group, name, width, base_at)                                             \
    printf("%s published %zu %zu %zu %zu\n", #column, AT(group.name), AT(group.size),              \
           (size_t)(width), (size_t)(base_at))
#define FIELD(column, type, member, group, name)                                                   \
    PUBLISHED(column, group, name, WIDTH(type, member), 0)
#endif

#include "layout_locks.h"
#include "layout_blocks.h"
#include "layout_tasks.h"
/* after the tasks, of which it has a field */
#include "layout_contexts.h"
#include "layout_traces.h"

static void runtime_and_interpreter(void)
{
    FIELD(runtime_interpreters_head, _PyRuntimeState, interpreters.head, runtime_state,
          interpreters_head);
#if PY_VERSION_HEX < 0x03090000
    FIXED(runtime_finalizing, _PyRuntimeState, finalizing);
#elif PY_VERSION_HEX < 0x030d0000
    FIXED(runtime_finalizing, _PyRuntimeState, _finalizing);
#else
    PUBLISHED(runtime_finalizing, runtime_state, finalizing, sizeof(void *), 0);
#endif
    FIXED(runtime_main_thread, _PyRuntimeState, main_thread);

    FIELD(interpreter_next, PyInterpreterState, next, interpreter_state, next);
    FIELD(interpreter_id, PyInterpreterState, id, interpreter_state, id);
#if PY_VERSION_HEX < 0x030b0000
    FIXED(interpreter_threads_head, PyInterpreterState, tstate_head);
#else
    FIELD(interpreter_threads_head, PyInterpreterState, threads.head, interpreter_state,
          threads_head);
#endif
#if PY_VERSION_HEX < 0x030c0000
    FIXED(interpreter_modules, PyInterpreterState, modules);
#else
    FIELD(interpreter_modules, PyInterpreterState, imports.modules, interpreter_state,
          imports_modules);
#endif
#if PY_VERSION_HEX >= 0x030e0000
    PUBLISHED(interpreter_code_object_generation, interpreter_state, code_object_generation, 8, 0);
#endif

    /* One GIL for the process up to 3.11, one per interpreter (PEP 684) from 3.12 on. */
#if PY_VERSION_HEX < 0x030c0000
    FIXED(runtime_gil, _PyRuntimeState, ceval.gil);
#else
    FIELD(interpreter_gil, PyInterpreterState, ceval.gil, interpreter_state, ceval_gil);
#endif
#if PY_VERSION_HEX < 0x030d0000
    FIXED(gil_last_holder, struct _gil_runtime_state, last_holder);
    FIXED(gil_locked, struct _gil_runtime_state, locked);
#else
    /* Published relative to the interpreter, not to the GIL that lies in it. */
    PUBLISHED(gil_last_holder, interpreter_state, gil_runtime_state_holder, 8,
              AT(interpreter_state.gil_runtime_state));
    PUBLISHED(gil_locked, interpreter_state, gil_runtime_state_locked, 4,
              AT(interpreter_state.gil_runtime_state));
#endif
}

static void thread_and_frame(void)
{
    FIELD(thread_next, PyThreadState, next, thread_state, next);
    FIELD(thread_interp, PyThreadState, interp, thread_state, interp);
    FIELD(thread_id, PyThreadState, thread_id, thread_state, thread_id);
    FACT(errstackitem_size, sizeof(_PyErr_StackItem));
#if PY_VERSION_HEX >= 0x030b0000
    FIELD(thread_native_thread_id, PyThreadState, native_thread_id, thread_state, native_thread_id);
#endif
#if PY_VERSION_HEX < 0x030b0000
    FIXED(thread_current_frame, PyThreadState, frame);
    FIXED(frame_previous, PyFrameObject, f_back);
    FIXED(frame_executable, PyFrameObject, f_code);
    FIXED(frame_instr, PyFrameObject, f_lasti);
    FACT(frame_lasti_scale, PY_VERSION_HEX < 0x030a0000 ? 1 : 2);
#elif PY_VERSION_HEX < 0x030d0000
    FIXED(thread_cframe, PyThreadState, cframe);
    FIXED(cframe_current_frame, _PyCFrame, current_frame);
    FIXED(frame_previous, _PyInterpreterFrame, previous);
    FIXED(frame_executable, _PyInterpreterFrame, f_code);
    FIXED(frame_instr, _PyInterpreterFrame, prev_instr);
    FIXED(frame_owner, _PyInterpreterFrame, owner);
#else
    PUBLISHED(thread_current_frame, thread_state, current_frame, 8, 0);
    PUBLISHED(frame_previous, interpreter_frame, previous, 8, 0);
    PUBLISHED(frame_executable, interpreter_frame, executable, 8, 0);
    PUBLISHED(frame_instr, interpreter_frame, instr_ptr, 8, 0);
    PUBLISHED(frame_owner, interpreter_frame, owner, 1, 0);
#endif
    /* From this owner on a frame is the interpreter's own and has no Python code to show. */
#if PY_VERSION_HEX >= 0x030e0000
    FACT(frame_owner_shim, FRAME_OWNED_BY_INTERPRETER);
    FACT(frame_executable_tag, Py_TAG_BITS); /* a _PyStackRef: a pointer with tag bits */
#elif PY_VERSION_HEX >= 0x030c0000
    FACT(frame_owner_shim, FRAME_OWNED_BY_CSTACK);
    FACT(frame_executable_tag, 0);
#else
    FACT(frame_executable_tag, 0);
#endif
}

static void code(void)
{
    FIELD(code_filename, PyCodeObject, co_filename, code_object, filename);
    FIELD(code_name, PyCodeObject, co_name, code_object, name);
    FIXED(code_consts, PyCodeObject, co_consts);
    FIELD(code_firstlineno, PyCodeObject, co_firstlineno, code_object, firstlineno);
#if PY_VERSION_HEX < 0x030a0000
    printf("line_table lnotab\n");
    FIXED(code_linetable, PyCodeObject, co_lnotab);
#else
    printf("line_table %s\n", PY_VERSION_HEX < 0x030b0000 ? "linetable" : "locations");
    FIELD(code_linetable, PyCodeObject, co_linetable, code_object, linetable);
#endif
#if PY_VERSION_HEX >= 0x030b0000
    FIELD(code_qualname, PyCodeObject, co_qualname, code_object, qualname);
    FIELD(code_adaptive, PyCodeObject, co_code_adaptive, code_object, co_code_adaptive);
#endif
#if PY_VERSION_HEX >= 0x030c0000
    FIXED(code_version, PyCodeObject, co_version);
#endif
}

/* The bits of PyASCIIObject.state that objects.py relies on, as the compiler lays them out. */
static int unicode_state_is_as_expected(void)
{
    union {
        PyASCIIObject object;
        unsigned char bytes[sizeof(PyASCIIObject)];
    } u;
    unsigned state;
    memset(&u, 0, sizeof u);
    u.object.state.kind = 7;
    u.object.state.compact = 1;
    u.object.state.ascii = 1;
    memcpy(&state, u.bytes + offsetof(PyASCIIObject, state), sizeof state);
    return state == (7u << 2 | 1u << 5 | 1u << 6);
}

static void strings(void)
{
    FIELD(unicode_length, PyASCIIObject, length, unicode_object, length);
    FIELD(unicode_state, PyASCIIObject, state, unicode_object, state);
    FIXED(unicode_hash, PyASCIIObject, hash);
#if PY_VERSION_HEX < 0x030d0000
    FACT(unicode_ascii_data, sizeof(PyASCIIObject));
#else
    PUBLISHED(unicode_ascii_data, unicode_object, asciiobject_size, 0, 0);
#endif
#if PY_VERSION_HEX < 0x030f0000
    FACT(unicode_compact_data, sizeof(PyCompactUnicodeObject));
#else
    PUBLISHED(unicode_compact_data, unicode_object, compactunicodeobject_size, 0, 0);
#endif
    FIXED(unicode_data, PyUnicodeObject, data);
#if PY_VERSION_HEX < 0x030c0000
    FIXED(unicode_wstr, PyASCIIObject, wstr);
    FIXED(unicode_wstr_length, PyCompactUnicodeObject, wstr_length);
#endif
    FIELD(bytes_size, PyBytesObject, ob_base.ob_size, bytes_object, ob_size);
    FIELD(bytes_data, PyBytesObject, ob_sval, bytes_object, ob_sval);
}

static void containers(void)
{
    FIELD(dict_keys, PyDictObject, ma_keys, dict_object, ma_keys);
    FIELD(dict_values, PyDictObject, ma_values, dict_object, ma_values);
    FIXED(dictkeys_nentries, dict_keys, dk_nentries);
    FIXED(dictkeys_indices, dict_keys, dk_indices);
#if PY_VERSION_HEX < 0x030b0000
    FIXED(dictkeys_size, dict_keys, dk_size);
#else
    FIXED(dictkeys_log2_size, dict_keys, dk_log2_size);
    FIXED(dictkeys_log2_index_bytes, dict_keys, dk_log2_index_bytes);
    FIXED(dictkeys_kind, dict_keys, dk_kind);
#endif
    FACT(dictentry_size, sizeof(PyDictKeyEntry));
    FIXED(dictentry_key, PyDictKeyEntry, me_key);
    FIXED(dictentry_value, PyDictKeyEntry, me_value);
#if PY_VERSION_HEX >= 0x030b0000
    FACT(dictunicodeentry_size, sizeof(PyDictUnicodeEntry));
    FIXED(dictunicodeentry_key, PyDictUnicodeEntry, me_key);
    FIXED(dictunicodeentry_value, PyDictUnicodeEntry, me_value);
    FIXED(dictvalues_values, struct _dictvalues, values);
#else
    FACT(dictvalues_values, 0); /* ma_values is a plain array */
#endif
#if PY_VERSION_HEX >= 0x030d0000
    FIXED(dictvalues_valid, struct _dictvalues, valid);
#endif

    FIELD(list_size, PyListObject, ob_base.ob_size, list_object, ob_size);
    FIELD(list_item, PyListObject, ob_item, list_object, ob_item);
    FIELD(tuple_size, PyTupleObject, ob_base.ob_size, tuple_object, ob_size);
    FIELD(tuple_item, PyTupleObject, ob_item, tuple_object, ob_item);

#if PY_VERSION_HEX < 0x030c0000
    FIXED(long_tag, PyLongObject, ob_base.ob_size);
    FACT(long_tag_shift, 0); /* the tag is ob_size: digits, negative for negative numbers */
    FIXED(long_digit, PyLongObject, ob_digit);
#else
    FIELD(long_tag, PyLongObject, long_value.lv_tag, long_object, lv_tag);
    FACT(long_tag_shift,
         3); /* NON_SIZE_BITS: two bits of sign and one reserved below the digit count */
    FIELD(long_digit, PyLongObject, long_value.ob_digit, long_object, ob_digit);
#endif
    FACT(long_digit_bits, PyLong_SHIFT);
}

static void types_and_instances(void)
{
    FIELD(object_type, PyObject, ob_type, pyobject, ob_type);
    FIELD(type_name, PyTypeObject, tp_name, type_object, tp_name);
    FIELD(type_flags, PyTypeObject, tp_flags, type_object, tp_flags);
    FIXED(type_itemsize, PyTypeObject, tp_itemsize);
#if PY_VERSION_HEX < 0x030f0000
    FIXED(type_basicsize, PyTypeObject, tp_basicsize);
    FIXED(type_dictoffset, PyTypeObject, tp_dictoffset);
    FIXED(type_cached_keys, PyHeapTypeObject, ht_cached_keys);
#else
    FIELD(type_basicsize, PyTypeObject, tp_basicsize, type_object, tp_basicsize);
    FIELD(type_dictoffset, PyTypeObject, tp_dictoffset, type_object, tp_dictoffset);
    FIELD(type_cached_keys, PyHeapTypeObject, ht_cached_keys, heap_type_object, ht_cached_keys);
#endif
    /* The words before an object whose type has Py_TPFLAGS_MANAGED_DICT. */
#if PY_VERSION_HEX >= 0x030b0000
    FACT(instance_managed_dict, -3 * (long)sizeof(PyObject *));
#endif
#if PY_VERSION_HEX < 0x030c0000 && PY_VERSION_HEX >= 0x030b0000
    FACT(instance_managed_values, -4 * (long)sizeof(PyObject *));
#elif PY_VERSION_HEX >= 0x030c0000 && PY_VERSION_HEX < 0x030d0000
    /* One word for both, as PyDictOrValues: the values' address less one, hence odd, or the dict's.
     */
    FACT(instance_managed_values, -3 * (long)sizeof(PyObject *));
#endif
#if PY_VERSION_HEX >= 0x030d0000
    FACT(type_inline_values_flag, Py_TPFLAGS_INLINE_VALUES);
#endif
}

/* What an object holds, in its own block and in others. */
static void holdings(void)
{
    FIXED(list_allocated, PyListObject, allocated);
    FIXED(set_smalltable, PySetObject, smalltable);
    FIXED(bytearray_alloc, PyByteArrayObject, ob_alloc);
    FIXED(bytearray_bytes, PyByteArrayObject, ob_bytes);
#if PY_VERSION_HEX >= 0x030f0000
    FIXED(bytearray_object, PyByteArrayObject, ob_bytes_object); /* the bytes are its */
#endif
    FIXED(weakref_callback, PyWeakReference, wr_callback);
    FIXED(float_value, PyFloatObject, ob_fval);
    FIXED(function_globals, PyFunctionObject, func_globals);
    FIXED(function_code, PyFunctionObject, func_code);
    FIXED(module_dict, PyModuleObject, md_dict);
    FIXED(module_md_state, PyModuleObject, md_state);
#if PY_VERSION_HEX < 0x030f0000
    FIXED(module_def, PyModuleObject, md_def);
    FIXED(moduledef_size, PyModuleDef, m_size);
#else
    FIXED(module_state_size, PyModuleObject, md_state_size);
#endif
    FIXED(type_weaklistoffset, PyTypeObject, tp_weaklistoffset);
    FIXED(type_bases, PyTypeObject, tp_bases);
    FIXED(type_dict, PyTypeObject, tp_dict);
    FIXED(type_mro, PyTypeObject, tp_mro);
    FIXED(type_cache, PyTypeObject, tp_cache);
    FIXED(type_subclasses, PyTypeObject, tp_subclasses);
    FIXED(type_ht_name, PyHeapTypeObject, ht_name);
    FIXED(type_ht_slots, PyHeapTypeObject, ht_slots);
    FIXED(type_ht_qualname, PyHeapTypeObject, ht_qualname);
#if PY_VERSION_HEX >= 0x03090000
    FIXED(type_ht_module, PyHeapTypeObject, ht_module);
#endif
    FIXED(type_members, PyTypeObject, tp_members);
    FIXED(unicode_utf8, PyCompactUnicodeObject, utf8);
    FIXED(unicode_utf8_length, PyCompactUnicodeObject, utf8_length);
    FIXED(deque_leftblock, deque, leftblock);
    FIXED(deque_leftindex, deque, leftindex);
    FIXED(dequeblock_data, deque_block, data);
    FIXED(dequeblock_rightlink, deque_block, rightlink);
    FACT(dequeblock_items, WIDTH(deque_block, data) / sizeof(void *));
    FACT(dequeblock_size, sizeof(deque_block));
    FIXED(array_item, array, ob_item);
    FIXED(array_allocated, array, allocated);
    FIXED(array_descr, array, ob_descr);
    FIXED(arraydescr_itemsize, struct arraydescr, itemsize);
#if PY_VERSION_HEX < 0x030b0000
    FIXED(frameobject_gen, PyFrameObject, f_gen);
    FIXED(code_varnames, PyCodeObject, co_varnames);
    FIXED(code_cellvars, PyCodeObject, co_cellvars);
    FIXED(code_freevars, PyCodeObject, co_freevars);
    FIXED(frameobject_localsplus, PyFrameObject, f_localsplus);
#else
    FIXED(code_localsplusnames, PyCodeObject, co_localsplusnames);
    FIXED(code_localspluskinds, PyCodeObject, co_localspluskinds);
    FACT(localkind_cell, CO_FAST_CELL | CO_FAST_FREE);
    FIXED(frameobject_iframe, PyFrameObject, f_frame);
    FIXED(frameobject_data, PyFrameObject, _f_frame_data);
    FIXED(iframe_globals, _PyInterpreterFrame, f_globals);
    FIXED(iframe_builtins, _PyInterpreterFrame, f_builtins);
    STATE(generator_cleared, FRAME_CLEARED);
#endif
#if PY_VERSION_HEX >= 0x030b0000
    FACT(dictkeys_split_kind, DICT_KEYS_SPLIT);
#endif
#if PY_VERSION_HEX >= 0x030d0000
    FIXED(dictvalues_capacity, struct _dictvalues, capacity);
#endif
#if PY_VERSION_HEX >= 0x030c0000
    FACT(object_refcount_bytes, 4); /* flags and immortality are above it */
#else
    FACT(object_refcount_bytes, sizeof(Py_ssize_t));
#endif
    /* Words before an object that is tracked, and before that header with such flags of its type.
     */
    FACT(gc_head_size, sizeof(PyGC_Head));
#if PY_VERSION_HEX >= 0x030c0000
    FACT(preheader_flags, Py_TPFLAGS_MANAGED_DICT | Py_TPFLAGS_MANAGED_WEAKREF);
#elif PY_VERSION_HEX >= 0x030b0000
    FACT(preheader_flags, Py_TPFLAGS_MANAGED_DICT);
#else
    FACT(preheader_flags, 0);
#endif
}

static void collector_and_allocator(void)
{
#if PY_VERSION_HEX < 0x03090000
    FIXED(runtime_gc, _PyRuntimeState, gc);
#else
    FIELD(interpreter_gc, PyInterpreterState, gc, interpreter_state, gc);
#endif
#if PY_VERSION_HEX < 0x030d0000
    FACT(gc_size, sizeof(struct _gc_runtime_state));
    FIXED(gc_collecting, struct _gc_runtime_state, collecting);
    FACT(interpreter_size, sizeof(PyInterpreterState));
#else
    PUBLISHED(gc_size, gc, size, 0, 0);
    PUBLISHED(gc_collecting, gc, collecting, 4, 0);
    PUBLISHED(interpreter_size, interpreter_state, size, 0, 0);
#endif
    FACT(gc_generation_size, sizeof(struct gc_generation));
    /* Objects/obmalloc.c until 3.11 */
#if PY_VERSION_HEX >= 0x030c0000
    FACT(pool_size, POOL_SIZE);
#elif PY_VERSION_HEX >= 0x030a0000
    FACT(pool_size, 1 << 14);
#else
    FACT(pool_size, 1 << 12);
#endif
}

int main(void)
{
    if (!unicode_state_is_as_expected()) {
        fprintf(stderr, "PyASCIIObject.state has other bits than expected\n");
        return 1;
    }
    printf("version %d\n", PY_VERSION_HEX);
#if PY_VERSION_HEX >= 0x030d0000
    printf("table_size %zu\n", sizeof(_Py_DebugOffsets));
#endif
    runtime_and_interpreter();
    thread_and_frame();
    code();
    strings();
    containers();
    types_and_instances();
    awaits();
    tasks();
    contexts();
    holdings();
    blocks();
    collector_and_allocator();
    traces();
    locks();
    return 0;
}
