#include "hostile_memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "memory.h"

#define WORDS_A_PAGE (PAGE_SIZE / 8)
#define BLOCK_BYTES PAGE_SIZE /* and more */

struct memory {
    const recorded *recorded;
    unsigned char *pages;
    word_index *read;
    uint32_t read_count;
    bool *is_read;
    bool ignores_blocks;
    uint32_t rarity;
    uint64_t random;
    uint64_t reads, bytes;
    uint64_t fail_at;
    int fail_with;
};

static void must(bool condition, const char *what)
{
    if (!condition) {
        fprintf(stderr, "%s\n", what);
        exit(2);
    }
}

static void read_exactly(FILE *file, void *out, size_t length)
{
    must(fread(out, 1, length, file) == length, "the recording is too short");
}

void recorded_load(recorded *out, const char *path)
{
    FILE *file = fopen(path, "rb");
    must(file, "the recording cannot be opened");
    read_exactly(file, &out->layout, sizeof out->layout);
    read_exactly(file, &out->options, sizeof out->options);
    read_exactly(file, &out->count, sizeof out->count);
    must(out->count && out->count < 1 << 16, "the recording has no pages or too many");
    out->addresses = malloc(out->count * sizeof *out->addresses);
    out->pages = malloc(out->count * PAGE_SIZE);
    must(out->addresses && out->pages, "out of memory");
    read_exactly(file, out->addresses, out->count * sizeof *out->addresses);
    read_exactly(file, out->pages, out->count * PAGE_SIZE);
    must(fgetc(file) == EOF, "the recording is too long");
    fclose(file);
}

void recorded_free(recorded *recorded)
{
    free(recorded->addresses);
    free(recorded->pages);
}

memory *hostile_open(const recorded *recorded)
{
    memory *new = calloc(1, sizeof *new);
    must(new, "out of memory");
    new->recorded = recorded;
    new->pages = malloc(recorded->count * PAGE_SIZE);
    new->read = malloc(recorded->count * WORDS_A_PAGE * sizeof *new->read);
    new->is_read = calloc(recorded->count * WORDS_A_PAGE, sizeof *new->is_read);
    must(new->pages && new->read && new->is_read, "out of memory");
    hostile_reset(new);
    return new;
}

void hostile_reset(memory *memory)
{
    memcpy(memory->pages, memory->recorded->pages, memory->recorded->count * PAGE_SIZE);
    memory->rarity = 0;
    memory->reads = memory->bytes = 0;
    memory->fail_at = UINT64_MAX;
}

uint32_t hostile_words_read(const memory *memory, const word_index **words)
{
    *words = memory->read;
    return memory->read_count;
}

void hostile_ignore_blocks(memory *memory)
{
    memory->ignores_blocks = true;
}

uint64_t hostile_address(const memory *memory, word_index word)
{
    return memory->recorded->addresses[word / WORDS_A_PAGE] + word % WORDS_A_PAGE * 8;
}

uint64_t hostile_get(const memory *memory, word_index word)
{
    return load_u64(memory->pages + (size_t)word * 8, 0);
}

void hostile_set(memory *memory, word_index word, uint64_t value)
{
    memcpy(memory->pages + (size_t)word * 8, &value, sizeof value);
}

void hostile_make_noise(memory *memory, uint32_t rarity, uint64_t seed)
{
    memory->rarity = rarity;
    memory->random = seed;
}

void hostile_fail(memory *memory, uint64_t index, int result)
{
    memory->fail_at = memory->reads + index;
    memory->fail_with = result;
}

uint64_t hostile_reads(const memory *memory)
{
    return memory->reads;
}

uint64_t hostile_bytes(const memory *memory)
{
    return memory->bytes;
}

/* The index of the page at ADDRESS, or -1. */
static int64_t find_page(const memory *memory, uint64_t address)
{
    const uint64_t *addresses = memory->recorded->addresses;
    uint64_t low = 0, high = memory->recorded->count;
    while (low < high) {
        uint64_t middle = (low + high) / 2;
        if (addresses[middle] == PAGE_OF(address))
            return (int64_t)middle;
        if (addresses[middle] < address)
            low = middle + 1;
        else
            high = middle;
    }
    return -1;
}

static void remember(memory *memory, uint64_t page, size_t within, size_t length)
{
    for (size_t byte = within & ~(size_t)7; byte < within + length; byte += 8) {
        word_index word = (word_index)(page * WORDS_A_PAGE + byte / 8);
        if (!memory->is_read[word]) {
            memory->is_read[word] = true;
            memory->read[memory->read_count++] = word;
        }
    }
}

static uint64_t random_below(memory *memory, uint64_t limit)
{
    memory->random += 0x9e3779b97f4a7c15u;
    return hash_u64(memory->random) % limit;
}

static void add_noise(memory *memory, unsigned char *out, size_t length)
{
    for (size_t at = 0; memory->rarity && at + 8 <= length; at += 8) {
        if (random_below(memory, memory->rarity))
            continue;
        word_index other = memory->read[random_below(memory, memory->read_count)];
        uint64_t value = hostile_get(memory, other);
        memcpy(out + at, &value, sizeof value);
    }
}

static int copy(memory *memory, uint64_t address, unsigned char *out, size_t length)
{
    bool ignored = memory->ignores_blocks && length >= BLOCK_BYTES;
    while (length) {
        int64_t page = find_page(memory, address);
        if (page < 0)
            return ONLOOKER_FAULT;
        size_t within = address & (PAGE_SIZE - 1);
        size_t step = PAGE_SIZE - within < length ? PAGE_SIZE - within : length;
        memcpy(out, memory->pages + (size_t)page * PAGE_SIZE + within, step);
        if (!ignored)
            remember(memory, (uint64_t)page, within, step);
        add_noise(memory, out, step);
        memory->bytes += step;
        out += step;
        address += step;
        length -= step;
    }
    return ONLOOKER_OK;
}

/* --- native/memory.h --- */

int memory_readv(memory *source, const struct iovec *local, const struct iovec *remote,
                 uint32_t count)
{
    if (source->reads++ == source->fail_at)
        return source->fail_with;
    for (uint32_t i = 0; i < count; i++) {
        int result = copy(source, (uint64_t)(uintptr_t)remote[i].iov_base, local[i].iov_base,
                          remote[i].iov_len);
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
    return source->recorded != NULL;
}

bool memory_is_still(const memory *source)
{
    return source->recorded == NULL;
}

void memory_close(memory *source)
{
    if (!source)
        return;
    free(source->pages);
    free(source->read);
    free(source->is_read);
    free(source);
}
