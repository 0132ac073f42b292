/* hostile_memory.h: a memory of recorded pages that lies. It takes the place of native/memory.c:
 * what a target may do to the recorder, it does. */
#ifndef HOSTILE_MEMORY_H
#define HOSTILE_MEMORY_H

#include "recorder.h"

/* A recording as tests/native/recordings.py writes it for C. */
typedef struct recorded {
    layout layout;
    options options;
    uint64_t count;
    uint64_t *addresses;
    unsigned char *pages;
} recorded;

/* Ends the program when the file is not what it should be. */
void recorded_load(recorded *out, const char *path);
void recorded_free(recorded *recorded);

/* A place of 8 bytes in the pages. */
typedef uint32_t word_index;

/* The pages as they were recorded, nothing failing and nothing counted. */
memory *hostile_open(const recorded *recorded);
void hostile_reset(memory *memory);

/* The words that were read since hostile_open: these are what a lie must be about. */
uint32_t hostile_words_read(const memory *memory, const word_index **words);

/* From now on reads of whole blocks are of no words. */
void hostile_ignore_blocks(memory *memory);

uint64_t hostile_address(const memory *memory, word_index word);
uint64_t hostile_get(const memory *memory, word_index word);
void hostile_set(memory *memory, word_index word, uint64_t value);

/* From now on one of RARITY words read, chosen by SEED, is another word that was read; 0: none. */
void hostile_make_noise(memory *memory, uint32_t rarity, uint64_t seed);

/* Lets read number INDEX from now on, counted from 0, return RESULT. */
void hostile_fail(memory *memory, uint64_t index, int result);

/* Calls since hostile_reset, and the bytes that they got. */
uint64_t hostile_reads(const memory *memory);
uint64_t hostile_bytes(const memory *memory);

#endif
