/* For layout_probe.c: locks that know who holds them, and where a thread waits for one. */
#ifndef LAYOUT_LOCKS_H
#define LAYOUT_LOCKS_H

#include "methodobject.h"
#if PY_VERSION_HEX >= 0x030e0000
#include "internal/pycore_lock.h"
#include "internal/pycore_llist.h"
#include "internal/pycore_semaphore.h"

typedef struct { /* Modules/_threadmodule.c */
    PyObject_HEAD _PyRecursiveMutex lock;
} rlock;
struct wait_entry { /* Python/parking_lot.c */
    void *park_arg;
    uintptr_t addr;
    _PySemaphore sema;
    struct llist_node node;
};
#else
typedef struct { /* Modules/_threadmodule.c */
    PyObject_HEAD PyThread_type_lock rlock_lock;
    unsigned long rlock_owner;
} rlock;
#endif

static void locks(void)
{
#if PY_VERSION_HEX >= 0x030e0000
    FIXED(rlock_mutex, rlock, lock.mutex);
    FIXED(rlock_owner, rlock, lock.thread);
    FIXED(waitentry_addr, struct wait_entry, addr);
    FIXED(waitentry_sema, struct wait_entry, sema);
#else
    FIXED(rlock_lock, rlock, rlock_lock); /* the address of a sem_t */
    FIXED(rlock_owner, rlock, rlock_owner);
#endif
    FIXED(method_self, PyCFunctionObject, m_self); /* and PyMethodObject's im_self */
#if PY_VERSION_HEX >= 0x030b0000
    FIXED(code_nlocalsplus, PyCodeObject, co_nlocalsplus);
#endif
}

#endif
