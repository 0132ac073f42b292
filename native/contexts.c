#include "contexts.h"

#include <stdlib.h>

#include "inspect.h"
#include "map.h"

/* Bounds of what is kept: a label may have another value in each request. With the labels that are
 * made of it, an agent stays below 64 MiB. */
#define VALUES_LIMIT (1u << 16)
#define BYTES_LIMIT (1u << 22)
#define SETS_LIMIT (1u << 15)

/* No field of these structures is further away. */
#define OFFSET_LIMIT 4096

/* Readings until a context that moves is given up. */
#define READINGS 8u

struct contexts {
    context_layout layout;
    context_variable *variables;
    uint32_t variable_count, labels;
    uint32_t spans; /* a bit for each label that is a span's trace id */
    map types;      /* of inspect.h */
    context_value *values;
    uint32_t value_count, value_capacity;
    unsigned char *bytes;
    uint32_t size, capacity;
    uint32_t *sets;
    uint32_t set_count, set_words_capacity;
    map by_value, by_set; /* hashes -> indexes */
    uint64_t overflow;
};

static bool layout_check(const context_layout *layout)
{
    const int32_t *offsets = (const int32_t *)layout;
    for (size_t i = 0; i < sizeof *layout / sizeof *offsets; i++)
        if (offsets[i] < -OFFSET_LIMIT || offsets[i] > OFFSET_LIMIT)
            return false;
    return layout->long_tag_shift >= 0 && layout->long_tag_shift < 32 &&
           layout->dictkeys_indices >= 0 && layout->dictkeys_indices <= DICT_KEYS_LIMIT;
}

contexts *contexts_open(const context_layout *layout)
{
    contexts *new = calloc(1, sizeof *new);
    if (!new)
        return NULL;
    new->layout = *layout;
    new->values = calloc(1, sizeof *new->values); /* that is unset */
    new->value_count = new->value_capacity = 1;
    if (!new->values || !layout_check(layout)) {
        contexts_close(new);
        return NULL;
    }
    return new;
}

int contexts_watch(contexts *contexts, const context_variable *variables, uint32_t count,
                   uint32_t labels)
{
    if (!labels || labels > ONLOOKER_LABELS_LIMIT || count > ONLOOKER_VARIABLES_LIMIT ||
        (contexts->labels && labels != contexts->labels))
        return 0;
    for (uint32_t i = 0; i < count; i++)
        if (variables[i].label + !!variables[i].is_span >= labels)
            return 0;
    context_variable *copy = calloc(count + 1, sizeof *copy);
    if (copy && !contexts->sets) {
        contexts->sets = calloc(labels, sizeof *contexts->sets); /* CONTEXTS_NO_VALUES */
        contexts->set_words_capacity = labels;
        contexts->set_count = 1;
    }
    if (!copy || !contexts->sets) {
        free(copy);
        return 0;
    }
    memcpy(copy, variables, count * sizeof *copy);
    free(contexts->variables);
    contexts->variables = copy;
    contexts->variable_count = count;
    contexts->labels = labels;
    contexts->spans = 0;
    for (uint32_t i = 0; i < count; i++)
        contexts->spans |= (uint32_t)!!variables[i].is_span << variables[i].label;
    return 1;
}

bool contexts_asked(const contexts *contexts)
{
    return contexts && contexts->variable_count;
}

/* --- what is kept --- */

static bool keep_bytes(contexts *contexts, const unsigned char *bytes, uint32_t size)
{
    while (contexts->capacity - contexts->size < size)
        if (!array_reserve((void **)&contexts->bytes, &contexts->capacity, contexts->capacity, 1,
                           BYTES_LIMIT))
            return false;
    if (size)
        memcpy(contexts->bytes + contexts->size, bytes, size);
    contexts->size += size;
    return true;
}

/* The index of a value; UINT32_MAX: there is no room for it. */
static uint32_t intern_value(contexts *contexts, const draft *draft)
{
    uint64_t hash = hash_bytes(draft->kind + 1 + 16 * draft->cut, draft->bytes, draft->size);
    uint32_t index = map_get(&contexts->by_value, hash);
    if (index != MAP_ABSENT)
        return index;
    index = contexts->value_count;
    context_value value = {contexts->size, draft->size, draft->kind, draft->cut};
    if (!array_reserve((void **)&contexts->values, &contexts->value_capacity, index,
                       sizeof *contexts->values, VALUES_LIMIT) ||
        !keep_bytes(contexts, draft->bytes, draft->size) ||
        !map_set(&contexts->by_value, hash, index))
        return UINT32_MAX;
    contexts->values[contexts->value_count++] = value;
    return index;
}

static uint32_t intern_set(contexts *contexts, const uint32_t *values)
{
    uint32_t labels = contexts->labels, words = contexts->set_count * labels;
    uint64_t hash = hash_bytes(0, (const unsigned char *)values, labels * sizeof *values);
    uint32_t index = map_get(&contexts->by_set, hash);
    if (index != MAP_ABSENT)
        return index;
    if (contexts->set_count >= SETS_LIMIT)
        return UINT32_MAX;
    while (contexts->set_words_capacity - words < labels)
        if (!array_reserve((void **)&contexts->sets, &contexts->set_words_capacity,
                           contexts->set_words_capacity, sizeof *values, SETS_LIMIT * labels))
            return UINT32_MAX;
    if (!map_set(&contexts->by_set, hash, contexts->set_count))
        return UINT32_MAX;
    memcpy(contexts->sets + words, values, labels * sizeof *values);
    return contexts->set_count++;
}

static uint32_t intern(contexts *contexts, const draft *found)
{
    uint32_t values[ONLOOKER_LABELS_LIMIT], any = 0;
    for (uint32_t i = 0; i < contexts->labels; i++) {
        values[i] = found[i].kind ? intern_value(contexts, &found[i]) : 0;
        any |= values[i];
    }
    uint32_t set = CONTEXTS_NO_VALUES;
    if (any)
        set = any == UINT32_MAX ? UINT32_MAX : intern_set(contexts, values);
    if (set == UINT32_MAX) {
        contexts->overflow++;
        return CONTEXTS_NO_VALUES;
    }
    return set;
}

/* --- one reading --- */

/* Whether a ContextVar is still what it was; its default, or 0. */
static bool read_default(contexts *contexts, inspection *inspection,
                         const context_variable *variable, bool *alive, uint64_t *value)
{
    const context_layout *layout = &contexts->layout;
    uint64_t hash;
    if (!inspect(inspection, variable->address + (uint32_t)layout->contextvar_hash, sizeof hash,
                 &hash) ||
        !inspect(inspection, variable->address + (uint32_t)layout->contextvar_default,
                 sizeof *value, value))
        return false;
    *alive = hash == variable->hash; /* made of its name and its address */
    return true;
}

/* What gives a label its value: of variables of one name the first that is set, or has a default.
 */
static bool find_objects(contexts *contexts, inspection *inspection, uint64_t slot,
                         uint64_t *objects)
{
    const context_layout *layout = &contexts->layout;
    uint64_t context, tree = 0, value;
    bool set[ONLOOKER_LABELS_LIMIT] = {false};
    if (!inspect(inspection, slot, sizeof context, &context) ||
        (context &&
         !inspect(inspection, context + (uint32_t)layout->context_vars, sizeof tree, &tree)))
        return false;
    for (uint32_t i = 0; i < contexts->variable_count; i++) {
        const context_variable *variable = &contexts->variables[i];
        uint32_t label = variable->label;
        bool alive;
        if (set[label])
            continue;
        if (!read_default(contexts, inspection, variable, &alive, &value))
            return false;
        if (!alive)
            continue;
        if (!objects[label])
            objects[label] = value;
        if (tree && !inspect_tree(inspection, tree, variable->address, variable->hash, &value))
            return false;
        if (tree && value) {
            objects[label] = value;
            set[label] = true;
        }
    }
    return true;
}

static bool find_values(contexts *contexts, inspection *inspection, uint64_t slot, draft *found)
{
    uint64_t objects[ONLOOKER_LABELS_LIMIT] = {0};
    if (!find_objects(contexts, inspection, slot, objects))
        return false;
    for (uint32_t i = 0; i < contexts->labels; i++)
        found[i].kind = ONLOOKER_VALUE_UNSET;
    for (uint32_t i = 0; i < contexts->labels; i++) {
        if (!objects[i])
            continue;
        bool is_span = contexts->spans >> i & 1;
        if (is_span ? !inspect_span(inspection, objects[i], &found[i], &found[i + 1])
                    : !inspect_value(inspection, objects[i], &found[i]))
            return false;
        i += is_span; /* which has given the next label its value, too */
    }
    return true;
}

enum contexts_answer contexts_find(contexts *contexts, memory *source, uint64_t slot,
                                   context_view *view, const unsigned char *first,
                                   const unsigned char *second, bool still, uint32_t *set)
{
    draft found[ONLOOKER_LABELS_LIMIT];
    inspection inspection = {.layout = &contexts->layout,
                             .source = source,
                             .view = view,
                             .first = first,
                             .second = still ? first : second,
                             .types = &contexts->types};
    ranges_clear(&view->needed);
    bool held = find_values(contexts, &inspection, slot, found);
    ranges needed = view->needed;
    view->needed = view->pieces;
    view->pieces = needed;
    if (!held) {
        ranges_clear(&view->pieces);
        return CONTEXTS_TORN;
    }
    ranges_place(&view->pieces);
    if (inspection.missing && !still)
        return CONTEXTS_UNREAD;
    *set = intern(contexts, found);
    return CONTEXTS_KNOWN;
}

/* Reads both copies of the view's pieces into *COPIES. */
static int read_copies(memory *source, const context_view *view, unsigned char **copies)
{
    uint32_t count = view->pieces.count, bytes = view->pieces.bytes;
    unsigned char *grown = realloc(*copies, 2 * bytes + 1);
    struct iovec *vectors = calloc(4 * count + 1, sizeof *vectors);
    int result = ONLOOKER_NO_MEMORY;
    if (grown)
        *copies = grown;
    if (grown && vectors) {
        struct iovec *local = vectors, *remote = vectors + 2 * count;
        ranges_vector(&view->pieces, 0, count, grown, local, remote);
        ranges_vector(&view->pieces, 0, count, grown + bytes, local + count, remote + count);
        result = memory_readv(source, local, remote, 2 * count);
    }
    free(vectors);
    return result;
}

int contexts_read(contexts *contexts, memory *source, uint64_t slot, uint32_t *set)
{
    context_view view = {0};
    unsigned char *copies = NULL;
    int result = ONLOOKER_FAULT;
    for (uint32_t i = 0; i < READINGS; i++) {
        result = read_copies(source, &view, &copies);
        if (result == ONLOOKER_FAULT) {
            ranges_clear(&view.pieces);
            continue;
        }
        if (result != ONLOOKER_OK ||
            contexts_find(contexts, source, slot, &view, copies, copies + view.pieces.bytes, false,
                          set) == CONTEXTS_KNOWN)
            break;
        result = ONLOOKER_FAULT;
    }
    free(copies);
    context_view_free(&view);
    return result;
}

const context_value *contexts_values(const contexts *contexts, uint32_t *count)
{
    *count = contexts->value_count;
    return contexts->values;
}

const unsigned char *contexts_bytes(const contexts *contexts, uint32_t *size)
{
    *size = contexts->size;
    return contexts->bytes;
}

const uint32_t *contexts_sets(const contexts *contexts, uint32_t *count)
{
    *count = contexts->set_count;
    return contexts->sets;
}

uint64_t contexts_overflow(const contexts *contexts)
{
    return contexts->overflow;
}

void context_view_free(context_view *view)
{
    ranges_free(&view->pieces);
    ranges_free(&view->needed);
}

void contexts_close(contexts *contexts)
{
    if (!contexts)
        return;
    map_free(&contexts->types);
    map_free(&contexts->by_value);
    map_free(&contexts->by_set);
    free(contexts->variables);
    free(contexts->values);
    free(contexts->bytes);
    free(contexts->sets);
    free(contexts);
}
