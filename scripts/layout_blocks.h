/* For layout_probe.c: the blocks of memory that objects have beside their own. */
#ifndef LAYOUT_BLOCKS_H
#define LAYOUT_BLOCKS_H

typedef struct odict_node { /* Objects/odictobject.c */
    PyObject *key;
    Py_hash_t hash;
    struct odict_node *next;
    struct odict_node *prev;
} odict_node;
typedef struct {
    PyDictObject od_dict;
    odict_node *od_first;
    odict_node *od_last;
    odict_node **od_fast_nodes;
    Py_ssize_t od_fast_nodes_size;
} odict;

static void blocks(void)
{
    FIXED(odict_first, odict, od_first);
    FIXED(odict_fast_nodes, odict, od_fast_nodes);
    FIXED(odict_fast_nodes_size, odict, od_fast_nodes_size);
    FIXED(odictnode_next, odict_node, next);
    FACT(odictnode_size, sizeof(odict_node));
    FIXED(type_doc, PyTypeObject, tp_doc);
    FIXED(code_extra, PyCodeObject, co_extra);
#if PY_VERSION_HEX < 0x030b0000
    FIXED(code_cell2arg, PyCodeObject, co_cell2arg);
    FIXED(code_zombieframe, PyCodeObject, co_zombieframe);
    FIXED(code_opcache_map, PyCodeObject, co_opcache_map);
    FIXED(code_opcache, PyCodeObject, co_opcache);
    FIXED(code_opcache_size, PyCodeObject, co_opcache_size);
    FACT(opcache_size, sizeof(struct _PyOpcache));
#else
    FIXED(type_ht_tpname, PyHeapTypeObject, _ht_tpname);
#endif
#if PY_VERSION_HEX >= 0x030c0000
    FIXED(code_cached, PyCodeObject, _co_cached);
    FACT(cocached_size, sizeof(_PyCoCached));
#endif
}

#endif
