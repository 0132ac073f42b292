#include "check.h"

#include "owners.h"

#define NODES_LIMIT 64u
#define EDGES_LIMIT 256u

/* Allocations that succeed from now on, and the one at which *STOP is set. */
static uint32_t good_allocations = UINT32_MAX, stop_at = UINT32_MAX;
static volatile int32_t stop;

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);

static bool may_allocate(void)
{
    if (stop_at && !--stop_at)
        stop = 1;
    return good_allocations && good_allocations--;
}

void *__wrap_malloc(size_t size)
{
    return may_allocate() ? __real_malloc(size) : NULL;
}

void *__wrap_calloc(size_t count, size_t size)
{
    return may_allocate() ? __real_calloc(count, size) : NULL;
}

void *__wrap_realloc(void *old, size_t size)
{
    return may_allocate() ? __real_realloc(old, size) : NULL;
}

/* A graph in arrays of just its size, so that the sanitizer sees what lies beyond. */
typedef struct heap {
    graph graph;
    uint32_t *first_edge, *targets, *labels, *types, *bytes, *roots, *root_labels;
    uint8_t *root_tiers;
} heap;

static void *array_of(uint32_t count, size_t size)
{
    void *array = calloc(count ? count : 1, size);
    CHECK(array);
    return array;
}

static heap make_heap(uint32_t nodes, uint32_t edges, uint32_t roots)
{
    heap heap = {.first_edge = array_of(nodes + 1, sizeof *heap.first_edge),
                 .targets = array_of(edges, sizeof *heap.targets),
                 .labels = array_of(edges, sizeof *heap.labels),
                 .types = array_of(nodes, sizeof *heap.types),
                 .bytes = array_of(nodes, sizeof *heap.bytes),
                 .roots = array_of(roots, sizeof *heap.roots),
                 .root_labels = array_of(roots, sizeof *heap.root_labels),
                 .root_tiers = array_of(roots, sizeof *heap.root_tiers)};
    heap.graph = (graph){.nodes = nodes,
                         .edges = edges,
                         .root_count = roots,
                         .first_edge = heap.first_edge,
                         .targets = heap.targets,
                         .labels = heap.labels,
                         .types = heap.types,
                         .bytes = heap.bytes,
                         .roots = heap.roots,
                         .root_labels = heap.root_labels,
                         .root_tiers = heap.root_tiers};
    return heap;
}

static void free_heap(heap *heap)
{
    free(heap->first_edge);
    free(heap->targets);
    free(heap->labels);
    free(heap->types);
    free(heap->bytes);
    free(heap->roots);
    free(heap->root_labels);
    free(heap->root_tiers);
}

/* Each node has so many edges to anywhere; all have one size. */
static heap random_heap(uint32_t nodes, uint32_t degree, uint32_t roots, uint32_t borrowed)
{
    heap heap = make_heap(nodes, (nodes - 1) * degree, roots);
    for (uint32_t node = 1; node < nodes; node++) {
        heap.first_edge[node + 1] = node * degree;
        heap.types[node] = (uint32_t)check_random(3);
        heap.bytes[node] = 16;
    }
    for (uint32_t edge = 0; edge < heap.graph.edges; edge++) {
        heap.targets[edge] = (uint32_t)check_random(nodes - 1) + 1;
        heap.labels[edge] = (uint32_t)check_random(4);
        if (check_random(10) < borrowed)
            heap.labels[edge] |= ONLOOKER_EDGE_BORROWED;
    }
    for (uint32_t i = 0; i < roots; i++) {
        heap.roots[i] = (uint32_t)check_random(nodes - 1) + 1;
        heap.root_tiers[i] = (uint8_t)(i * 3 / roots);
    }
    return heap;
}

/* What the roots reach without node WITHOUT, 0 for all. */
static void reach(const graph *graph, uint32_t without, bool *reached)
{
    memset(reached, 0, NODES_LIMIT);
    for (uint32_t i = 0; i < graph->root_count; i++)
        reached[graph->roots[i]] = graph->roots[i] != without;
    for (bool more = true; more;) {
        more = false;
        for (uint32_t node = 1; node < graph->nodes; node++)
            for (uint32_t edge = graph->first_edge[node];
                 reached[node] && edge < graph->first_edge[node + 1]; edge++) {
                uint32_t target = graph->targets[edge];
                if (target != without && !reached[target])
                    more = reached[target] = true;
            }
    }
}

/* One tier, nothing borrowed: a node's owners are those without which it is not reached. */
TEST(owners_are_those_without_whom_nothing_is_reached)
{
    for (uint32_t round = 0; round < 400; round++) {
        uint32_t nodes = (uint32_t)check_random(NODES_LIMIT - 1) + 2;
        heap heap = random_heap(nodes, (uint32_t)check_random(4),
                                (uint32_t)check_random(nodes / 4 + 1) + 1, 0);
        memset(heap.root_tiers, 0, heap.graph.root_count);
        owners *owners;
        CHECK_EQUAL(owners_find(&heap.graph, NULL, &owners), ONLOOKER_OK);
        const uint32_t *owner_of = owners_owner_of(owners);
        const uint64_t *retained = owners_retained(owners);
        bool all[NODES_LIMIT], reached[NODES_LIMIT];
        reach(&heap.graph, 0, all);
        for (uint32_t without = 1; without < nodes; without++) {
            if (!all[without])
                continue;
            reach(&heap.graph, without, reached);
            uint64_t owned = 0;
            for (uint32_t node = 1; node < nodes; node++) {
                bool dominated = false;
                for (uint32_t owner = node; owner && !dominated; owner = owner_of[owner])
                    dominated = owner == without;
                CHECK_EQUAL(dominated, all[node] && !reached[node]);
                owned += all[node] && !reached[node] ? 16 : 0;
            }
            CHECK_EQUAL(retained[without], owned);
        }
        owners_free(owners);
        free_heap(&heap);
    }
}

static void check_totals(const heap *heap, owners *owners)
{
    uint64_t objects = 0, bytes = 0, of_types = 0;
    uint32_t count, nodes[3], found;
    const owner_path *paths = owners_paths(owners, &count);
    const uint32_t *path_of = owners_path_of(owners), *owner_of = owners_owner_of(owners);
    for (uint32_t path = 1; path < count; path++) {
        CHECK(paths[path].parent < path);
        CHECK_EQUAL(paths[path].depth, paths[paths[path].parent].depth + 1);
        objects += paths[path].objects;
        bytes += paths[path].bytes;
    }
    CHECK_EQUAL(objects, heap->graph.nodes - 1);
    CHECK_EQUAL(bytes, 16 * objects);
    CHECK_EQUAL(owners_retained(owners)[0], bytes);
    for (uint32_t node = 1; node < heap->graph.nodes; node++) {
        CHECK(path_of[node] && path_of[node] < count);
        CHECK(owner_of[node] < heap->graph.nodes && owner_of[node] != node);
    }
    uint64_t *of_path = array_of(count, sizeof *of_path), *sizes = array_of(count, sizeof *sizes);
    for (uint32_t type = 0; type < 3; type++) {
        owners_count_type(owners, type, of_path, sizes);
        for (uint32_t path = 0; path < count; path++)
            of_types += of_path[path];
        CHECK_EQUAL(owners_largest(owners, type, 3, nodes, &found), ONLOOKER_OK);
        for (uint32_t i = 0; i < found; i++)
            CHECK_EQUAL(heap->types[nodes[i]], type);
    }
    CHECK_EQUAL(of_types, objects);
    free(of_path);
    free(sizes);
}

TEST(every_object_is_counted_once)
{
    for (uint32_t round = 0; round < 300; round++) {
        uint32_t nodes = (uint32_t)check_random(3000) + 2;
        heap heap = random_heap(nodes, (uint32_t)check_random(4),
                                (uint32_t)check_random(nodes / 10 + 1), (uint32_t)check_random(9));
        owners *owners;
        CHECK_EQUAL(owners_find(&heap.graph, NULL, &owners), ONLOOKER_OK);
        check_totals(&heap, owners);
        owners_free(owners);
        free_heap(&heap);
    }
}

/* What a graph that is none makes of it, when any one of its numbers is any other. */
TEST(no_graph_is_trusted)
{
    for (uint32_t round = 0; round < 4000; round++) {
        heap heap = random_heap(20, 2, 4, 3);
        uint32_t value =
            check_random(2) ? (uint32_t)check_random(50) : (uint32_t)check_random(UINT32_MAX);
        switch (check_random(6)) {
        case 0:
            heap.first_edge[check_random(21)] = value;
            break;
        case 1:
            heap.targets[check_random(38)] = value;
            break;
        case 2:
            heap.labels[check_random(38)] = value;
            break;
        case 3:
            heap.bytes[check_random(20)] = value;
            break;
        case 4:
            heap.roots[check_random(4)] = value;
            break;
        default:
            heap.root_tiers[check_random(4)] = (uint8_t)value;
        }
        owners *owners;
        if (owners_find(&heap.graph, NULL, &owners) == ONLOOKER_OK) {
            CHECK(owners_retained(owners));
            owners_free(owners);
        }
        free_heap(&heap);
    }
}

TEST(memory_that_runs_out_anywhere_leaves_nothing)
{
    heap heap = random_heap(5000, 2, 20, 3);
    owners *owners = NULL;
    int result = ONLOOKER_NO_MEMORY;
    uint32_t allocations = 0;
    for (; result != ONLOOKER_OK; allocations++) {
        CHECK_EQUAL(result, ONLOOKER_NO_MEMORY);
        CHECK(!owners);
        good_allocations = allocations;
        result = owners_find(&heap.graph, NULL, &owners);
    }
    CHECK(allocations > 15);
    uint32_t found, node;
    good_allocations = 0;
    CHECK(!owners_retained(owners));
    CHECK_EQUAL(owners_largest(owners, 1, 1, &node, &found), ONLOOKER_NO_MEMORY);
    good_allocations = UINT32_MAX;
    check_totals(&heap, owners);
    owners_free(owners);
    free_heap(&heap);
}

/* The flag is set while it allocates for one of its phases, each of which comes to look at it. */
TEST(it_ends_early_in_every_phase)
{
    heap heap = random_heap(4 * STEPS_UNSTOPPED, 2, 20, 3);
    uint32_t interrupted = 0;
    for (uint32_t at = 1;; at++) {
        owners *owners = NULL;
        stop = 0;
        stop_at = at;
        int result = owners_find(&heap.graph, &stop, &owners);
        if (result == ONLOOKER_INTERRUPTED) {
            CHECK(stop && !owners);
            interrupted++;
            continue;
        }
        CHECK_EQUAL(result, ONLOOKER_OK);
        owners_free(owners);
        if (!stop)
            break;
    }
    /* All but the tables that grow once the last nodes are under way. */
    CHECK(interrupted > 14);
    free_heap(&heap);
}

/* A list of a million, whose nodes refer to each other both ways and to one they share. */
TEST(depth_is_no_recursion)
{
    enum { NODES = 1000001 };
    heap heap = make_heap(NODES, 3 * (NODES - 1), 1);
    heap.roots[0] = 1;
    for (uint32_t node = 1; node < NODES; node++) {
        heap.first_edge[node + 1] = 3 * node;
        heap.targets[3 * node - 3] = node > 1 ? node - 1 : 1;
        heap.targets[3 * node - 2] = node < NODES - 2 ? node + 1 : 1;
        heap.targets[3 * node - 1] = NODES - 1;
        heap.bytes[node] = 16;
    }
    heap.targets[3 * (NODES - 1) - 3] = NODES - 1;
    heap.targets[3 * (NODES - 1) - 2] = NODES - 1;
    owners *owners;
    CHECK_EQUAL(owners_find(&heap.graph, NULL, &owners), ONLOOKER_OK);
    uint32_t count;
    owners_paths(owners, &count);
    CHECK_EQUAL(count, 2);
    for (uint32_t node = 1; node < NODES - 1; node++) {
        CHECK_EQUAL(owners_owner_of(owners)[node], node - 1);
        CHECK_EQUAL(owners_retained(owners)[node], 16 * (node == 1 ? NODES - 1 : NODES - 1 - node));
    }
    CHECK_EQUAL(owners_owner_of(owners)[NODES - 1], 1);
    owners_free(owners);
    free_heap(&heap);
}
