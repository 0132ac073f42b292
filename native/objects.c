#include "objects.h"

#include <stdlib.h>

#define OFFSET_LEAST (-64)
#define OFFSET_MOST (1 << 13)
#define TYPE_BYTES 1024u /* as far as we read one */
#define KEYS_HEAD_BYTES 64
#define ENTRY_BYTES 64
#define TYPES_LIMIT (1u << 14)
#define TEXTS_LIMIT (UINT64_C(1) << 28) /* bytes */
#define TEXTS_KNOWN_LIMIT (1u << 19)
#define STRING_LIMIT 4096u /* characters; the rest is cut off */
#define ITEMS_LIMIT (1u << 20)
#define BASES_LIMIT 16u
#define DIGITS_LIMIT 4u

#define MANAGED_DICT (UINT64_C(1) << 4) /* of tp_flags, 3.11 and later */
#define STATE_READY(state) ((state) >> 7 & 1)

static const struct {
    const char *name;
    enum role role;
} ROLES[] = {
    {"NoneType", ROLE_NONE},
    {"int", ROLE_INT},
    {"coroutine", ROLE_COROUTINE},
    {"generator", ROLE_COROUTINE},
    {"async_generator", ROLE_COROUTINE},
    /* Each has what it passes values to right behind its head. FutureIter ends a chain: what is
     * behind it is the future. */
    {"coroutine_wrapper", ROLE_AWAIT_WRAPPER},
    {"async_generator_asend", ROLE_AWAIT_WRAPPER},
    {"async_generator_athrow", ROLE_AWAIT_WRAPPER},
    {"anext_awaitable", ROLE_AWAIT_WRAPPER},
    {"code", ROLE_CODE},
    {"weakref", ROLE_WEAKREF}, /* weakref.ReferenceType as well */
    {"ReferenceType", ROLE_WEAKREF},
    {"set", ROLE_SET},
    {"frozenset", ROLE_SET},
    {"method", ROLE_METHOD},
    {"builtin_function_or_method", ROLE_CFUNCTION},
    {"function", ROLE_FUNCTION},
    {"cell", ROLE_CELL},
    {"partial", ROLE_PARTIAL},
    {"TaskWakeupMethWrapper", ROLE_WAKEUP},
    {"Queue", ROLE_QUEUE},
    {"deque", ROLE_DEQUE},
};

/* Whether SIZE bytes at an offset are in what has LENGTH bytes. */
static bool is_within(int32_t offset, int32_t size, int32_t length)
{
    return offset >= 0 && offset + size <= length;
}

static bool is_entry(int32_t size, int32_t key, int32_t value)
{
    return size > 0 && size <= ENTRY_BYTES && is_within(key, 8, size) && is_within(value, 8, size);
}

/* What is copied as a whole must have room. */
static bool is_sound(const asyncio_layout *layout)
{
    const int32_t *offsets = (const int32_t *)layout, header = layout->dictkeys_indices;
    const int32_t in_type[] = {layout->type_name, layout->type_basicsize, layout->type_itemsize,
                               layout->type_flags, layout->type_base};
    for (size_t i = 0; i < sizeof *layout / sizeof *offsets; i++)
        if (offsets[i] < OFFSET_LEAST || offsets[i] > OFFSET_MOST)
            return false;
    for (size_t i = 0; i < sizeof in_type / sizeof *in_type; i++)
        if (!is_within(in_type[i], 8, layout->type_dictoffset + 8))
            return false;
    if (!is_within(layout->type_dictoffset, 8, TYPE_BYTES) ||
        !is_within(layout->dictkeys_nentries, 8, header) || header > KEYS_HEAD_BYTES ||
        !is_entry(layout->dictentry_size, layout->dictentry_key, layout->dictentry_value))
        return false;
    if (layout->dictkeys_log2_size == ONLOOKER_NONE)
        return is_within(layout->dictkeys_size, 8, header);
    return is_within(layout->dictkeys_log2_size, 1, header) &&
           is_within(layout->dictkeys_log2_index_bytes, 1, header) &&
           is_within(layout->dictkeys_kind, 1, header) &&
           is_entry(layout->dictunicodeentry_size, layout->dictunicodeentry_key,
                    layout->dictunicodeentry_value);
}

bool objects_init(objects *objects, memory *source, const asyncio_layout *layout)
{
    *objects = (struct objects){.moment = {.source = source}, .layout = *layout};
    objects->type_head_bytes = (uint32_t)layout->type_dictoffset + 8;
    return is_sound(layout) && layout->object_type >= 0 && layout->setentry_size == 16 &&
           (layout->setentry_key == 0 || layout->setentry_key == 8) &&
           layout->long_tag_shift >= 0 && layout->long_tag_shift < 64 &&
           layout->long_digit_bits > 0 && layout->long_digit_bits <= 32;
}

void objects_free(objects *objects)
{
    moment_free(&objects->moment);
    free(objects->types);
    map_free(&objects->by_type);
    free(objects->texts_known);
    map_free(&objects->by_text);
    free(objects->texts);
}

/* Appends it to the texts, which nothing knows of yet. */
static bool append(objects *objects, const unsigned char *bytes, uint64_t size)
{
    uint64_t needed = objects->text_bytes + size;
    if (needed > TEXTS_LIMIT)
        return false;
    if (needed >= objects->text_capacity) {
        unsigned char *grown = realloc(objects->texts, 2 * needed + 1);
        if (!grown) {
            objects->moment.result = ONLOOKER_NO_MEMORY;
            return false;
        }
        objects->texts = grown;
        objects->text_capacity = 2 * needed + 1;
    }
    memcpy(objects->texts + objects->text_bytes, bytes, size);
    objects->text_bytes = needed;
    return true;
}

bool objects_add_text(objects *objects, const unsigned char *bytes, uint64_t size, uint32_t kind,
                      asyncio_text *out)
{
    uint64_t hash = hash_bytes(kind, bytes, size);
    uint32_t index = map_get(&objects->by_text, hash);
    if (index != MAP_ABSENT) {
        *out = objects->texts_known[index];
        if (out->kind == kind && out->bytes == size &&
            !memcmp(objects->texts + out->at, bytes, size))
            return true;
    }
    *out = (asyncio_text){objects->text_bytes, (uint32_t)size, kind};
    if (!append(objects, bytes, size))
        return false;
    if (!array_reserve((void **)&objects->texts_known, &objects->texts_known_capacity,
                       objects->text_count, sizeof *objects->texts_known, TEXTS_KNOWN_LIMIT) ||
        !map_set(&objects->by_text, hash, objects->text_count))
        return true; /* it may be there twice */
    objects->texts_known[objects->text_count++] = *out;
    return true;
}

/* A C string; NAME has TYPE_NAME_LIMIT bytes and one more. */
static bool read_c_string(objects *objects, uint64_t address, char *name)
{
    uint32_t have = 0;
    while (have < TYPE_NAME_LIMIT) {
        uint32_t step = 64 - (address + have) % 64; /* never beyond what is mapped */
        if (step > TYPE_NAME_LIMIT - have)
            step = TYPE_NAME_LIMIT - have;
        if (!moment_read(&objects->moment, address + have, name + have, step))
            return false;
        if (memchr(name + have, 0, step))
            return true;
        have += step;
    }
    name[have] = 0;
    return true;
}

static bool read_type_name(objects *objects, const unsigned char *head, char *name)
{
    return read_c_string(objects, load_u64(head, objects->layout.type_name), name);
}

static enum future_kind future_kind_of(objects *objects, uint64_t type)
{
    unsigned char head[TYPE_BYTES];
    char name[TYPE_NAME_LIMIT + 1];
    for (uint32_t i = 0; i < BASES_LIMIT && type; i++) {
        if (!moment_read(&objects->moment, type, head, objects->type_head_bytes) ||
            !read_type_name(objects, head, name))
            break;
        if (!strcmp(name, "_asyncio.Task"))
            return FUTURE_TASK;
        if (!strcmp(name, "_asyncio.Future"))
            return FUTURE_PLAIN;
        type = load_u64(head, objects->layout.type_base);
    }
    return FUTURE_NO;
}

static const object_type *add_type(objects *objects, uint64_t address)
{
    const asyncio_layout *layout = &objects->layout;
    unsigned char head[TYPE_BYTES];
    char name[TYPE_NAME_LIMIT + 1];
    if (!moment_read(&objects->moment, address, head, objects->type_head_bytes) ||
        !read_type_name(objects, head, name) ||
        !array_reserve((void **)&objects->types, &objects->type_capacity, objects->type_count,
                       sizeof *objects->types, TYPES_LIMIT))
        return NULL;
    object_type *new = &objects->types[objects->type_count];
    *new = (object_type){.address = address,
                         .flags = load_u64(head, layout->type_flags),
                         .basicsize = (int64_t)load_u64(head, layout->type_basicsize),
                         .itemsize = (int64_t)load_u64(head, layout->type_itemsize),
                         .dictoffset = (int64_t)load_u64(head, layout->type_dictoffset)};
    const char *dot = strrchr(name, '.'), *last = dot ? dot + 1 : name;
    for (size_t i = 0; i < sizeof ROLES / sizeof *ROLES; i++)
        if (!strcmp(last, ROLES[i].name))
            new->role = ROLES[i].role;
    new->future = future_kind_of(objects, address);
    if (!objects_add_text(objects, (const unsigned char *)last, strlen(last), 0, &new->name) ||
        !map_set(&objects->by_type, address, objects->type_count))
        return NULL;
    return &objects->types[objects->type_count++];
}

const object_type *objects_type(objects *objects, uint64_t address)
{
    uint64_t type;
    if (!word_at(objects, address, objects->layout.object_type, &type))
        return NULL;
    uint32_t index = map_get(&objects->by_type, type);
    return index != MAP_ABSENT ? &objects->types[index] : add_type(objects, type);
}

/* Whether there is an object whose type has one of these flags. */
static bool has_flags(objects *objects, uint64_t address, uint64_t flags)
{
    const object_type *type = objects_type(objects, address);
    return type && type->flags & flags;
}

/* Where the characters of a str are; up to 3.11 those of an API that is gone (wchar_t) are not
 * found. */
static bool find_characters(objects *objects, uint64_t address, uint64_t *at, uint32_t *length,
                            uint32_t *kind)
{
    const asyncio_layout *layout = &objects->layout;
    uint64_t count;
    unsigned char state;
    if (!has_flags(objects, address, TYPE_IS_UNICODE) ||
        !word_at(objects, address, layout->unicode_length, &count) ||
        !moment_read(&objects->moment, address + (uint32_t)layout->unicode_state, &state, 1))
        return false;
    *kind = STATE_KIND(state);
    *length = count < STRING_LIMIT ? (uint32_t)count : STRING_LIMIT;
    if (STATE_COMPACT(state))
        *at = address + (uint32_t)(STATE_ASCII(state) ? layout->unicode_ascii_data
                                                      : layout->unicode_compact_data);
    else if (!word_at(objects, address, layout->unicode_data, at))
        return false;
    return *kind == 1 || *kind == 2 || *kind == 4;
}

bool objects_string(objects *objects, uint64_t address, asyncio_text *out)
{
    unsigned char bytes[4 * STRING_LIMIT];
    uint64_t at;
    uint32_t length, kind;
    return find_characters(objects, address, &at, &length, &kind) &&
           moment_read(&objects->moment, at, bytes, length * kind) &&
           objects_add_text(objects, bytes, length * kind, kind, out);
}

bool objects_is_string(objects *objects, uint64_t address, const char *text)
{
    char bytes[STRING_LIMIT];
    uint64_t at;
    uint32_t length, kind;
    return find_characters(objects, address, &at, &length, &kind) && kind == 1 &&
           length == strlen(text) && moment_read(&objects->moment, at, bytes, length) &&
           !memcmp(bytes, text, length);
}

bool objects_integer(objects *objects, uint64_t address, uint64_t *out)
{
    const asyncio_layout *layout = &objects->layout;
    uint32_t digits[DIGITS_LIMIT];
    uint64_t tag;
    if (!has_flags(objects, address, TYPE_IS_LONG) ||
        !word_at(objects, address, layout->long_tag, &tag))
        return false;
    uint64_t count = tag >> layout->long_tag_shift;
    if (count > DIGITS_LIMIT ||
        !moment_read(&objects->moment, address + (uint32_t)layout->long_digit, digits,
                     (uint32_t)count * 4))
        return false;
    *out = 0;
    for (uint32_t i = 0; i < count && i * (uint32_t)layout->long_digit_bits < 64; i++)
        *out |= (uint64_t)digits[i] << i * (uint32_t)layout->long_digit_bits;
    return true;
}

static bool read_keys(objects *objects, uint64_t keys, uint64_t values, items *out)
{
    const asyncio_layout *layout = &objects->layout;
    unsigned char head[KEYS_HEAD_BYTES];
    uint32_t header = (uint32_t)layout->dictkeys_indices;
    uint64_t size, index_bytes;
    if (!moment_read(&objects->moment, keys, head, header))
        return false;
    uint64_t count = load_u64(head, layout->dictkeys_nentries);
    *out = (items){.values = values,
                   .entry_bytes = (uint32_t)layout->dictentry_size,
                   .key = layout->dictentry_key,
                   .value = layout->dictentry_value};
    if (layout->dictkeys_log2_size == ONLOOKER_NONE) {
        size = load_u64(head, layout->dictkeys_size);
        index_bytes = size * (size <= 0xff ? 1 : size <= 0xffff ? 2 : 4);
    } else {
        if (head[layout->dictkeys_log2_size] > 40 || head[layout->dictkeys_log2_index_bytes] > 43)
            return false;
        size = UINT64_C(1) << head[layout->dictkeys_log2_size];
        index_bytes = UINT64_C(1) << head[layout->dictkeys_log2_index_bytes];
        if (head[layout->dictkeys_kind]) { /* DICT_KEYS_GENERAL is 0 */
            out->entry_bytes = (uint32_t)layout->dictunicodeentry_size;
            out->key = layout->dictunicodeentry_key;
            out->value = layout->dictunicodeentry_value;
        }
    }
    out->entries = keys + header + index_bytes;
    out->count = (uint32_t)count;
    return count <= size && count <= ITEMS_LIMIT;
}

bool objects_dict(objects *objects, uint64_t address, items *out)
{
    const asyncio_layout *layout = &objects->layout;
    uint64_t keys, values;
    return has_flags(objects, address, TYPE_IS_DICT) &&
           word_at(objects, address, layout->dict_keys, &keys) &&
           word_at(objects, address, layout->dict_values, &values) &&
           read_keys(objects, keys, values, out);
}

/* The PyDictValues of an instance that has no dict of its own (*VALUES is 0 if it has one), and its
 * dict. */
static bool managed(objects *objects, uint64_t address, const object_type *type, uint64_t *values,
                    uint64_t *dict)
{
    const asyncio_layout *layout = &objects->layout;
    unsigned char valid;
    *values = 0;
    if (!word_at(objects, address, layout->instance_managed_dict, dict))
        return false;
    if (layout->type_inline_values_flag != ONLOOKER_NONE) {
        uint64_t at = address + (uint64_t)type->basicsize;
        if (*dict || layout->type_inline_values_flag < 0 ||
            !(type->flags & (uint64_t)layout->type_inline_values_flag))
            return true;
        if (!moment_read(&objects->moment, at + (uint64_t)(int64_t)layout->dictvalues_valid, &valid,
                         1))
            return false;
        *values = valid ? at : 0;
        return true;
    }
    if (layout->instance_managed_values == layout->instance_managed_dict) {
        if (*dict & 1) {
            *values = *dict + 1;
            *dict = 0;
        }
        return true;
    }
    return word_at(objects, address, layout->instance_managed_values, values);
}

bool objects_attributes(objects *objects, uint64_t address, items *out)
{
    const asyncio_layout *layout = &objects->layout;
    const object_type *found = objects_type(objects, address);
    uint64_t values = 0, dict = 0, keys;
    if (!found)
        return false;
    object_type type = *found;
    *out = (items){0};
    if (type.flags & MANAGED_DICT && layout->instance_managed_dict != ONLOOKER_NONE) {
        if (!managed(objects, address, &type, &values, &dict))
            return false;
        if (values)
            return word_at(objects, type.address, layout->type_cached_keys, &keys) &&
                   read_keys(objects, keys, values, out);
    } else if (type.dictoffset > 0) { /* one counted from the end is that of variable-sized types */
        if (!moment_word(&objects->moment, address + (uint64_t)type.dictoffset, &dict))
            return false;
    }
    return !dict || objects_dict(objects, dict, out);
}

bool objects_next(objects *objects, items *items, uint64_t *key, uint64_t *value)
{
    unsigned char entry[ENTRY_BYTES];
    if (items->next >= items->count)
        return false;
    uint64_t at = items->entries + (uint64_t)items->next * items->entry_bytes;
    if (!moment_read(&objects->moment, at, entry, items->entry_bytes))
        return false;
    *key = load_u64(entry, items->key);
    *value = load_u64(entry, items->value);
    if (items->values &&
        !moment_word(&objects->moment,
                     items->values + (uint64_t)(int64_t)objects->layout.dictvalues_values +
                         8 * (uint64_t)items->next,
                     value))
        return false;
    items->next++;
    if (!*key || !*value) /* deleted, or an attribute that isn't set */
        *key = *value = 0;
    return true;
}

bool objects_attribute(objects *objects, uint64_t address, const char *name, uint64_t *value)
{
    items items;
    uint64_t key;
    if (!objects_attributes(objects, address, &items))
        return false;
    while (objects_next(objects, &items, &key, value))
        if (key && objects_is_string(objects, key, name))
            return true;
    *value = 0;
    return items.next == items.count;
}

bool objects_sequence(objects *objects, uint64_t address, uint64_t *at, uint32_t *count)
{
    const asyncio_layout *layout = &objects->layout;
    const object_type *type = objects_type(objects, address);
    uint64_t size;
    if (!type)
        return false;
    if (type->flags & TYPE_IS_LIST) {
        if (!word_at(objects, address, layout->list_size, &size) ||
            !word_at(objects, address, layout->list_item, at))
            return false;
    } else if (type->flags & TYPE_IS_TUPLE) {
        if (!word_at(objects, address, layout->tuple_size, &size))
            return false;
        *at = address + (uint32_t)layout->tuple_item;
    } else {
        return false;
    }
    *count = (uint32_t)size;
    return size <= ITEMS_LIMIT;
}

bool objects_set(objects *objects, uint64_t address, uint64_t *table, uint32_t *slots)
{
    const object_type *type = objects_type(objects, address);
    uint64_t mask;
    if (!type || type->role != ROLE_SET ||
        !word_at(objects, address, objects->layout.set_mask, &mask) || mask >= ITEMS_LIMIT ||
        !word_at(objects, address, objects->layout.set_table, table))
        return false;
    *slots = (uint32_t)mask + 1;
    return true;
}
