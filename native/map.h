/* map.h: a hash table from 64-bit keys to 32-bit values, for indexes into arrays. */
#ifndef ONLOOKER_MAP_H
#define ONLOOKER_MAP_H

#include "recorder.h"

#define MAP_ABSENT UINT32_MAX

typedef struct map {
    uint64_t *keys;
    uint32_t *values; /* MAP_ABSENT: the slot is free */
    uint32_t slots;   /* a power of two, or 0 */
    uint32_t used;
} map;

/* The value of KEY, or MAP_ABSENT. */
uint32_t map_get(const map *map, uint64_t key);

/* Sets KEY to VALUE, which is not MAP_ABSENT. False when memory runs out; nothing changed then. */
bool map_set(map *map, uint64_t key, uint32_t value);

/* Forgets all keys. */
void map_clear(map *map);

void map_free(map *map);

#endif
