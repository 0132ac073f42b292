/* lies.h: what a case of a fuzzer changes in recorded memory, and in the layout. */
#ifndef LIES_H
#define LIES_H

#include "hostile_memory.h"

/* What is left of a case. Reads zeros beyond its end. */
typedef struct script {
    const uint8_t *bytes;
    size_t left;
} script;

/* The next BYTES of it as a number. */
uint32_t script_take(script *script, uint32_t bytes);

/* Changes some of the words that were read. */
void lies_in_words(script *script, memory *source);

/* Changes some of COUNT offsets: published ones are as untrusted as any other word. */
void lies_in_offsets(script *script, int32_t *offsets, size_t count);

/* Runs cases FIRST to FIRST + COUNT - 1, each for a minute at most. */
void lies_run_cases(uint64_t first, uint64_t count, void (*run)(script));

#endif
