/* onlooker_contexts.h: the values that context variables (PEP 567) have where a thread, or a
 * suspended task, is. Read after onlooker.h, as it is.
 *
 * A label is what values are asked for, such as "the variable named request_id"; its variables are
 * all ContextVar objects that may give it a value. A set has one value for each label. Values and
 * sets are kept once, and what there is no room for gets set 0, in which no label has a value. */

#define ONLOOKER_LABELS_LIMIT 16u
#define ONLOOKER_VARIABLES_LIMIT 256u

/* Kinds of values; what their bytes are. */
#define ONLOOKER_VALUE_UNSET 0 /* nothing: value 0 and no other is this */
#define ONLOOKER_VALUE_OTHER 1 /* none of the following: its type's name, in UTF-8 */
#define ONLOOKER_VALUE_NONE 2  /* nothing */
#define ONLOOKER_VALUE_BOOL 3  /* as an int's */
#define ONLOOKER_VALUE_INT 4   /* a word of CPython's digits each; the first word: 1 if negative */
#define ONLOOKER_VALUE_BYTES 5 /* themselves */
#define ONLOOKER_VALUE_STR 8   /* plus 1, 2 or 4: code points of so many bytes each */

/* Offsets in CPython's structures, as in a layout. */
typedef struct context_layout {
    int32_t context_vars;
    int32_t contextvar_default;
    int32_t contextvar_hash;
    int32_t hamt_root;
    int32_t hamtbitmap_bitmap;
    int32_t hamtbitmap_array;
    int32_t hamtarray_array;
    int32_t hamtcollision_size;
    int32_t hamtcollision_array;
    int32_t object_type;
    int32_t type_name;
    int32_t type_flags;
    int32_t type_basicsize;
    int32_t type_dictoffset;
    int32_t type_cached_keys;
    int32_t type_inline_values_flag; /* of tp_flags: values may follow the object */
    int32_t unicode_length;
    int32_t unicode_state;
    int32_t unicode_ascii_data;
    int32_t unicode_compact_data;
    int32_t unicode_data; /* where the pointer to it is, if it is not compact */
    int32_t bytes_size;
    int32_t bytes_data;
    int32_t long_tag;
    int32_t long_tag_shift; /* bits below the number of digits; 0: it is ob_size */
    int32_t long_digit;
    int32_t tuple_size;
    int32_t tuple_item;
    int32_t dict_keys;
    int32_t dict_values;
    int32_t dictkeys_nentries;
    int32_t dictkeys_indices;
    int32_t dictkeys_size; /* or: */
    int32_t dictkeys_log2_size;
    int32_t dictkeys_log2_index_bytes;
    int32_t dictkeys_kind;
    int32_t dictentry_size;
    int32_t dictentry_key;
    int32_t dictentry_value;
    int32_t dictunicodeentry_size;
    int32_t dictunicodeentry_key;
    int32_t dictunicodeentry_value;
    int32_t dictvalues_values;
    int32_t dictvalues_valid;
    int32_t instance_managed_dict; /* these two are below the object */
    int32_t instance_managed_values;
} context_layout;

typedef struct context_variable {
    uint64_t address; /* of the ContextVar */
    uint64_t hash;    /* its var_hash */
    uint32_t label;   /* that it gives a value */
    uint32_t is_span; /* its value is OpenTelemetry's context: the label is the current span's trace
                         id, the next one its span id */
} context_variable;

typedef struct context_value {
    uint32_t at, size; /* of its bytes among all values' */
    uint32_t kind;
    uint32_t cut; /* they are only the first ones */
} context_value;

typedef struct contexts contexts;

/* Reads values with LAYOUT, which it copies. NULL when memory runs out or the layout makes no
 * sense.
 */
contexts *contexts_open(const context_layout *layout);

/* From now on, these are the variables of LABELS labels; always the same number. False when it is
 * beyond a bound. */
int contexts_watch(contexts *contexts, const context_variable *variables, uint32_t count,
                   uint32_t labels);

/* The set of values in the context that the pointer at address SLOT leads to; while that may run,
 * as it was at one instant. ONLOOKER_OK; ONLOOKER_FAULT if it never held still. */
int contexts_read(contexts *contexts, memory *source, uint64_t slot, uint32_t *set);

/* What was seen. The arrays belong to the contexts and live until the next call that reads. A set
 * is as many indexes of values as there are labels. */
const context_value *contexts_values(const contexts *contexts, uint32_t *count);
const unsigned char *contexts_bytes(const contexts *contexts, uint32_t *size);
const uint32_t *contexts_sets(const contexts *contexts, uint32_t *count);

/* Reads whose values there was no room for. */
uint64_t contexts_overflow(const contexts *contexts);

/* Lets the recorder find the values in each sample's context. CONTEXTS must outlive it. */
void recorder_use_contexts(recorder *recorder, contexts *contexts);

void contexts_close(contexts *contexts);
