#include "check.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "memory.h"

static unsigned char pages[3 * PAGE_SIZE];

/* Pages at 0x10000, 0x11000 and 0x13000. */
static memory *open_pages(void)
{
    static const uint64_t addresses[] = {0x10000, 0x11000, 0x13000};
    for (uint32_t i = 0; i < sizeof pages; i++)
        pages[i] = (unsigned char)hash_u64(i);
    memory *source = memory_open_recording(addresses, pages, 3);
    CHECK(source);
    return source;
}

TEST(a_recording_reads_what_was_recorded)
{
    memory *source = open_pages();
    unsigned char out[2 * PAGE_SIZE];
    for (uint32_t i = 0; i < 500; i++) {
        uint32_t start = (uint32_t)check_random(2 * PAGE_SIZE);
        uint32_t length = (uint32_t)check_random(2 * PAGE_SIZE - start) + 1;
        CHECK_EQUAL(memory_read(source, 0x10000 + start, out, length), ONLOOKER_OK);
        CHECK(!memcmp(out, pages + start, length));
    }
    uint64_t word;
    CHECK_EQUAL(memory_read_u64(source, 0x13ff8, &word), ONLOOKER_OK);
    CHECK(!memcmp(&word, pages + sizeof pages - 8, 8));
    CHECK(memory_alive(source));
    memory_close(source);
}

TEST(a_recording_reads_nothing_else)
{
    memory *source = open_pages();
    unsigned char out[4 * PAGE_SIZE];
    const uint64_t missing[] = {0, 0xfff, 0xffff, 0x12000, 0x14000, UINT64_MAX};
    for (uint32_t i = 0; i < sizeof missing / sizeof *missing; i++)
        CHECK_EQUAL(memory_read(source, missing[i], out, 1), ONLOOKER_FAULT);
    CHECK_EQUAL(memory_read(source, 0x11ffc, out, 8), ONLOOKER_FAULT);
    CHECK_EQUAL(memory_read(source, 0xfff8, out, 16), ONLOOKER_FAULT);
    CHECK_EQUAL(memory_read(source, 0x10000, out, 4 * PAGE_SIZE), ONLOOKER_FAULT);
    CHECK_EQUAL(memory_read(source, UINT64_MAX - 3, out, 16), ONLOOKER_FAULT);
    CHECK_EQUAL(memory_read(source, 0x12000, out, 0), ONLOOKER_OK);
    memory_close(source);
}

TEST(pieces_are_read_in_order_and_fail_together)
{
    memory *source = open_pages();
    unsigned char a[4], b[8];
    struct iovec local[] = {{a, 4}, {b, 8}};
    struct iovec remote[] = {{(void *)0x13000, 4}, {(void *)0x10ffc, 8}};
    CHECK_EQUAL(memory_readv(source, local, remote, 2), ONLOOKER_OK);
    CHECK(!memcmp(a, pages + 2 * PAGE_SIZE, 4));
    CHECK(!memcmp(b, pages + PAGE_SIZE - 4, 8));
    remote[1].iov_base = (void *)0x12000;
    CHECK_EQUAL(memory_readv(source, local, remote, 2), ONLOOKER_FAULT);
    memory_close(source);
}

/* --- a process: a child that has what we had when it was made --- */

static pid_t start_child(void)
{
    int ready[2];
    char byte;
    CHECK(!pipe(ready));
    pid_t child = fork();
    CHECK(child >= 0);
    if (!child) {
        if (write(ready[1], "", 1) == 1)
            for (;;)
                pause();
        _exit(1);
    }
    CHECK(read(ready[0], &byte, 1) == 1);
    close(ready[0]);
    close(ready[1]);
    return child;
}

static void end_child(pid_t child)
{
    kill(child, SIGKILL);
    CHECK(waitpid(child, NULL, 0) == child);
}

/* Four pages of which the third cannot be read. */
static unsigned char *map_pages(void)
{
    unsigned char *mapped =
        mmap(NULL, 4 * PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(mapped != MAP_FAILED);
    for (uint32_t i = 0; i < 4 * PAGE_SIZE; i++)
        mapped[i] = (unsigned char)hash_u64(i);
    return mapped;
}

TEST(a_process_is_read_as_it_is)
{
    enum { PIECES = 3000 }; /* more than the kernel takes at a time */
    unsigned char *mapped = map_pages(), out[PIECES][8];
    pid_t child = start_child();
    memory *source = memory_open_process(child);
    CHECK(source);
    struct iovec local[PIECES], remote[PIECES];
    for (uint32_t i = 0; i < PIECES; i++) {
        local[i] = (struct iovec){out[i], 8};
        remote[i] = (struct iovec){mapped + i * 5, 8};
    }
    CHECK_EQUAL(memory_readv(source, local, remote, PIECES), ONLOOKER_OK);
    for (uint32_t i = 0; i < PIECES; i++)
        CHECK(!memcmp(out[i], mapped + i * 5, 8));
    CHECK(memory_alive(source));
    memory_close(source);
    end_child(child);
    munmap(mapped, 4 * PAGE_SIZE);
}

TEST(what_a_process_has_not_mapped_is_a_fault)
{
    unsigned char *mapped = map_pages(), out[16];
    CHECK(!munmap(mapped + 2 * PAGE_SIZE, PAGE_SIZE));
    pid_t child = start_child();
    memory *source = memory_open_process(child);
    CHECK(source);
    uint64_t hole = (uintptr_t)mapped + 2 * PAGE_SIZE;
    const uint64_t missing[] = {
        0, 8, hole, hole + PAGE_SIZE - 1, hole - 8, UINT64_MAX - 15, UINT64_C(1) << 47};
    for (uint32_t i = 0; i < sizeof missing / sizeof *missing; i++)
        CHECK_EQUAL(memory_read(source, missing[i], out, 16), ONLOOKER_FAULT);
    CHECK_EQUAL(memory_read(source, hole - 16, out, 16), ONLOOKER_OK);
    CHECK_EQUAL(memory_read(source, hole + PAGE_SIZE, out, 16), ONLOOKER_OK);
    CHECK(memory_alive(source));
    memory_close(source);
    end_child(child);
}

TEST(a_process_that_ended_is_gone)
{
    uint64_t word;
    pid_t child = start_child();
    memory *source = memory_open_process(child);
    CHECK(source);
    CHECK(memory_alive(source));
    kill(child, SIGKILL);
    siginfo_t info;
    CHECK(!waitid(P_PID, (id_t)child, &info, WEXITED | WNOWAIT));
    /* A zombie has no memory any more ... */
    CHECK(!memory_alive(source));
    CHECK_EQUAL(memory_read_u64(source, (uintptr_t)pages, &word), ONLOOKER_GONE);
    end_child(child);
    /* ... and a process that was waited for has no id. */
    CHECK(!memory_alive(source));
    CHECK_EQUAL(memory_read_u64(source, (uintptr_t)pages, &word), ONLOOKER_GONE);
    memory_close(source);
    errno = 0;
    CHECK(!memory_open_process(child));
    CHECK(errno == ENOENT || errno == ESRCH);
}

TEST(a_process_that_executed_another_program_is_gone)
{
    int go[2], out[2];
    char byte;
    uint64_t word;
    CHECK(!pipe(go) && !pipe(out));
    pid_t child = fork();
    CHECK(child >= 0);
    if (!child) {
        dup2(out[1], 1);
        if (read(go[0], &byte, 1) == 1) /* cat says by copying a byte that it runs */
            execlp("sh", "sh", "-c", "printf x; exec cat", (char *)NULL);
        _exit(1);
    }
    memory *source = memory_open_process(child);
    CHECK(source);
    CHECK_EQUAL(memory_read_u64(source, (uintptr_t)pages, &word), ONLOOKER_OK);
    CHECK(write(go[1], "", 1) == 1);
    CHECK(read(out[0], &byte, 1) == 1);
    CHECK(!memory_alive(source));
    /* An address that only the old program had mapped. */
    CHECK_EQUAL(memory_read_u64(source, (uintptr_t)pages, &word), ONLOOKER_GONE);
    memory_close(source);
    end_child(child);
}

TEST(captured_pages_replay_what_was_read)
{
    unsigned char *mapped = map_pages(), out[64], again[64];
    CHECK(!munmap(mapped + 2 * PAGE_SIZE, PAGE_SIZE));
    pid_t child = start_child();
    memory *source = memory_open_process(child);
    CHECK(source);
    CHECK_EQUAL(memory_read(source, (uintptr_t)mapped, out, 8), ONLOOKER_OK);
    CHECK_EQUAL(memory_capture(source), ONLOOKER_OK);
    CHECK_EQUAL(memory_captured_count(source), 0);
    uint64_t start = (uintptr_t)mapped + PAGE_SIZE - 32;
    for (uint32_t i = 0; i < 3; i++) /* two pages, however often */
        CHECK_EQUAL(memory_read(source, start, out, sizeof out), ONLOOKER_OK);
    CHECK_EQUAL(memory_read(source, start + PAGE_SIZE, out, 64), ONLOOKER_FAULT);
    CHECK_EQUAL(memory_captured_count(source), 2);
    uint64_t addresses[2];
    unsigned char *content = malloc(2 * PAGE_SIZE);
    CHECK(content);
    for (uint32_t i = 0; i < 2; i++) {
        const unsigned char *page = memory_captured_page(source, i, &addresses[i]);
        CHECK(page);
        CHECK_EQUAL(addresses[i], (uintptr_t)mapped + i * PAGE_SIZE);
        memcpy(content + i * PAGE_SIZE, page, PAGE_SIZE);
    }
    CHECK(!memory_captured_page(source, 2, &addresses[0]));
    memory *replay = memory_open_recording(addresses, content, 2);
    CHECK(replay);
    CHECK_EQUAL(memory_read(source, start, out, sizeof out), ONLOOKER_OK);
    CHECK_EQUAL(memory_read(replay, start, again, sizeof again), ONLOOKER_OK);
    CHECK(!memcmp(out, again, sizeof out));
    free(content);
    memory_close(replay);
    memory_close(source);
    end_child(child);
}

TEST(nothing_is_closed_twice)
{
    memory_close(NULL);
    CHECK(!memory_open_process(0x7ffffffe));
}
