#include "map.h"

#include <stdlib.h>
#include <string.h>

static uint32_t find_slot(const map *map, uint64_t key)
{
    uint32_t slot = (uint32_t)hash_u64(key) & (map->slots - 1);
    while (map->values[slot] != MAP_ABSENT && map->keys[slot] != key)
        slot = (slot + 1) & (map->slots - 1);
    return slot;
}

uint32_t map_get(const map *map, uint64_t key)
{
    return map->slots ? map->values[find_slot(map, key)] : MAP_ABSENT;
}

static bool grow(map *old)
{
    map grown = {.slots = old->slots ? old->slots * 2 : 64};
    grown.keys = malloc(grown.slots * sizeof *grown.keys);
    grown.values = malloc(grown.slots * sizeof *grown.values);
    if (!grown.keys || !grown.values) {
        map_free(&grown);
        return false;
    }
    memset(grown.values, 0xff, grown.slots * sizeof *grown.values);
    for (uint32_t slot = 0; slot < old->slots; slot++) {
        if (old->values[slot] == MAP_ABSENT)
            continue;
        uint32_t place = find_slot(&grown, old->keys[slot]);
        grown.keys[place] = old->keys[slot];
        grown.values[place] = old->values[slot];
    }
    grown.used = old->used;
    map_free(old);
    *old = grown;
    return true;
}

bool map_set(map *map, uint64_t key, uint32_t value)
{
    if (map->used >= map->slots / 4 * 3 && !grow(map))
        return false;
    uint32_t slot = find_slot(map, key);
    if (map->values[slot] == MAP_ABSENT)
        map->used++;
    map->keys[slot] = key;
    map->values[slot] = value;
    return true;
}

void map_clear(map *map)
{
    if (map->slots)
        memset(map->values, 0xff, map->slots * sizeof *map->values);
    map->used = 0;
}

void map_free(map *map)
{
    free(map->keys);
    free(map->values);
    memset(map, 0, sizeof *map);
}
