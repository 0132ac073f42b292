/* onlooker_heap.h: the boundary between the native heap walker and Python, as onlooker.h is that of
 * the recorder: declarations, comments and integer #defines, for the compiler and cffi alike.
 *
 * The walker reads the memory of a process that stands still, or of a copy of it, through a file
 * such as /proc/PID/mem. It finds every object that the collector's lists or a given root lead to,
 * and tells how many there are of each type and what blocks of memory they hold. If asked for the
 * graph it also tells which object refers to which, and how. It names nothing.
 *
 * Addresses are the target's, sizes bytes. Nothing here needs the GIL. Results are those of
 * onlooker.h. */

/* How one object refers to another: a label of onlooker_owners.h's graph, whose types are indexes
 * of heap_get_types. From ONLOOKER_HELD_NAMES on a label is a name (an attribute's, a global
 * variable's), as heap_name tells them. */
#define ONLOOKER_HELD_FIELD 0   /* in a field that has no name */
#define ONLOOKER_HELD_ITEM 1    /* an item of a list, tuple, set or such */
#define ONLOOKER_HELD_KEY 2     /* a dict's key */
#define ONLOOKER_HELD_VALUE 3   /* a dict's value */
#define ONLOOKER_HELD_LOCAL 4   /* a variable of a suspended or materialised frame */
#define ONLOOKER_HELD_TYPE 5    /* what belongs to a type: its bases, its names */
#define ONLOOKER_HELD_GLOBALS 6 /* the globals of a function */
#define ONLOOKER_HELD_NAMES 16
#define ONLOOKER_HELD_ROOTS 0x20000000 /* from here on labels are the caller's, for roots */
#define ONLOOKER_HELD_AT 0x40000000    /* and below it the field's place in the object */

/* Offsets and facts by the layout's names, as in onlooker.h. */
typedef struct heap_layout {
    int32_t object_type, object_refcount_bytes;
    int32_t type_name, type_basicsize, type_itemsize, type_flags, type_dictoffset;
    int32_t type_weaklistoffset, type_base, type_bases, type_dict, type_mro, type_cache;
    int32_t type_subclasses, type_members, type_ht_name, type_ht_slots, type_ht_qualname;
    int32_t type_ht_module, type_cached_keys, type_inline_values_flag, type_doc, type_ht_tpname;
    int32_t instance_managed_dict, instance_managed_values;
    int32_t gc_head_size, preheader_flags, pool_size;
    int32_t dict_keys, dict_values, dictkeys_nentries, dictkeys_indices, dictkeys_size;
    int32_t dictkeys_log2_size, dictkeys_log2_index_bytes, dictkeys_kind, dictkeys_split_kind;
    int32_t dictentry_size, dictentry_key, dictentry_value;
    int32_t dictunicodeentry_size, dictunicodeentry_key, dictunicodeentry_value;
    int32_t dictvalues_values, dictvalues_valid, dictvalues_capacity;
    int32_t odict_first, odict_fast_nodes, odict_fast_nodes_size, odictnode_next, odictnode_size;
    int32_t list_size, list_item, list_allocated, tuple_size, tuple_item;
    int32_t set_mask, set_table, set_smalltable, setentry_size, setentry_key;
    int32_t long_tag, long_tag_shift, long_digit;
    int32_t bytes_size, bytes_data, bytearray_alloc, bytearray_bytes, bytearray_object;
    int32_t unicode_length, unicode_state, unicode_ascii_data, unicode_compact_data, unicode_data;
    int32_t unicode_wstr, unicode_wstr_length, unicode_utf8, unicode_utf8_length;
    int32_t weakref_callback, function_globals;
    int32_t module_dict, module_def, module_md_state, module_state_size, moduledef_size;
    int32_t deque_leftblock, deque_leftindex;
    int32_t dequeblock_data, dequeblock_rightlink, dequeblock_items, dequeblock_size;
    int32_t array_item, array_allocated, array_descr, arraydescr_itemsize;
    int32_t frameobject_gen, frameobject_localsplus, frameobject_iframe, frameobject_data;
    int32_t frame_valuestack, frame_stackpointer, frame_stackdepth, frame_localsplus;
    int32_t frame_executable, frame_executable_tag, iframe_globals, iframe_builtins;
    int32_t code_localsplusnames, code_varnames, code_cellvars, code_freevars, code_code;
    int32_t code_extra, code_cached, cocached_size, code_cell2arg, code_zombieframe;
    int32_t code_opcache_map, code_opcache, code_opcache_size, opcache_size;
    int32_t generator_iframe, generator_frame_state, generator_cleared;
} heap_layout;

/* A part of the target's address space that may hold objects: mapped, readable, page-aligned. */
typedef struct heap_range {
    uint64_t start, end;
    int32_t image;  /* of a program or library: what lies there was not allocated */
    uint64_t limit; /* of what is mapped without a hole, of which there may be no memory yet */
} heap_range;

typedef struct heap_options {
    int32_t fd;               /* such as /proc/PID/mem; stays the caller's */
    int32_t graph;            /* keep who refers to whom */
    int32_t paired;           /* let two threads walk: only what stands still */
    uint64_t type_type;       /* address of PyType_Type */
    uint64_t cache_bytes;     /* of memory that is kept at a time */
    const heap_range *ranges; /* ascending, apart from one another */
    uint32_t range_count;
} heap_options;

/* What was found of a type. */
typedef struct heap_type {
    uint64_t address;
    uint64_t objects, bytes;           /* those that Python's own references lead to */
    uint64_t held_objects, held_bytes; /* found only by heap_scan: held by native code */
} heap_type;

/* Where the bytes are that were counted, and what could not be counted. */
typedef struct heap_totals {
    uint64_t objects, bytes;
    uint64_t pymalloc_blocks, pymalloc_bytes; /* in blocks of pymalloc's */
    uint64_t malloc_bytes;                    /* in larger blocks */
    uint64_t unsized_bytes;                   /* in blocks that do not say how large they are */
    uint64_t broken; /* objects that contradict themselves or claim more than there is: memory that
                      * moved, or a bug */
    uint64_t read_bytes; /* of the target's memory */
} heap_totals;

/* What pymalloc has from the system, and how much of it is in use by whomever. */
typedef struct heap_pools {
    uint64_t pools, bytes; /* of all, and of their pages, but for those that nothing is in yet */
    uint64_t used_blocks, used_bytes; /* blocks that were handed out */
} heap_pools;

typedef struct heap heap;

/* NULL: no memory, or a layout or ranges that are not as they should be. */
heap *heap_new(const heap_layout *layout, const heap_options *options);
void heap_free(heap *heap);

/* Lets heap_walk visit the objects of one of the collector's lists, by the address of its head; it
 * returns ONLOOKER_FAULT if that is no proper list. */
int heap_add_list(heap *heap, uint64_t head);

/* Finds the object at this address, if there is one, and makes it a root of the graph, held by
 * LABEL. Roots come in the order of their tiers. ONLOOKER_FAULT: there is none. */
int heap_add_root(heap *heap, uint64_t address, uint32_t label, uint8_t tier);

/* The same for a module, whose dict's items go by their names and belong to it. */
int heap_add_module(heap *heap, uint64_t module, uint32_t label, uint8_t tier);

/* Follows all references of what was found until there is nothing new. *STOP (another thread may
 * set it) ends it with ONLOOKER_INTERRUPTED; *DONE counts objects meanwhile. */
int heap_walk(heap *heap, const volatile int32_t *stop, volatile uint64_t *done);

/* Makes roots of the objects that words in this part of the memory point to, such as static
 * variables of native code. Those that are new count as held from now on, and so does what
 * heap_walk finds from them. */
int heap_scan(heap *heap, uint64_t start, uint64_t end, uint32_t label, uint8_t tier);

void heap_get_totals(const heap *heap, heap_totals *totals);
/* Looks through the parts of memory in which there were objects of pymalloc's. */
void heap_get_pools(heap *heap, heap_pools *out);

/* A block of memory of an object's. */
typedef struct heap_block {
    uint64_t address, bytes;
} heap_block;

/* Those that malloc has made a mapping for. */
const heap_block *heap_mapped_blocks(const heap *heap, uint64_t *count);

/* What glibc's malloc has in a mapping, in bytes: blocks that were handed out to whomever, each
 * with the word before it, and what is free. */
typedef struct heap_arena {
    uint64_t used, free;
} heap_arena;

/* Looks through the mapping [heap], or one that malloc has made for blocks of other threads; zeros
 * if it is none. */
heap_arena heap_get_arena(heap *heap, uint64_t start, uint64_t end);

uint32_t heap_type_count(const heap *heap);
void heap_get_types(const heap *heap, heap_type *out);

/* Makes the graph of what was walked: once, at the end. The arrays are the heap's.
 * ONLOOKER_NO_MEMORY too if there are 2^32 references or more. */
int heap_make_graph(heap *heap, graph *out);

/* After heap_make_graph: the node at an address, 0 for none; and the other way round. */
uint32_t heap_node_at(heap *heap, uint64_t address);
uint64_t heap_address_of(heap *heap, uint32_t node);

/* Frees what only these two need. There are no addresses from then on: no node, and 0. */
void heap_forget_addresses(heap *heap);

/* After heap_make_graph: how many references lead to a node; of the first MOST of them, from which
 * nodes and by which labels. */
uint64_t heap_referrers(const heap *heap, uint32_t node, uint32_t *nodes, uint32_t *labels,
                        uint32_t most);

/* Frees the graph's edges and first edges, which owners have no need of once they are found. */
void heap_forget_references(heap *heap);

/* The names that labels are: so many bytes, KIND (1, 2 or 4) of them a character, as CPython stores
 * them. */
uint32_t heap_name_count(const heap *heap);
const unsigned char *heap_name(const heap *heap, uint32_t name, uint32_t *bytes, uint32_t *kind);
