/* creator.h: counts that a thread which stands still creates another. */
#ifndef ONLOOKER_CREATOR_H
#define ONLOOKER_CREATOR_H

#include "recorder.h"

/* Reads the stack of TID (as our pid namespace knows it) and counts it. ONLOOKER_GONE if its
 * program is not there any more. */
int creator_count(recorder *recorder, int32_t tid);

#endif
