/* For layout_probe.c: where tracemalloc keeps its traces, in hash tables of its own. */
#ifndef LAYOUT_TRACES_H
#define LAYOUT_TRACES_H

#if PY_VERSION_HEX >= 0x03090000
#include "internal/pycore_hashtable.h"
#else
typedef struct { /* Modules/hashtable.h */
    size_t nbuckets;
    size_t nentries;
    void *buckets;
    size_t key_size;
    size_t data_size;
} _Py_hashtable_t;
typedef struct { /* its key follows, and then its data */
    void *next;
    Py_uhash_t key_hash;
} _Py_hashtable_entry_t;
#endif

#if PY_VERSION_HEX >= 0x030c0000
#include "internal/pycore_tracemalloc.h"
#else
struct __attribute__((packed)) tracemalloc_frame { /* Modules/_tracemalloc.c: frame_t */
    PyObject *filename;
    unsigned int lineno;
};
struct tracemalloc_traceback { /* Modules/_tracemalloc.c: traceback_t */
    Py_uhash_t hash;
#if PY_VERSION_HEX < 0x03090000
    int nframe;
#else
    uint16_t nframe;
    uint16_t total_nframe;
#endif
    struct tracemalloc_frame frames[1];
};
#endif

static void traces(void)
{
    FIXED(hashtable_nentries, _Py_hashtable_t, nentries);
    FIXED(hashtable_nbuckets, _Py_hashtable_t, nbuckets);
    FIXED(hashtable_buckets, _Py_hashtable_t, buckets);
#if PY_VERSION_HEX < 0x03090000
    FIXED(hashtable_key_size, _Py_hashtable_t, key_size);
    FIXED(hashtable_data_size, _Py_hashtable_t, data_size);
    FACT(hashtableentry_key, sizeof(_Py_hashtable_entry_t));
#else
    FIXED(hashtableentry_key, _Py_hashtable_entry_t, key);
    FIXED(hashtableentry_value, _Py_hashtable_entry_t, value);
#endif
    FIXED(traceback_nframe, struct tracemalloc_traceback, nframe);
    FACT(traceback_nframe_bytes, WIDTH(struct tracemalloc_traceback, nframe));
    FIXED(traceback_frames, struct tracemalloc_traceback, frames);
    FACT(tracebackframe_size, sizeof(struct tracemalloc_frame));
    FIXED(tracebackframe_filename, struct tracemalloc_frame, filename);
    FIXED(tracebackframe_lineno, struct tracemalloc_frame, lineno);
    /* Whether the name of a file is UTF-8 with a NUL at its end, and not a str. */
    FACT(tracebackframe_filename_is_utf8, PY_VERSION_HEX >= 0x030f0000);
#if PY_VERSION_HEX >= 0x030c0000
    FIXED(tracemalloc_config, struct _tracemalloc_runtime_state, config);
    FIXED(tracemalloc_traced_memory, struct _tracemalloc_runtime_state, traced_memory);
    FIXED(tracemalloc_peak_traced_memory, struct _tracemalloc_runtime_state, peak_traced_memory);
    FIXED(tracemalloc_filenames, struct _tracemalloc_runtime_state, filenames);
    FIXED(tracemalloc_tracebacks, struct _tracemalloc_runtime_state, tracebacks);
    FIXED(tracemalloc_traces, struct _tracemalloc_runtime_state, traces);
    FIXED(tracemalloc_domains, struct _tracemalloc_runtime_state, domains);
#endif
}

#endif
