#include <stdlib.h>

#include "memory.h"
#include "onlooker_words.h"

#define PIECE (UINT64_C(256) * PAGE_SIZE)

/* Objects begin at multiples of 16. */
#define SLOT(word) ((word) >> 4 & 0xff)

typedef struct search {
    const uint64_t *words;
    uint32_t count;
    bool slots[256]; /* of the words: most others are told by that */
    uint64_t *found, found_count, limit;
} search;

static void look(search *search, uint64_t address, const uint64_t *piece, uint64_t count)
{
    for (uint64_t i = 0; i < count && search->found_count < search->limit; i++) {
        if (!search->slots[SLOT(piece[i])])
            continue;
        for (uint32_t j = 0; j < search->count; j++)
            if (piece[i] == search->words[j]) {
                search->found[search->found_count++] = address + i * 8;
                break;
            }
    }
}

uint64_t words_find(memory *source, uint64_t start, uint64_t end, const uint64_t *words,
                    uint32_t count, uint64_t *found, uint64_t limit)
{
    search search = {.words = words, .count = count, .found = found, .limit = limit};
    uint64_t *piece = malloc(PIECE), length;
    if (!piece || start % 8 || count > ONLOOKER_WORDS_LIMIT) {
        free(piece);
        return 0;
    }
    for (uint32_t i = 0; i < count; i++)
        search.slots[SLOT(words[i])] = true;
    for (; start < end && search.found_count < limit; start += length) {
        length = end - start < PIECE ? end - start : PIECE;
        int result = memory_read(source, start, piece, length);
        if (result == ONLOOKER_FAULT) {
            length = PAGE_OF(start) + PAGE_SIZE - start;
            length = end - start < length ? end - start : length;
            result = memory_read(source, start, piece, length);
        }
        if (result == ONLOOKER_OK)
            look(&search, start, piece, length / 8);
        else if (result != ONLOOKER_FAULT)
            break;
    }
    free(piece);
    return search.found_count;
}
