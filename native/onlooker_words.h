/* onlooker_words.h: where a target's memory holds one of some words. As onlooker.h says. */

/* At most so many words may be looked for at once. */
#define ONLOOKER_WORDS_LIMIT 64

/* Copies into FOUND, which has room for LIMIT, the addresses from START to before END of aligned
 * words that are one of the COUNT words at WORDS. Returns how many; if that is LIMIT there may be
 * more behind the last one. What can't be read is left out. */
uint64_t words_find(memory *source, uint64_t start, uint64_t end, const uint64_t *words,
                    uint32_t count, uint64_t *found, uint64_t limit);
