/* How all objects are found, by one thread or by two. The second one walks each list backwards,
 * until they meet. Then they share out what has only been referred to. */
#include "heap.h"

#include <pthread.h>

#define GC_OBJECT_UNITS 4u

#define LINK_NEXT 0u
#define LINK_PREVIOUS 8u

#define SWEEPS 4u
#define SHARE_WORDS 4096u /* of the bitmap, for one thread at a time */

#define BATCH 4096u /* objects */

#define TOLD_OBJECTS 1024u /* at a time */

/* What one of the threads has to do. */
typedef struct walk {
    heap *heap;  /* NULL: there is no such thread */
    list *lists; /* of both */
    uint64_t list_count;
    bool helps, alone;
    bool more;            /* what was found may refer to what was not referred to before */
    uint64_t *next_share; /* of both */
    const volatile int32_t *stop;
    volatile uint64_t *done; /* of both */
    int result;
} walk;

/* Visits what was found meanwhile, until nothing more is found. */
static bool drain(walk *walk)
{
    heap *heap = walk->heap;
    while (heap->stack.count && !heap_ran_out(heap) && !*walk->stop) {
        const found *top = (found *)heap->stack.items + --heap->stack.count;
        heap_visit(heap, top->address, top->type);
        if (heap->totals.objects % TOLD_OBJECTS == 0)
            __atomic_fetch_add(walk->done, TOLD_OBJECTS, __ATOMIC_RELAXED);
    }
    if (*walk->stop)
        walk->result = ONLOOKER_INTERRUPTED;
    else if (heap_ran_out(heap))
        walk->result = ONLOOKER_NO_MEMORY;
    return walk->result == ONLOOKER_OK;
}

static bool follow(heap *heap, uint64_t head, uint32_t link, uint64_t *to)
{
    if (!space_word(&heap->space, head + link, to))
        return false;
    *to &= ~COLLECTOR_BITS;
    return true;
}

/* An object of a list, by its head. False: there can't be one. */
static bool object_at(heap *heap, uint64_t head, uint64_t *object, uint64_t *unit)
{
    *object = head + (uint32_t)heap->layout.gc_head_size;
    *unit = space_unit(&heap->space, *object);
    return *unit != UNIT_NONE;
}

/* Visits the objects of a list, after each what only it leads to. Only who walks a list marks what
 * is on it, but for static objects: what is marked is where the helper was. */
static int walk_list(walk *walk, list *list)
{
    heap *heap = walk->heap;
    uint64_t head = list->head, at = head, object, unit;
    /* No list is longer than there is room for objects with heads. */
    for (uint64_t steps = 0; steps <= heap->space.units / GC_OBJECT_UNITS; steps++) {
        if (!follow(heap, at, LINK_NEXT, &at))
            return ONLOOKER_FAULT;
        if (at == head)
            return ONLOOKER_OK;
        if (!object_at(heap, at, &object, &unit))
            return ONLOOKER_FAULT;
        if (bit_claim(heap->marked, unit)) {
            heap_visit_listed(heap, object);
            if (!drain(walk))
                return walk->result;
        } else if (!walk->alone && !space_is_image(&heap->space, object)) {
            list->met = object;
            return ONLOOKER_OK;
        }
    }
    return ONLOOKER_FAULT;
}

/* Marks the objects before *AT on a list, the last one first, until BATCH is full or there are no
 * more. A link must be one both ways: as an object is put on a list there is a moment at which they
 * are not, and only walk_list goes on there. */
static uint32_t collect_back(heap *heap, list *list, uint64_t *at, uint64_t batch[BATCH])
{
    uint32_t count = 0;
    uint64_t head = list->head, before, back, object, unit, reached = 0;
    while (count < BATCH && follow(heap, *at, LINK_PREVIOUS, &before) && before != head &&
           follow(heap, before, LINK_NEXT, &back) && back == *at &&
           object_at(heap, before, &object, &unit) && bit_claim(heap->marked, unit)) {
        *at = before;
        batch[count++] = object;
        if (!space_is_image(&heap->space, object))
            reached = object;
    }
    if (reached)
        list->reached = reached;
    return count;
}

/* A helper's nodes from here on come before those that it has so far. */
static void begin_batch(heap *heap)
{
    uint32_t *begun = heap->graph ? series_add(heap, &heap->batches, sizeof *begun) : NULL;
    if (begun)
        *begun = (uint32_t)heap->units.count;
}

/* The same from the end of a list on. What an object refers to was mostly made before it, so that
 * it pays to visit them in the order in which they were made, batch by batch. */
static int walk_back(walk *walk, list *list)
{
    uint64_t batch[BATCH], at = list->head;
    for (uint32_t count = BATCH; count == BATCH;) {
        begin_batch(walk->heap);
        count = collect_back(walk->heap, list, &at, batch);
        for (uint32_t i = count; i > 0; i--) {
            heap_visit_listed(walk->heap, batch[i - 1]);
            if (!drain(walk))
                return walk->result;
        }
    }
    return ONLOOKER_OK;
}

static void *walk_lists(void *argument)
{
    walk *walk = argument;
    if (!walk->helps)
        drain(walk);
    for (uint64_t i = 0; i < walk->list_count && walk->result == ONLOOKER_OK; i++) {
        list *list = &walk->lists[i];
        walk->result = walk->helps ? walk_back(walk, list) : walk_list(walk, list);
    }
    return NULL;
}

/* Visits what has been referred to meanwhile and is on no list, in the order of addresses, share by
 * share. */
static void *sweep(void *argument)
{
    walk *walk = argument;
    heap *heap = walk->heap;
    uint64_t words = heap->space.units / 64, new;
    bool more = false; /* not *WALK: the other one's is beside it */
    for (;;) {
        uint64_t word = __atomic_fetch_add(walk->next_share, SHARE_WORDS, __ATOMIC_RELAXED);
        uint64_t end = word + SHARE_WORDS < words ? word + SHARE_WORDS : words;
        if (word >= end) {
            walk->more = more;
            return NULL;
        }
        for (; word < end; word++)
            while ((new = __atomic_load_n(&heap->referenced[word], __ATOMIC_RELAXED))) {
                __atomic_fetch_and(&heap->referenced[word], ~new, __ATOMIC_RELAXED);
                new &= ~__atomic_load_n(&heap->marked[word], __ATOMIC_RELAXED);
                for (; new; new &= new - 1) {
                    uint64_t unit = word * 64 + (uint64_t)__builtin_ctzll(new);
                    if (heap_find(heap, space_address(&heap->space, unit), unit) &&
                        heap->stack.count)
                        more = true;
                    if (!drain(walk))
                        return NULL;
                }
            }
    }
}

/* Lets both do their part. If there is no thread for the second one, the first has no one to meet
 * and no one who takes a share. */
static bool together(walk walks[2], void *(*part)(void *))
{
    pthread_t thread;
    bool helped = walks[1].heap && !pthread_create(&thread, NULL, part, &walks[1]);
    part(&walks[0]);
    if (helped)
        pthread_join(thread, NULL);
    return walks[0].result == ONLOOKER_OK && walks[1].result == ONLOOKER_OK;
}

/* Whether between them both have been everywhere. */
static bool have_met(const walk *walk)
{
    for (uint64_t i = 0; i < walk->list_count; i++)
        if (walk->lists[i].met && walk->lists[i].met != walk->lists[i].reached)
            return false;
    return true;
}

int heap_walk(heap *heap, const volatile int32_t *stop, volatile uint64_t *done)
{
    struct heap *helper = heap->paired && heap->lists.count ? heap_new_helper(heap) : NULL;
    uint64_t next_share = 0;
    walk walks[2] = {{.heap = heap,
                      .lists = heap->lists.items,
                      .list_count = heap->lists.count,
                      .alone = !helper,
                      .next_share = &next_share,
                      .stop = stop,
                      .done = done}};
    walks[1] = walks[0];
    walks[1].heap = helper;
    walks[1].helps = true;
    heap->deferring = true;
    bool going = together(walks, walk_lists);
    if (going && !have_met(&walks[0])) {
        walks[0].result = ONLOOKER_FAULT;
        going = false;
    }
    heap->lists.count = 0;
    if (helper)
        begin_batch(helper);
    for (uint32_t sweeps = 0; going; sweeps++) {
        next_share = 0;
        /* A chain that leads back, step by step, would take as many sweeps as it has steps. */
        heap->deferring = sweeps < SWEEPS;
        if (helper)
            helper->deferring = heap->deferring;
        going = together(walks, sweep) && (walks[0].more || walks[1].more);
    }
    heap->deferring = false;
    if (helper)
        heap_merge(heap, helper);
    *done = heap->totals.objects;
    if (walks[0].result != ONLOOKER_OK)
        return walks[0].result;
    return heap_ran_out(heap) ? ONLOOKER_NO_MEMORY : walks[1].result;
}
