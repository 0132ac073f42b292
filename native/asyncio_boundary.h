/* asyncio_boundary.h: onlooker_asyncio.h for C files, which may include it more than once. */
#ifndef ONLOOKER_ASYNCIO_BOUNDARY_H
#define ONLOOKER_ASYNCIO_BOUNDARY_H

#include "recorder.h"

#include "onlooker_asyncio.h"

#endif
