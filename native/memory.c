#include "memory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "map.h"
#include "onlooker_asyncio.h"

/* IOV_MAX of the kernel (UIO_MAXIOV): process_vm_readv refuses more. */
#define PIECES_PER_CALL 1024u
#define CAPTURE_LIMIT (1u << 16)

typedef struct pages {
    uint64_t *addresses;
    unsigned char *bytes; /* count x PAGE_SIZE */
    uint32_t count, addresses_capacity, bytes_capacity;
} pages;

struct memory {
    int32_t pid; /* 0: a recording, or memory that a file reads */
    int mem_fd;  /* /proc/PID/mem: keeps hold of this very address space, see memory_alive */
    int file;    /* of the caller, or -1 */
    bool capturing;
    map captured; /* page address -> index */
    pages pages;  /* of the recording, or captured */
};

static bool pages_add(pages *pages, uint64_t address, const unsigned char *bytes)
{
    if (!array_reserve((void **)&pages->addresses, &pages->addresses_capacity, pages->count,
                       sizeof *pages->addresses, CAPTURE_LIMIT) ||
        !array_reserve((void **)&pages->bytes, &pages->bytes_capacity, pages->count, PAGE_SIZE,
                       CAPTURE_LIMIT))
        return false;
    pages->addresses[pages->count] = address;
    memcpy(pages->bytes + (size_t)pages->count * PAGE_SIZE, bytes, PAGE_SIZE);
    pages->count++;
    return true;
}

memory *memory_open_process(int32_t pid)
{
    char path[32];
    snprintf(path, sizeof path, "/proc/%d/mem", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return NULL;
    memory *source = calloc(1, sizeof *source);
    if (!source) {
        close(fd);
        errno = ENOMEM;
        return NULL;
    }
    source->pid = pid;
    source->mem_fd = fd;
    source->file = -1;
    return source;
}

memory *memory_open_file(int32_t file)
{
    memory *source = calloc(1, sizeof *source);
    if (source) {
        source->mem_fd = -1;
        source->file = file;
    }
    return source;
}

memory *memory_open_recording(const uint64_t *addresses, const unsigned char *bytes, uint64_t count)
{
    memory *source = calloc(1, sizeof *source);
    if (!source)
        return NULL;
    source->mem_fd = source->file = -1;
    for (uint64_t i = 0; i < count; i++) {
        if (!pages_add(&source->pages, addresses[i], bytes + i * PAGE_SIZE) ||
            !map_set(&source->captured, addresses[i], (uint32_t)i)) {
            memory_close(source);
            return NULL;
        }
    }
    return source;
}

static int read_recording(const memory *source, uint64_t address, unsigned char *out, size_t length)
{
    while (length) {
        uint32_t index = map_get(&source->captured, PAGE_OF(address));
        if (index == MAP_ABSENT)
            return ONLOOKER_FAULT;
        size_t within = address & (PAGE_SIZE - 1);
        size_t step = PAGE_SIZE - within < length ? PAGE_SIZE - within : length;
        memcpy(out, source->pages.bytes + (size_t)index * PAGE_SIZE + within, step);
        out += step;
        address += step;
        length -= step;
    }
    return ONLOOKER_OK;
}

static int read_file(const memory *source, uint64_t address, unsigned char *out, size_t length)
{
    while (length) {
        ssize_t got = pread(source->file, out, length, (off_t)address);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return got < 0 ? ONLOOKER_FAULT : ONLOOKER_GONE;
        out += got;
        address += (uint64_t)got;
        length -= (size_t)got;
    }
    return ONLOOKER_OK;
}

static int read_process(memory *source, const struct iovec *local, const struct iovec *remote,
                        uint32_t count)
{
    for (uint32_t first = 0; first < count; first += PIECES_PER_CALL) {
        uint32_t pieces = count - first < PIECES_PER_CALL ? count - first : PIECES_PER_CALL;
        ssize_t wanted = 0;
        for (uint32_t i = first; i < first + pieces; i++)
            wanted += (ssize_t)remote[i].iov_len;
        ssize_t got =
            process_vm_readv(source->pid, local + first, pieces, remote + first, pieces, 0);
        if (got == wanted)
            continue;
        if (got >= 0 || errno == EFAULT)
            return memory_alive(source) ? ONLOOKER_FAULT : ONLOOKER_GONE;
        /* EPERM comes also after an exec of a set-user-id program. */
        return errno == ESRCH || !memory_alive(source) ? ONLOOKER_GONE
               : errno == EPERM                        ? ONLOOKER_DENIED
                                                       : ONLOOKER_FAULT;
    }
    return ONLOOKER_OK;
}

static void capture(memory *source, const struct iovec *remote, uint32_t count)
{
    unsigned char page[PAGE_SIZE];
    for (uint32_t i = 0; i < count; i++) {
        uint64_t first = PAGE_OF((uint64_t)(uintptr_t)remote[i].iov_base);
        uint64_t end = (uint64_t)(uintptr_t)remote[i].iov_base + remote[i].iov_len;
        for (uint64_t address = first; address < end; address += PAGE_SIZE) {
            struct iovec here = {page, PAGE_SIZE};
            struct iovec there = {(void *)(uintptr_t)address, PAGE_SIZE};
            if (map_get(&source->captured, address) == MAP_ABSENT &&
                read_process(source, &here, &there, 1) == ONLOOKER_OK &&
                pages_add(&source->pages, address, page))
                map_set(&source->captured, address, source->pages.count - 1);
        }
    }
}

int memory_readv(memory *source, const struct iovec *local, const struct iovec *remote,
                 uint32_t count)
{
    if (source->pid) {
        if (source->capturing)
            capture(source, remote, count);
        return read_process(source, local, remote, count);
    }
    for (uint32_t i = 0; i < count; i++) {
        uint64_t address = (uint64_t)(uintptr_t)remote[i].iov_base;
        int result = source->file >= 0
                         ? read_file(source, address, local[i].iov_base, remote[i].iov_len)
                         : read_recording(source, address, local[i].iov_base, remote[i].iov_len);
        if (result != ONLOOKER_OK)
            return result;
    }
    return ONLOOKER_OK;
}

int memory_read(memory *source, uint64_t address, void *out, size_t length)
{
    struct iovec local = {out, length}, remote = {(void *)(uintptr_t)address, length};
    return memory_readv(source, &local, &remote, 1);
}

int memory_read_u64(memory *source, uint64_t address, uint64_t *out)
{
    return memory_read(source, address, out, sizeof *out);
}

bool memory_alive(const memory *source)
{
    /* A read of /proc/PID/mem returns 0 once the last user of the address space has left it
     * (mem_rw in fs/proc/base.c); EIO only says that nothing is mapped at this offset. */
    char byte;
    return !source->pid || pread(source->mem_fd, &byte, 1, 0) != 0;
}

bool memory_is_still(const memory *source)
{
    return !source->pid;
}

int memory_capture(memory *source)
{
    source->capturing = source->pid != 0;
    return ONLOOKER_OK;
}

uint64_t memory_captured_count(const memory *source)
{
    return source->pages.count;
}

const unsigned char *memory_captured_page(const memory *source, uint64_t index, uint64_t *address)
{
    if (index >= source->pages.count)
        return NULL;
    *address = source->pages.addresses[index];
    return source->pages.bytes + (size_t)index * PAGE_SIZE;
}

void memory_close(memory *source)
{
    if (!source)
        return;
    if (source->mem_fd >= 0)
        close(source->mem_fd);
    map_free(&source->captured);
    free(source->pages.addresses);
    free(source->pages.bytes);
    free(source);
}
