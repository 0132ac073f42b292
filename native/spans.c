/* OpenTelemetry's current span: the context is a dict that has it at "current-span-" and a UUID,
 * and the span's _context is a tuple that begins with the ids (opentelemetry.trace.propagation,
 * opentelemetry.trace.span). */
#include "inspect.h"

#define ENTRIES_LIMIT 128u

/* A bit of tp_flags (Py_TPFLAGS_MANAGED_DICT, since 3.11). */
#define MANAGED_DICT (UINT64_C(1) << 4)

/* Keys and values of a dict, or of an object's attributes. */
typedef struct table {
    uint64_t entries, count;
    uint64_t values; /* address of an array of them; 0: the entries have them */
    uint32_t entry_size;
    int32_t key, value;
} table;

static bool read_keys(inspection *inspection, uint64_t keys, uint64_t values, table *out)
{
    const context_layout *layout = inspection->layout;
    unsigned char head[DICT_KEYS_LIMIT];
    uint64_t size, index_bytes;
    if (!inspect(inspection, keys, (uint32_t)layout->dictkeys_indices, head) ||
        !inspect_word(inspection, keys, layout->dictkeys_nentries, &out->count))
        return false;
    bool general = true;
    if (layout->dictkeys_log2_size == ONLOOKER_NONE) {
        if (!inspect_word(inspection, keys, layout->dictkeys_size, &size))
            return false;
        index_bytes = size * (size <= 0xff ? 1 : size <= 0xffff ? 2 : 4);
    } else {
        if (layout->dictkeys_log2_index_bytes < 0 || layout->dictkeys_kind < 0 ||
            layout->dictkeys_log2_index_bytes >= layout->dictkeys_indices ||
            layout->dictkeys_kind >= layout->dictkeys_indices ||
            head[layout->dictkeys_log2_index_bytes] > 16)
            return false;
        size = index_bytes = UINT64_C(1) << head[layout->dictkeys_log2_index_bytes];
        general = !head[layout->dictkeys_kind]; /* DICT_KEYS_GENERAL */
    }
    out->entries = keys + (uint32_t)layout->dictkeys_indices + index_bytes;
    out->values = values ? values + (uint32_t)layout->dictvalues_values : 0;
    out->entry_size = (uint32_t)(general ? layout->dictentry_size : layout->dictunicodeentry_size);
    out->key = general ? layout->dictentry_key : layout->dictunicodeentry_key;
    out->value = general ? layout->dictentry_value : layout->dictunicodeentry_value;
    return out->count <= ENTRIES_LIMIT && out->count <= size;
}

static bool read_dict(inspection *inspection, uint64_t dict, table *out)
{
    uint64_t keys, values;
    return inspect_word(inspection, dict, inspection->layout->dict_keys, &keys) &&
           inspect_word(inspection, dict, inspection->layout->dict_values, &values) &&
           read_keys(inspection, keys, values, out);
}

/* *VALUES: the address of the values of an object without a dict of its own, else 0; *DICT: that of
 * its dict. */
static bool find_managed(inspection *inspection, uint64_t object, uint64_t type, uint64_t flags,
                         uint64_t *values, uint64_t *dict)
{
    const context_layout *layout = inspection->layout;
    *values = 0;
    if (!inspect_word(inspection, object, layout->instance_managed_dict, dict))
        return false;
    if (layout->type_inline_values_flag != ONLOOKER_NONE) {
        uint64_t size;
        unsigned char valid;
        if (*dict || !(flags & (uint32_t)layout->type_inline_values_flag))
            return true;
        if (!inspect_word(inspection, type, layout->type_basicsize, &size) ||
            !inspect(inspection, object + size + (uint32_t)layout->dictvalues_valid, 1, &valid))
            return false;
        *values = valid ? object + size : 0;
        return true;
    }
    if (layout->instance_managed_values != layout->instance_managed_dict)
        return inspect_word(inspection, object, layout->instance_managed_values, values);
    if (*dict & 1) {
        *values = *dict + 1;
        *dict = 0;
    }
    return true;
}

static bool read_attributes(inspection *inspection, uint64_t object, table *out)
{
    const context_layout *layout = inspection->layout;
    uint64_t type, flags, dict = 0, values = 0, keys, dictoffset;
    *out = (table){0};
    if (!inspect_word(inspection, object, layout->object_type, &type) ||
        !inspect_word(inspection, type, layout->type_flags, &flags))
        return false;
    if (flags & MANAGED_DICT && layout->instance_managed_dict != ONLOOKER_NONE) {
        if (!find_managed(inspection, object, type, flags, &values, &dict))
            return false;
    } else if (!inspect_word(inspection, type, layout->type_dictoffset, &dictoffset) ||
               (dictoffset && !inspect(inspection, object + dictoffset, sizeof dict, &dict))) {
        return false;
    }
    if (values)
        return inspect_word(inspection, type, layout->type_cached_keys, &keys) &&
               read_keys(inspection, keys, values, out);
    return !dict || read_dict(inspection, dict, out);
}

/* Whether the object at KEY is a str of ASCII that begins with NAME, or is that, if it is WHOLE. */
static bool has_name(inspection *inspection, uint64_t key, const char *name, bool whole, bool *has)
{
    const context_layout *layout = inspection->layout;
    uint32_t state, size = (uint32_t)strlen(name);
    uint64_t length;
    unsigned char text[32];
    *has = false;
    if (!inspect_word(inspection, key, layout->unicode_length, &length) ||
        !inspect(inspection, key + (uint32_t)layout->unicode_state, sizeof state, &state))
        return false;
    if (!STATE_ASCII(state) || !STATE_COMPACT(state) || length < size ||
        (whole && length != size) || size > sizeof text)
        return true;
    if (!inspect(inspection, key + (uint32_t)layout->unicode_ascii_data, size, text))
        return false;
    *has = !memcmp(text, name, size);
    return true;
}

/* *FOUND: the address of the value at the first such key; 0: there is none. */
static bool find(inspection *inspection, const table *table, const char *name, bool whole,
                 uint64_t *found)
{
    *found = 0;
    for (uint64_t i = 0; i < table->count; i++) {
        uint64_t entry = table->entries + i * table->entry_size, key;
        bool has;
        if (!inspect_word(inspection, entry, table->key, &key) ||
            (key && !has_name(inspection, key, name, whole, &has)))
            return false;
        if (key && has)
            return table->values ? inspect(inspection, table->values + 8 * i, sizeof *found, found)
                                 : inspect_word(inspection, entry, table->value, found);
    }
    return true;
}

bool inspect_span(inspection *inspection, uint64_t address, draft *trace_id, draft *span_id)
{
    const context_layout *layout = inspection->layout;
    table table;
    uint64_t span, context, length, ids[2];
    if (!read_dict(inspection, address, &table) ||
        !find(inspection, &table, "current-span-", false, &span))
        return false;
    if (!span)
        return true;
    if (!read_attributes(inspection, span, &table) ||
        !find(inspection, &table, "_context", true, &context))
        return false;
    if (!context)
        return true;
    return inspect_word(inspection, context, layout->tuple_size, &length) && length >= 2 &&
           inspect(inspection, context + (uint32_t)layout->tuple_item, sizeof ids, ids) &&
           inspect_value(inspection, ids[0], trace_id) &&
           inspect_value(inspection, ids[1], span_id);
}
