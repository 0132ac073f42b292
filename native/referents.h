/* referents.h: what an object of each shape refers to and holds; shared by the files that know the
 * shapes. A visit_ function is false if the object contradicts itself, or claims more than there
 * is. What it told until then stays. */
#ifndef ONLOOKER_REFERENTS_H
#define ONLOOKER_REFERENTS_H

#include "heap.h"

#define CHUNK 512u                      /* words that are copied at a time */
#define FIELDS_LIMIT (1u << 16)         /* bytes of an object's fields that are looked at */
#define ITEMS_LIMIT (UINT64_C(1) << 40) /* of a str, an array, a set */

static inline bool word_at(heap *heap, uint64_t address, int32_t offset, uint64_t *out)
{
    return space_word(&heap->space, address + (uint64_t)(int64_t)offset, out);
}

/* Whether so many bytes are there and may be looked at. All that objects refer from can't be much
 * more than there is: of a million that each claim the same gigabyte, the first two get it. */
static inline bool claim(heap *heap, uint64_t address, uint64_t bytes)
{
    if (!bytes)
        return true;
    if (bytes > heap->unclaimed || !space_has(&heap->space, address, bytes))
        return false;
    heap->unclaimed -= bytes;
    return true;
}

/* All words of an array are references, or null; those with bits of IGNORED set have these for
 * tags. */
bool refer_array(heap *heap, uint64_t at, uint64_t count, uint32_t label, uint64_t ignored);

/* Fields that own what they point to are all but those of `excluded`. */
bool refer_fields(heap *heap, uint64_t address, uint64_t from, uint64_t to, const int64_t *excluded,
                  size_t count);

/* referents_containers.c */
bool visit_list(heap *heap, uint64_t address);
bool visit_tuple(heap *heap, uint64_t address);
bool visit_set(heap *heap, uint64_t address);
bool visit_deque(heap *heap, uint64_t address);
bool visit_array(heap *heap, uint64_t address);
bool visit_ndarray(heap *heap, uint64_t address);
bool visit_tee(heap *heap, uint64_t address);
bool visit_bytearray(heap *heap, uint64_t address);

/* *OWN is the size of the object's own block. */
bool visit_unicode(heap *heap, uint64_t address, uint64_t *own);

/* referents_dicts.c */
bool visit_dict(heap *heap, uint64_t address);
bool visit_odict(heap *heap, uint64_t address);

/* The keys that a type's instances share, which it holds. */
bool visit_shared_keys(heap *heap, uint64_t keys);

/* The values of an instance or of a dict that shares its keys, by name. */
bool refer_values(heap *heap, uint64_t values, uint64_t keys);

/* Holds the block that an array of values lies in. */
void hold_values(heap *heap, uint64_t values, uint64_t keys);

/* referents_frames.c */
bool visit_frame_object(heap *heap, uint64_t address, const type *type, uint64_t *own);
bool visit_generator(heap *heap, uint64_t address, const type *type);

#endif
