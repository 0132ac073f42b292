/* layout.h: whether a layout that comes from outside makes sense. */
#ifndef ONLOOKER_LAYOUT_H
#define ONLOOKER_LAYOUT_H

#include "recorder.h"

/* Whether the recorder can do with LAYOUT: all that it can't do without is there, and no offset is
 * beyond what a structure of CPython's may have. */
bool layout_check(const layout *layout);

#endif
