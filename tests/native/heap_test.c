#include "check.h"

#include <sys/mman.h>

#include "heap_boundary.h"

/* A small memory in which types and objects are laid out by hand, much as 3.12 does. */
#define BASE UINT64_C(0x10000000)
#define MEMORY_BYTES (UINT64_C(4) << 20)
#define TYPE_TYPE BASE
#define OBJECTS (BASE + (1 << 16))
#define HUGE_BLOCK (BASE + (1 << 20)) /* and all that follows */

#define TYPE_BYTES_HERE 1024u
#define READY (UINT64_C(1) << 12)
#define HEAP_TYPE (UINT64_C(1) << 9)
#define GC (UINT64_C(1) << 14)
#define LIST (UINT64_C(1) << 25)
#define TUPLE (UINT64_C(1) << 26)
#define UNICODE (UINT64_C(1) << 28)
#define DICT (UINT64_C(1) << 29)
#define TYPE (UINT64_C(1) << 31)

static const heap_layout LAYOUT = {
    .object_type = 8,
    .object_refcount_bytes = 8,
    .type_name = 24,
    .type_basicsize = 32,
    .type_itemsize = 40,
    .type_flags = 168,
    .type_dictoffset = 288,
    .type_weaklistoffset = 208,
    .type_base = 256,
    .type_bases = 336,
    .type_dict = 264,
    .type_mro = 344,
    .type_cache = 352,
    .type_subclasses = 360,
    .type_ht_name = 856,
    .type_ht_slots = 864,
    .type_ht_qualname = 872,
    .type_ht_module = 888,
    .type_cached_keys = 880,
    .type_inline_values_flag = ONLOOKER_NONE,
    .instance_managed_dict = ONLOOKER_NONE,
    .instance_managed_values = ONLOOKER_NONE,
    .gc_head_size = 16,
    .pool_size = 16384,
    .dict_keys = 32,
    .dict_values = 40,
    .dictkeys_nentries = 24,
    .dictkeys_indices = 32,
    .dictkeys_size = ONLOOKER_NONE,
    .dictkeys_log2_size = 8,
    .dictkeys_log2_index_bytes = 9,
    .dictkeys_kind = 10,
    .dictkeys_split_kind = 2,
    .dictentry_size = 24,
    .dictentry_key = 8,
    .dictentry_value = 16,
    .dictunicodeentry_size = 16,
    .dictunicodeentry_value = 8,
    .dictvalues_valid = ONLOOKER_NONE,
    .dictvalues_capacity = ONLOOKER_NONE,
    .list_size = 16,
    .list_item = 24,
    .list_allocated = 32,
    .tuple_size = 16,
    .tuple_item = 24,
    .set_mask = 32,
    .set_table = 40,
    .set_smalltable = 64,
    .setentry_size = 16,
    .long_tag = 16,
    .bytearray_object = ONLOOKER_NONE,
    .unicode_length = 16,
    .unicode_state = 32,
    .unicode_ascii_data = 40,
    .unicode_compact_data = 56,
    .unicode_data = 56,
    .unicode_wstr = ONLOOKER_NONE,
    .unicode_utf8 = 48,
    .unicode_utf8_length = 40,
    .deque_leftblock = 24,
    .deque_leftindex = 40,
    .dequeblock_data = 8,
    .dequeblock_rightlink = 520,
    .dequeblock_items = 64,
    .dequeblock_size = 528,
};

static int fd = -1;
static uint64_t next_type, next_object;

static void put(uint64_t address, uint64_t value)
{
    CHECK_EQUAL(pwrite(fd, &value, sizeof value, (off_t)address), sizeof value);
}

static uint64_t make_type(const char *name, uint64_t flags, uint64_t basicsize, uint64_t itemsize)
{
    uint64_t type = next_type;
    next_type += TYPE_BYTES_HERE;
    CHECK(next_type <= OBJECTS);
    put(type, 1);
    put(type + 8, TYPE_TYPE);
    put(type + 24, type + 960); /* its name */
    CHECK(pwrite(fd, name, strlen(name) + 1, (off_t)(type + 960)) > 0);
    put(type + 32, basicsize);
    put(type + 40, itemsize);
    put(type + 168, flags | READY);
    return type;
}

/* An object with one field, or two. */
static uint64_t make_object(uint64_t type, uint64_t at_16, uint64_t at_24, uint64_t at_32,
                            uint64_t at_40)
{
    uint64_t object = next_object;
    next_object += 96;
    const uint64_t words[] = {1, type, at_16, at_24, at_32, at_40};
    for (uint32_t i = 0; i < sizeof words / sizeof *words; i++)
        put(object + i * 8, words[i]);
    return object;
}

static void begin(void)
{
    fd = memfd_create("memory", MFD_CLOEXEC);
    CHECK(fd >= 0 && !ftruncate(fd, (off_t)(BASE + MEMORY_BYTES)));
    next_type = TYPE_TYPE;
    next_object = OBJECTS;
    make_type("type", TYPE | HEAP_TYPE, 900, 0);
}

/* Walks a list of the collector's, unless its head's address is 0, and from all objects that were
 * made; all of the memory that they may claim is looked at a few times at most. */
static heap_totals walk_list_and_all(const heap_layout *layout, uint64_t head, bool paired,
                                     int result)
{
    const heap_range range = {BASE, BASE + MEMORY_BYTES, 0, BASE + MEMORY_BYTES};
    volatile int32_t stop = 0;
    volatile uint64_t done = 0;
    heap_totals totals;
    graph graph;
    heap *heap = heap_new(layout, &(heap_options){.fd = fd,
                                                  .graph = 1,
                                                  .paired = paired,
                                                  .type_type = TYPE_TYPE,
                                                  .cache_bytes = MEMORY_BYTES,
                                                  .ranges = &range,
                                                  .range_count = 1});
    CHECK(heap);
    for (uint64_t object = OBJECTS; object < next_object; object += 96)
        CHECK_EQUAL(heap_add_root(heap, object, ONLOOKER_HELD_ROOTS, 0), ONLOOKER_OK);
    if (head)
        CHECK_EQUAL(heap_add_list(heap, head), ONLOOKER_OK);
    CHECK_EQUAL(heap_walk(heap, &stop, &done), result);
    CHECK_EQUAL(heap_make_graph(heap, &graph), ONLOOKER_OK);
    CHECK(graph.edges <= 3 * MEMORY_BYTES / 8);
    heap_get_totals(heap, &totals);
    CHECK_EQUAL(done, totals.objects);
    CHECK_EQUAL(graph.nodes, totals.objects + 1);
    CHECK(totals.bytes <= MEMORY_BYTES);
    heap_free(heap);
    close(fd);
    return totals;
}

static heap_totals walk(const heap_layout *layout)
{
    return walk_list_and_all(layout, 0, false, ONLOOKER_OK);
}

TEST(good_objects_are_counted)
{
    begin();
    uint64_t tuple = make_type("tuple", TUPLE, 24, 8);
    uint64_t list = make_type("list", LIST, 40, 0);
    uint64_t empty = make_object(tuple, 0, 0, 0, 0);
    make_object(list, 1, HUGE_BLOCK, 2, 0);
    put(HUGE_BLOCK, empty);
    heap_totals totals = walk(&LAYOUT);
    CHECK_EQUAL(totals.broken, 0);
    CHECK_EQUAL(totals.objects, 2 + 3); /* with their types */
}

TEST(sizes_that_cannot_be_are_broken)
{
    static const uint64_t sizes[] = {UINT64_C(1) << 39, UINT64_C(1) << 60,  UINT64_C(1) << 61,
                                     INT64_MAX,         UINT64_MAX / 8 + 2, UINT64_MAX};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        begin();
        uint64_t tuple = make_type("tuple", TUPLE, 24, 8);
        uint64_t list = make_type("list", LIST, 40, 0);
        uint64_t set = make_type("set", 0, 200, 0);
        uint64_t deque = make_type("collections.deque", 0, 64, 0);
        make_object(tuple, sizes[i], 0, 0, 0);
        make_object(list, sizes[i], HUGE_BLOCK, sizes[i], 0);
        make_object(list, 0, HUGE_BLOCK, sizes[i], 0);
        make_object(set, 0, 0, sizes[i] | (sizes[i] - 1), HUGE_BLOCK);
        make_object(deque, sizes[i], HUGE_BLOCK, HUGE_BLOCK, 0);
        put(HUGE_BLOCK + 520, HUGE_BLOCK); /* the block that follows the first is the first */
        CHECK_EQUAL(walk(&LAYOUT).broken, 5);
    }
}

/* A dict's, and those that a class keeps for its instances. */
TEST(keys_that_say_they_have_many_entries_are_broken)
{
    for (uint32_t log2_size = 25; log2_size < 256; log2_size += 7) {
        begin();
        uint64_t dict = make_type("dict", DICT, 48, 0);
        uint64_t class = make_type("Class", HEAP_TYPE, 32, 0);
        put(class + 880, HUGE_BLOCK);
        put(HUGE_BLOCK + 8, log2_size | 3 << 8 | 1 << 16);
        put(HUGE_BLOCK + 24, (UINT64_C(1) << log2_size % 64) / 2);
        make_object(dict, 1, 0, HUGE_BLOCK, 0);
        make_object(class, 0, 0, 0, 0);
        CHECK_EQUAL(walk(&LAYOUT).broken, 2);
    }
}

/* An object that is being freed has no references left, and stays on its list for a few
 * instructions. What else is on a list has references and a type. */
TEST(what_is_being_freed_on_a_list_is_not_broken)
{
    begin();
    uint64_t at = HUGE_BLOCK, tuple = make_type("tuple", TUPLE, 24, 8);
    const uint64_t counts[] = {1, 0, 1}, types[] = {tuple, tuple, HUGE_BLOCK};
    for (size_t i = 0; i < 3; i++) {
        put(at, at + 1024); /* its head: the next one's */
        at += 1024;
        put(at + 16, counts[i]);
        put(at + 24, types[i]);
    }
    put(at, HUGE_BLOCK);
    heap_totals totals = walk_list_and_all(&LAYOUT, HUGE_BLOCK, false, ONLOOKER_OK);
    CHECK_EQUAL(totals.broken, 1);
    CHECK_EQUAL(totals.objects, 1 + 2); /* with its type, and that one's */
}

#define LISTED 20000u
#define LISTED_BYTES 64u

static uint64_t listed_head(uint32_t number)
{
    return HUGE_BLOCK + number % (LISTED + 1) * LISTED_BYTES;
}

/* A list of tuples, each of which refers to the one before it. */
static void make_list(uint64_t tuple)
{
    for (uint32_t i = 0; i <= LISTED; i++) {
        const uint64_t words[] = {listed_head(i + 1),
                                  listed_head(i + LISTED),
                                  1,
                                  tuple,
                                  1,
                                  listed_head(i ? i - 1 : 0) + 16};
        CHECK_EQUAL(pwrite(fd, words, sizeof words, (off_t)listed_head(i)), sizeof words);
    }
}

TEST(two_find_what_one_finds)
{
    for (int paired = 0; paired < 2; paired++)
        for (uint32_t run = 0; run < 50; run++) {
            begin();
            make_list(make_type("tuple", TUPLE | GC, 24, 8));
            heap_totals totals = walk_list_and_all(&LAYOUT, listed_head(0), paired, ONLOOKER_OK);
            CHECK_EQUAL(totals.broken, 0);
            CHECK_EQUAL(totals.objects, LISTED + 2);
        }
}

/* As one is put on a list there is a moment at which links lead one way only. */
TEST(one_goes_on_where_links_lead_one_way_only)
{
    for (uint32_t cut = 0; cut <= LISTED; cut += LISTED / 20) {
        begin();
        make_list(make_type("tuple", TUPLE | GC, 24, 8));
        put(listed_head(cut) + 8, listed_head(cut + LISTED - 4));
        heap_totals totals = walk_list_and_all(&LAYOUT, listed_head(0), true, ONLOOKER_OK);
        CHECK_EQUAL(totals.objects, LISTED + 2);
    }
}

/* What lies between would be missing. */
TEST(two_that_do_not_meet_are_told)
{
    begin();
    make_list(make_type("tuple", TUPLE | GC, 24, 8));
    put(listed_head(200), listed_head(100));
    walk_list_and_all(&LAYOUT, listed_head(0), true, ONLOOKER_FAULT);
}

TEST(what_a_million_objects_claim_is_looked_at_twice)
{
    begin();
    uint64_t tuple = make_type("tuple", TUPLE, 24, 8);
    /* Each begins where the one before it has its first item, and ends at the end. */
    uint64_t items = (MEMORY_BYTES - (HUGE_BLOCK - BASE)) / 8 - 3;
    uint64_t count = items / 4;
    for (uint64_t i = 0; i < count; i++) {
        uint64_t at = HUGE_BLOCK + i * 32;
        const uint64_t words[] = {1, tuple, items - i * 4, at + 32};
        CHECK_EQUAL(pwrite(fd, words, sizeof words, (off_t)at), sizeof words);
    }
    make_object(tuple, 1, HUGE_BLOCK, 0, 0);
    CHECK(walk(&LAYOUT).broken > count / 2);
}

/* A program at a low address: pointers into it are as small as counts. */
TEST(a_pointer_before_one_to_a_type_is_no_count)
{
    begin();
    uint64_t atom = make_type("float", 0, 24, 0);
    uint64_t object = make_object(atom, 0, 0, 0, 0);
    const uint64_t words[] = {TYPE_TYPE, atom, OBJECTS, atom, HUGE_BLOCK, HUGE_BLOCK + 16, object};
    CHECK_EQUAL(pwrite(fd, words, sizeof words, HUGE_BLOCK), sizeof words);
    const heap_range range = {BASE, BASE + MEMORY_BYTES, 1, BASE + MEMORY_BYTES};
    volatile int32_t stop = 0;
    volatile uint64_t done = 0;
    heap_totals totals;
    heap *heap = heap_new(
        &LAYOUT,
        &(heap_options){.fd = fd, .type_type = TYPE_TYPE, .ranges = &range, .range_count = 1});
    uint64_t variables = HUGE_BLOCK + 4 * 8;
    CHECK_EQUAL(heap_scan(heap, variables, variables + 3 * 8, ONLOOKER_HELD_ROOTS, 0), ONLOOKER_OK);
    CHECK_EQUAL(heap_walk(heap, &stop, &done), ONLOOKER_OK);
    heap_get_totals(heap, &totals);
    CHECK_EQUAL(totals.objects, 1 + 2); /* the last one, with its types */
    heap_free(heap);
    close(fd);
}

TEST(types_of_types_may_go_round)
{
    begin();
    uint64_t first = make_type("first", HEAP_TYPE, 32, 0);
    uint64_t second = make_type("second", HEAP_TYPE, 32, 0);
    put(first + 256, second);
    put(second + 256, first);
    make_object(first, 0, 0, 0, 0);
    make_object(second, 0, 0, 0, 0);
    CHECK_EQUAL(walk(&LAYOUT).broken, 0);
}

TEST(an_attribute_may_be_said_to_lie_anywhere)
{
    static const uint64_t offsets[] = {UINT64_C(1) << 63, INT64_MAX, (UINT64_C(1) << 24) + 1,
                                       -(UINT64_C(1) << 24) - 1};
    for (size_t i = 0; i < sizeof offsets / sizeof *offsets; i++) {
        begin();
        uint64_t type = make_type("Varying", HEAP_TYPE, 32, UINT64_C(1) << 24);
        put(type + 288, offsets[i]);
        const heap_range range = {BASE, BASE + MEMORY_BYTES, 0, BASE + MEMORY_BYTES};
        heap *heap = heap_new(
            &LAYOUT,
            &(heap_options){.fd = fd, .type_type = TYPE_TYPE, .ranges = &range, .range_count = 1});
        uint64_t object = make_object(type, INT64_MAX, 0, 0, 0);
        CHECK_EQUAL(heap_add_root(heap, object, ONLOOKER_HELD_ROOTS, 0), ONLOOKER_FAULT);
        heap_free(heap);
        close(fd);
    }
}

TEST(arrays_of_numpy_may_have_any_strides)
{
    begin();
    uint64_t array = make_type("numpy.ndarray", 0, 80, 0);
    uint64_t object = make_object(array, HUGE_BLOCK, 1, HUGE_BLOCK, HUGE_BLOCK + 8);
    put(object + 56, HUGE_BLOCK);           /* what its items are: no objects */
    put(object + 64, 4);                    /* it owns its data */
    put(HUGE_BLOCK, 1);                     /* its only dimension */
    put(HUGE_BLOCK + 8, UINT64_C(1) << 63); /* and stride */
    uint64_t none = make_object(array, HUGE_BLOCK, 0, 0, 0);
    put(none + 56, HUGE_BLOCK);
    put(none + 64, 4);
    CHECK_EQUAL(walk(&LAYOUT).broken, 1);
}

TEST(layouts_that_make_no_sense_are_refused)
{
    const heap_range range = {BASE, BASE + MEMORY_BYTES, 0, BASE + MEMORY_BYTES};
    const heap_options options = {.type_type = TYPE_TYPE, .ranges = &range, .range_count = 1};
    heap_layout layout = LAYOUT;
    int32_t *offsets = (int32_t *)&layout;
    heap *heap = heap_new(&layout, &options);
    CHECK(heap);
    heap_free(heap);
    for (size_t i = 0; i < sizeof layout / sizeof *offsets; i++) {
        static const int32_t values[] = {INT32_MIN, -65, 1 << 21, INT32_MAX};
        for (size_t j = 0; j < sizeof values / sizeof *values; j++) {
            layout = LAYOUT;
            offsets[i] = values[j];
            CHECK(!heap_new(&layout, &options));
        }
    }
    const size_t small[] = {offsetof(heap_layout, dictentry_size), offsetof(heap_layout, pool_size),
                            offsetof(heap_layout, dictkeys_indices),
                            offsetof(heap_layout, setentry_size),
                            offsetof(heap_layout, dequeblock_items)};
    for (size_t i = 0; i < sizeof small / sizeof *small; i++) {
        layout = LAYOUT;
        offsets[small[i] / sizeof *offsets] = 0;
        CHECK(!heap_new(&layout, &options));
    }
}
