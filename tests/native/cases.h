/* cases.h: the cases of a fuzzer, one after the other. */
#ifndef CASES_H
#define CASES_H

#include <stdint.h>

/* Runs cases FIRST to FIRST + COUNT - 1, each for a minute at most. What fails says which it was.
 */
void cases_run(uint64_t first, uint64_t count, void (*run)(uint64_t number));

#endif
