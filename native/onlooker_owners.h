/* onlooker_owners.h: who owns the memory. Part of the boundary, as onlooker.h is, with the same
 * rules; it comes after onlooker.h, whose results it uses.
 *
 * A heap is a graph: its objects refer to each other, and node 0, the virtual root, refers to what
 * is held from outside. An object's owner is its dominator: the nearest node without which it would
 * not be reached. What one owner alone keeps alive is its retained size, and the chain of owners
 * from the root to an object, folded where it repeats itself, is the object's path. */

/* The graph's indexes lead out of it, or its order is not as declared. */
#define ONLOOKER_BAD_GRAPH 32

/* In `labels`: the edge is a borrower's. Who imports a function or is an instance of a class refers
 * to it, but its home module owns it. Such an edge counts only if its target is no root and no edge
 * but borrowers' leads to it (one from itself to itself is none), or if its target is reached in no
 * other way. */
#define ONLOOKER_EDGE_BORROWED 0x80000000
/* An edge to what is a part of its owner, such as its __dict__: such steps are not folded. */
#define ONLOOKER_LABEL_PART 0x7ffffffc
/* Labels of steps that are no edge; those of edges are below. What no root reaches is garbage, or
 * held by C code. */
#define ONLOOKER_LABEL_ROOT 0x7ffffffd        /* of the empty path */
#define ONLOOKER_LABEL_UNREACHABLE 0x7ffffffe /* no root reaches it */
#define ONLOOKER_LABEL_SHARED 0x7fffffff      /* no edge: several things of the owner hold it */

/* In `bytes`: the other bits are an index for `large_bytes`. */
#define ONLOOKER_BYTES_LARGE 0x80000000

/* Tiers of roots are below. */
#define ONLOOKER_TIERS 6

/* Steps of a path; and paths. What has no room is counted for its owner's path. */
#define ONLOOKER_PATH_DEPTH 200
#define ONLOOKER_PATHS 1048576
/* A step that one of so many before it equals is that one, but for parts: a linked list is one
 * path. */
#define ONLOOKER_PATH_LOOKBACK 64

/* Nodes 1 to `nodes` - 1, which is below 2^31, are objects. The arrays are the caller's, who
 * changes and frees none of them before owners_free. */
typedef struct graph {
    uint32_t nodes;
    uint32_t edges;
    uint32_t root_count;
    uint32_t large_count;
    const uint32_t *first_edge; /* [nodes + 1]: node n's edges are first_edge[n] up to, but without,
                                   first_edge[n + 1]; node 0 has none */
    const uint32_t *targets;    /* [edges]: the node that it leads to */
    const uint32_t *labels;     /* [edges]: how its owner holds that: an opaque id */
    const uint32_t *types;      /* [nodes]: the object's type: an opaque id */
    const uint32_t *bytes;      /* [nodes]: the object's own size */
    const uint64_t *large_bytes; /* [large_count]: of objects that 31 bits are too few for */
    const uint32_t *roots;       /* [root_count]: nodes that the virtual root holds */
    const uint32_t *root_labels; /* [root_count] */
    const uint8_t *root_tiers;   /* [root_count]: ascending. What the roots of one tier reach is
                                    theirs, and later tiers own nothing of it */
} graph;

/* A chain of owners: `parent`'s, and one more that is held by `label` and is a `type`. Path 0 is
 * the virtual root's; parents come before their children. */
typedef struct owner_path {
    uint32_t parent;
    uint32_t label;
    uint32_t type;
    uint32_t depth;   /* steps */
    uint64_t objects; /* whose path is just this */
    uint64_t bytes;   /* their own sizes */
} owner_path;

typedef struct owners_counters {
    uint32_t unreachable; /* objects that no root reaches */
    uint32_t cut;         /* objects counted for their owner's path, since theirs has no room */
} owners_counters;

typedef struct owners owners;

/* Finds the owners of all objects of GRAPH, whose struct is copied. *STOP ends it early when it
 * becomes other than 0; STOP may be NULL. Returns ONLOOKER_OK with *OUT set, ONLOOKER_BAD_GRAPH,
 * ONLOOKER_NO_MEMORY or ONLOOKER_INTERRUPTED.
 *
 * Beside the graph it takes 4 bytes for each node, 20 for each that is no leaf, 4 for each edge
 * that is neither the first way to its target nor leads from a node to what hangs below it in the
 * search tree, and a bit for each edge. A leaf owns nothing and is owned by one edge, as most
 * objects are. In the end 12 bytes stay for each node, and some 100 for each path. Its time is that
 * of some walks over the graph, O(edges * log(nodes)) at worst.
 *
 * Objects that no root reaches hang at the virtual root: of each cycle, or lone object, that no
 * other of them refers to, the object of the lowest index does. */
int owners_find(const graph *graph, const volatile int32_t *stop, owners **out);

owners_counters owners_counted(const owners *owners);

/* All paths; *COUNT is their number. */
const owner_path *owners_paths(const owners *owners, uint32_t *count);

/* For each node its path, and its owner; 0 for node 0. */
const uint32_t *owners_path_of(const owners *owners);
const uint32_t *owners_owner_of(const owners *owners);

/* For each node the bytes that it owns, itself included. The first call takes 8 bytes a node. NULL
 * when memory runs out. */
const uint64_t *owners_retained(owners *owners);

/* Sets OBJECTS[path] and BYTES[path] to the number and own bytes of the objects of TYPE with that
 * path, for each path. */
void owners_count_type(const owners *owners, uint32_t type, uint64_t *objects, uint64_t *bytes);

/* Sets NODES to the objects of TYPE with the most retained bytes, the largest first, at most MOST,
 * and *COUNT to their number. Of equals the lower index comes first. ONLOOKER_NO_MEMORY as
 * owners_retained. */
int owners_largest(owners *owners, uint32_t type, uint32_t most, uint32_t *nodes, uint32_t *count);

/* Frees OWNERS, which may be NULL. */
void owners_free(owners *owners);
