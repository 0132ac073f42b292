#include "codes.h"

#include <stdlib.h>
#include <string.h>

/* Bounds of what is believed of a target. CPython itself bounds none of these. */
#define TEXT_LIMIT (1u << 16)      /* code points of a name */
#define LINETABLE_LIMIT (1u << 26) /* bytes */
#define CODE_LIMIT (1u << 17)      /* texts kept; more are one pseudo-frame */
#define KEPT_LIMIT (1u << 26)      /* bytes of texts not released; one alone may have more */
#define IDENTITY_LIMIT (1u << 16)  /* addresses known at a time */
#define HEAD_LIMIT 512u

/* Leading bytes of a value that tell two strings or line tables apart when there is no co_version.
 */
#define LEADING 112u

/* Bytes that hold the header of a str or of a bytes object, whatever the layout (layout_check). */
#define OBJECT_HEAD_LIMIT 128u

static uint32_t furthest(uint32_t size, int32_t offset, uint32_t width)
{
    uint32_t end = offset == ONLOOKER_NONE ? 0 : (uint32_t)offset + width;
    return end > size ? end : size;
}

bool codes_init(codes *codes, const layout *layout, uint64_t code_type)
{
    codes->layout = layout;
    codes->code_type = code_type;
    uint32_t size = furthest(0, layout->object_type, 8);
    size = furthest(size, layout->code_filename, 8);
    size = furthest(size, layout->code_name, 8);
    size = furthest(size, layout->code_qualname, 8);
    size = furthest(size, layout->code_linetable, 8);
    size = furthest(size, layout->code_firstlineno, 4);
    size = furthest(size, layout->code_version, 4);
    codes->head_size = size;
    if (size > HEAD_LIMIT ||
        !array_reserve((void **)&codes->entries, &codes->entry_capacity, ONLOOKER_CODE_FIRST,
                       sizeof *codes->entries, CODE_LIMIT))
        return false;
    memset(codes->entries, 0, ONLOOKER_CODE_FIRST * sizeof *codes->entries);
    codes->entry_count = ONLOOKER_CODE_FIRST;
    return true;
}

static int32_t name_field(const layout *layout)
{
    return layout->code_qualname != ONLOOKER_NONE ? layout->code_qualname : layout->code_name;
}

/* The fields that tell code objects apart, but for `version` where there is no co_version. */
static bool read_head(const codes *codes, const unsigned char *head, identity *out)
{
    const layout *layout = codes->layout;
    if (codes->code_type && load_u64(head, layout->object_type) != codes->code_type)
        return false;
    out->name = load_u64(head, name_field(layout));
    out->filename = load_u64(head, layout->code_filename);
    out->linetable = load_u64(head, layout->code_linetable);
    out->firstlineno = load_u32(head, layout->code_firstlineno);
    out->version = layout->code_version != ONLOOKER_NONE ? load_u32(head, layout->code_version) : 0;
    return true;
}

/* A str's or bytes object's value, as its header describes it. */
typedef struct value {
    uint64_t length;
    uint32_t kind; /* bytes of each of LENGTH items */
    bool ascii;
    uint32_t at; /* from the start of the object; 0: elsewhere, and here is a pointer to it */
} value;

static uint32_t str_head_size(const layout *layout)
{
    uint32_t size = furthest((uint32_t)layout->unicode_ascii_data, layout->unicode_length, 8);
    return furthest(size, layout->unicode_state, 4);
}

static uint32_t bytes_head_size(const layout *layout)
{
    return furthest((uint32_t)layout->bytes_data, layout->bytes_size, 8);
}

/* False when this is no str we can read. */
static bool str_value(const layout *layout, const unsigned char *head, value *out)
{
    uint32_t state = load_u32(head, layout->unicode_state);
    *out = (value){.length = load_u64(head, layout->unicode_length),
                   .kind = STATE_KIND(state),
                   .ascii = STATE_ASCII(state)};
    /* Not compact: an instance of a subclass, up to 3.11 any str that was made in two steps. */
    if (STATE_COMPACT(state))
        out->at =
            (uint32_t)(out->ascii ? layout->unicode_ascii_data : layout->unicode_compact_data);
    return out->length <= TEXT_LIMIT && (out->kind == 1 || out->kind == 2 || out->kind == 4);
}

static bool bytes_value(const layout *layout, const unsigned char *head, value *out)
{
    *out = (value){.length = load_u64(head, layout->bytes_size),
                   .kind = 1,
                   .at = (uint32_t)layout->bytes_data};
    return out->length <= LINETABLE_LIMIT;
}

static uint32_t leading(uint64_t size)
{
    return size < LEADING ? (uint32_t)size : LEADING;
}

/* Bytes of the object that codes_check compares. All of them are the object's own, so that they can
 * be read wherever it lies. */
static uint32_t compared_size(const layout *layout, const value *value)
{
    return value->at ? value->at + leading(value->length * value->kind)
                     : (uint32_t)layout->unicode_compact_data + 8;
}

/* DATA is the value, or the pointer to it. */
static uint64_t hash_value(const value *value, const unsigned char *data)
{
    uint64_t size = value->at ? value->length * value->kind : 8;
    return hash_bytes(value->length ^ (uint64_t)value->kind << 56, data, leading(size));
}

static uint64_t hash_values(uint64_t name, uint64_t filename, uint64_t linetable)
{
    return hash_u64(name ^ hash_u64(filename) ^ linetable * 3);
}

static bool has_version(const codes *codes)
{
    return codes->layout->code_version != ONLOOKER_NONE;
}

bool codes_want(const codes *codes, uint64_t address, ranges *checked)
{
    if (!ranges_add(checked, address, codes->head_size))
        return false;
    uint32_t index = map_get(&codes->by_address, address);
    if (has_version(codes) || index == MAP_ABSENT)
        return true;
    const identity *known = &codes->identities[index];
    return ranges_add(checked, known->name, known->name_size) &&
           ranges_add(checked, known->filename, known->filename_size) &&
           ranges_add(checked, known->linetable, known->linetable_size);
}

/* The hash of the value of the object at ADDRESS, of which SIZE bytes are to be compared. */
static enum codes_answer check_value(const layout *layout, const ranges *checked,
                                     const unsigned char *copy, uint64_t address, uint32_t size,
                                     bool is_str, uint64_t *hash)
{
    uint32_t hint = UINT32_MAX;
    int64_t at = ranges_find(checked, address, size, &hint);
    if (at < 0)
        return CODES_UNREAD;
    const unsigned char *object = copy + at;
    value now;
    if (!(is_str ? str_value(layout, object, &now) : bytes_value(layout, object, &now)) ||
        compared_size(layout, &now) != size)
        return CODES_UNKNOWN;
    *hash = hash_value(&now, object + (now.at ? now.at : (uint32_t)layout->unicode_compact_data));
    return CODES_KNOWN;
}

enum codes_answer codes_check(codes *codes, uint64_t address, uint64_t generation,
                              const ranges *checked, const unsigned char *copy, uint32_t *code)
{
    uint32_t index = map_get(&codes->by_address, address);
    if (index == MAP_ABSENT)
        return CODES_UNKNOWN;
    identity *known = &codes->identities[index];
    if (generation && known->generation == generation) {
        *code = known->code;
        return CODES_KNOWN;
    }
    uint32_t hint = UINT32_MAX;
    int64_t at = ranges_find(checked, address, codes->head_size, &hint);
    if (at < 0)
        return CODES_UNREAD;
    identity now;
    if (!read_head(codes, copy + at, &now))
        return CODES_UNKNOWN;
    if (now.name != known->name || now.filename != known->filename ||
        now.linetable != known->linetable || now.firstlineno != known->firstlineno)
        return CODES_UNKNOWN;
    if (!has_version(codes)) {
        uint64_t name, filename, linetable;
        enum codes_answer answer;
        if ((answer = check_value(codes->layout, checked, copy, known->name, known->name_size, true,
                                  &name)) != CODES_KNOWN ||
            (answer = check_value(codes->layout, checked, copy, known->filename,
                                  known->filename_size, true, &filename)) != CODES_KNOWN ||
            (answer = check_value(codes->layout, checked, copy, known->linetable,
                                  known->linetable_size, false, &linetable)) != CODES_KNOWN)
            return answer;
        now.version = hash_values(name, filename, linetable);
    }
    if (now.version != known->version)
        return CODES_UNKNOWN;
    known->generation = generation;
    *code = known->code;
    return CODES_KNOWN;
}

/* Reads the header of the str at ADDRESS; *DATA is where its value lies. */
static int read_str(const layout *layout, memory *source, uint64_t address, value *out,
                    uint64_t *data)
{
    unsigned char head[OBJECT_HEAD_LIMIT];
    int result = memory_read(source, address, head, str_head_size(layout));
    if (result != ONLOOKER_OK)
        return result;
    if (!str_value(layout, head, out))
        return ONLOOKER_FAULT;
    *data = address + out->at;
    return out->at
               ? ONLOOKER_OK
               : memory_read_u64(source, address + (uint32_t)layout->unicode_compact_data, data);
}

static int read_bytes(const layout *layout, memory *source, uint64_t address, value *out,
                      uint64_t *data)
{
    unsigned char head[OBJECT_HEAD_LIMIT];
    int result = memory_read(source, address, head, bytes_head_size(layout));
    if (result != ONLOOKER_OK)
        return result;
    *data = address + (uint32_t)layout->bytes_data;
    return bytes_value(layout, head, out) ? ONLOOKER_OK : ONLOOKER_FAULT;
}

/* Owner of a learnt text until it is stored. */
typedef struct draft {
    unsigned char *bytes;
    uint64_t size;
    code_text text;
    uint64_t hash;
} draft;

static text text_of(const value *value, const unsigned char *data)
{
    return (text){
        .data = data, .length = value->length, .kind = value->kind, .ascii = value->ascii};
}

/* What tells the object at ADDRESS from others: the value that was read, so that what codes_check
 * compares with is what the names were made of. */
static uint64_t hash_read(const value *value, const unsigned char *data, uint64_t address)
{
    return hash_value(value, value->at ? data : (const unsigned char *)&address);
}

static int read_text(const codes *codes, memory *source, identity *new, draft *out)
{
    const layout *layout = codes->layout;
    value name, filename, linetable;
    uint64_t name_at, filename_at, linetable_at;
    int result;
    if ((result = read_str(layout, source, new->name, &name, &name_at)) != ONLOOKER_OK ||
        (result = read_str(layout, source, new->filename, &filename, &filename_at)) !=
            ONLOOKER_OK ||
        (result = read_bytes(layout, source, new->linetable, &linetable, &linetable_at)) !=
            ONLOOKER_OK)
        return result;
    size_t name_size = name.length * name.kind, filename_size = filename.length * filename.kind;
    size_t size = name_size + filename_size + linetable.length;
    if (codes->kept_size && codes->kept_size + size > KEPT_LIMIT)
        return ONLOOKER_FAULT;
    unsigned char *bytes = malloc(size + 1);
    if (!bytes)
        return ONLOOKER_NO_MEMORY;
    unsigned char *filename_bytes = bytes + name_size, *table = filename_bytes + filename_size;
    if ((result = memory_read(source, name_at, bytes, name_size)) != ONLOOKER_OK ||
        (result = memory_read(source, filename_at, filename_bytes, filename_size)) != ONLOOKER_OK ||
        (result = memory_read(source, linetable_at, table, linetable.length)) != ONLOOKER_OK) {
        free(bytes);
        return result;
    }
    *out = (draft){.bytes = bytes,
                   .size = size,
                   .text = {.name = text_of(&name, bytes),
                            .filename = text_of(&filename, filename_bytes),
                            .linetable = table,
                            .linetable_size = linetable.length,
                            .firstlineno = (int32_t)new->firstlineno},
                   .hash = hash_bytes(hash_u64(name_size << 32 ^ filename_size) ^ new->firstlineno,
                                      bytes, size)};
    if (!has_version(codes)) {
        new->name_size = compared_size(layout, &name);
        new->filename_size = compared_size(layout, &filename);
        new->linetable_size = compared_size(layout, &linetable);
        new->version = hash_values(hash_read(&name, bytes, name_at),
                                   hash_read(&filename, filename_bytes, filename_at),
                                   hash_value(&linetable, table));
    }
    return ONLOOKER_OK;
}

/* No line table says a line of it (a single entry at most), and no source has a line 0. */
static bool is_hidden(const code_text *text)
{
    return text->firstlineno == 0 && text->linetable_size <= 1;
}

static void store(codes *codes, const draft *draft, uint32_t *code)
{
    if (is_hidden(&draft->text)) {
        free(draft->bytes);
        *code = CODES_HIDDEN;
        return;
    }
    /* Equal text is the same code to everyone who reads the profile; only this keeps the memory of
     * a program that compiles the same source again and again bounded. */
    *code = map_get(&codes->by_content, draft->hash);
    if (*code != MAP_ABSENT) {
        free(draft->bytes);
        return;
    }
    if (!array_reserve((void **)&codes->entries, &codes->entry_capacity, codes->entry_count,
                       sizeof *codes->entries, CODE_LIMIT) ||
        !map_set(&codes->by_content, draft->hash, codes->entry_count)) {
        free(draft->bytes);
        *code = ONLOOKER_CODE_OVERFLOW;
        return;
    }
    codes->entries[codes->entry_count] = (code_entry){draft->bytes, draft->size, draft->text};
    codes->kept_size += draft->size;
    *code = codes->entry_count++;
}

int codes_learn(codes *codes, memory *source, uint64_t address)
{
    unsigned char head[HEAD_LIMIT];
    identity new = {.address = address};
    draft draft = {0};
    int result = memory_read(source, address, head, codes->head_size);
    if (result != ONLOOKER_OK)
        return result;
    if (!read_head(codes, head, &new))
        return ONLOOKER_FAULT;
    if ((result = read_text(codes, source, &new, &draft)) != ONLOOKER_OK)
        return result;
    store(codes, &draft, &new.code);
    uint32_t index = map_get(&codes->by_address, address);
    if (index == MAP_ABSENT) {
        if (codes->identity_count == IDENTITY_LIMIT) {
            /* What is still in use is learnt again. */
            map_clear(&codes->by_address);
            codes->identity_count = 0;
        }
        index = codes->identity_count;
        if (!array_reserve((void **)&codes->identities, &codes->identity_capacity, index,
                           sizeof *codes->identities, IDENTITY_LIMIT) ||
            !map_set(&codes->by_address, address, index))
            return ONLOOKER_NO_MEMORY;
        codes->identity_count++;
    }
    codes->identities[index] = new;
    return ONLOOKER_OK;
}

bool codes_text(const codes *codes, uint32_t index, code_text *out)
{
    if (index >= codes->entry_count || !codes->entries[index].bytes)
        return false;
    *out = codes->entries[index].text;
    return true;
}

void codes_release(codes *codes, uint32_t below)
{
    for (uint32_t i = 0; i < below && i < codes->entry_count; i++) {
        free(codes->entries[i].bytes);
        codes->kept_size -= codes->entries[i].size;
        codes->entries[i].bytes = NULL;
        codes->entries[i].size = 0;
    }
}

void codes_free(codes *codes)
{
    codes_release(codes, codes->entry_count);
    free(codes->entries);
    free(codes->identities);
    map_free(&codes->by_address);
    map_free(&codes->by_content);
}
