/* memory.h: where the target's bytes come from. The only code that touches another process's
 * memory; nothing above knows which source it reads. */
#ifndef ONLOOKER_MEMORY_H
#define ONLOOKER_MEMORY_H

#include <sys/uio.h>

#include "recorder.h"

/* Reads COUNT pieces in order: remote[i].iov_len bytes at the target's address remote[i].iov_base
 * into local[i], whose length is the same. For a live process this is one process_vm_readv a 1024
 * pieces, so later pieces are read later. Returns ONLOOKER_OK, _FAULT (some piece cannot be read;
 * the copies are then not to be used), _GONE or _DENIED. */
int memory_readv(memory *source, const struct iovec *local, const struct iovec *remote,
                 uint32_t count);

/* One piece. */
int memory_read(memory *source, uint64_t address, void *out, size_t length);

/* Like memory_read, for one word. */
int memory_read_u64(memory *source, uint64_t address, uint64_t *out);

/* False once the process has ended or executed another program: its address space is gone, even if
 * its pid lives on. Always true for a recording. */
bool memory_alive(const memory *source);

/* Whether it never changes: that of a copy of a process, or a recording. */
bool memory_is_still(const memory *source);

#endif
