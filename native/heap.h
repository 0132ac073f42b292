/* heap.h: what the heap walker's C files share: the objects found so far, and who refers to whom.
 * A second walker, the helper, may find some of them at the same time (heap_walk.c).
 *
 * An object is marked when it is found, and visited once. Those on the collector's lists are
 * visited in the order of these, in which most were made, and right after them what only they lead
 * to, if it is at hand. What is not is visited later, in the order of addresses. So most of the
 * memory is read once and in order. */
#ifndef ONLOOKER_HEAP_H
#define ONLOOKER_HEAP_H

#include "arrays.h"
#include "heap_types.h"
#include "map.h"
#include "space.h"

/* Of the links of a collector's list: what it notes there. */
#define COLLECTOR_BITS UINT64_C(3)

/* An array that grows by halves and is not copied for it where the kernel can move its pages. */
typedef struct series {
    void *items;
    uint64_t count, capacity;
} series;

typedef struct name {
    uint64_t at; /* in the text */
    uint32_t bytes, kind;
} name;

typedef struct found {
    uint64_t address;
    uint32_t type;
} found;

/* A list of the collector's. If two walk it: the object at which the first one has stopped, as the
 * second one had been there, and the last one that this one has marked; 0: none. */
typedef struct list {
    uint64_t head, met, reached;
} list;

typedef struct root {
    uint32_t unit, label;
    uint8_t tier;
} root;

#define POOLS_BITS 8u
#define POOLS (1u << POOLS_BITS)

/* A pool of pymalloc's, or what might have been one: block_size is 0 then. */
typedef struct pool {
    uint64_t at, block_size, inverse;
    bool used; /* by an object, as far as is known */
} pool;

/* Of a range: whether objects were in pools there, and the pools that were looked at. */
typedef struct pooled {
    bool found;
    heap_pools pools;
} pooled;

struct heap {
    heap_layout layout;
    space space;
    types types;
    bool graph, held; /* keep edges; what is found now is held by native code */
    bool no_memory;
    bool paired;    /* there is to be a helper */
    bool deferring; /* what is referred to and not at hand is looked at later */

    /* Shared with the helper: */
    uint64_t *marked;     /* bitmap of the units of objects that were found */
    uint64_t *referenced; /* the same of what may be objects, and was deferred */
    uint64_t *seen_pools; /* bitmap of pools' places; these count for a range's pools */
    map module_dicts;     /* address of a module's dict -> 1 */

    series lists;
    series batches;    /* of a helper: first nodes of batches that belong before earlier ones */
    series stack;      /* what is found and not visited yet */
    pooled *pooled;    /* for each range */
    pool pools[POOLS]; /* that were looked at last */
    heap_totals totals;

    /* The object that is being visited, and the bytes that it has by now. */
    uint64_t object, object_bytes;
    bool broken; /* it contradicts itself */

    series mapped;      /* blocks with a mapping of their own */
    uint64_t unheld;    /* bytes that blocks may still have */
    uint64_t unclaimed; /* bytes of references that may still be looked at */

    /* With a graph, for each node in the order of visits; node 0 is nobody's. */
    series units, node_types, bytes, large_bytes, first_edge;
    series targets, labels; /* for each edge; a target is a unit until make_graph */
    uint32_t *ordered;      /* after make_graph: nodes in the order of their units */
    uint32_t *ranks;        /* how many units are marked before each word of the bitmap */
    series roots;
    uint32_t *root_nodes, *root_labels; /* of the graph */
    uint8_t *root_tiers;
    series name_items, name_text;
    map names; /* address of a str -> name */
};

/* Whether every offset is one that an object can have. */
bool heap_layout_check(const heap_layout *layout);

/* Whether an allocation has failed: what was found is not all then. */
static inline bool heap_ran_out(const heap *heap)
{
    return heap->no_memory || heap->types.no_memory;
}

/* What blocks of memory are told by. False: no memory. */
bool blocks_init(heap *heap);
void blocks_free(heap *heap);

/* Adds what a helper has found in each range. */
void blocks_merge(heap *heap, const struct heap *helper);

/* Makes room for more items: CAPACITY in all. */
bool series_reserve(heap *heap, series *series, size_t size, uint64_t capacity);

/* Gives up the room for more. */
void series_trim(series *series, size_t size);

void series_free(series *series);

/* Makes room for one more item and returns it, or NULL (and no_memory). */
static inline void *series_add(heap *heap, series *series, size_t size)
{
    if (series->count == series->capacity &&
        !series_reserve(heap, series, size, series->capacity + series->capacity / 2 + 1024))
        return NULL;
    return (unsigned char *)series->items + series->count++ * size;
}

/* A walker for another thread that walks the same heap at the same time, until heap_merge. NULL: no
 * memory. */
heap *heap_new_helper(const heap *heap);
void heap_free_helper(heap *helper);

/* Takes over all that a helper has found, and frees it. The batches of its nodes come in the
 * opposite order, as it walks backwards. */
void heap_merge(heap *heap, struct heap *helper);

/* Finds what is at an address: false if no object. Those on lists are visited in the order of
 * these, if they are there: bytes that only look like one's are not. */
bool heap_find(heap *heap, uint64_t address, uint64_t unit);

/* Visits a marked object, whose type has this index. */
void heap_visit(heap *heap, uint64_t address, uint32_t type);

/* The same, of what is on a list: there has to be an object. */
void heap_visit_listed(heap *heap, uint64_t address);

/* The visited object refers to what is at ADDRESS, if that is an object. */
void heap_refer(heap *heap, uint64_t address, uint32_t label);

/* The visited object has a block of memory, of which it asked for so many bytes. It is broken if
 * there is no room for that. */
void heap_hold(heap *heap, uint64_t block, uint64_t requested);

/* The label of a name, by the address of a str; FALLBACK if it can't be one. */
uint32_t heap_label_of_str(heap *heap, uint64_t address, uint32_t fallback);

/* The same of a dict's key, which is a name if CPython has interned it, as it does with names. */
uint32_t heap_label_of_key(heap *heap, uint64_t address, uint32_t fallback);

static inline bool heap_is_name(uint32_t label)
{
    return label >= ONLOOKER_HELD_NAMES && label < ONLOOKER_HELD_ROOTS;
}

/* Puts the names in the order of their texts, each once, and returns the labels that they have by
 * the index that they had. NULL: no memory. */
uint32_t *heap_sort_names(heap *heap);

/* Tells all that an object refers to and holds. False if it contradicts itself. */
bool referents_visit(heap *heap, uint64_t address, const type *type);

#endif
