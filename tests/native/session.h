/* session.h: what the recorder has counted must make sense, whatever it was made to read. */
#ifndef SESSION_H
#define SESSION_H

#include "recorder.h"

/* Follows everything that the recorder hands out, to its end, and aborts when something is wrong.
 */
void session_check(const recorder *recorder);

/* Aborts, saying what is wrong. */
void session_must(bool condition, const char *what);

#endif
