#include "codes.h"

#include <stdlib.h>
#include <string.h>

/* Bounds of what is believed of a target. CPython itself bounds none of these. */
#define TEXT_LIMIT (1u << 16)      /* code points of a name */
#define LINETABLE_LIMIT (1u << 26) /* bytes */
#define CODE_LIMIT (1u << 17)      /* texts kept; more are one pseudo-frame */
#define IDENTITY_LIMIT (1u << 16)  /* addresses known at a time */
#define HEAD_LIMIT 512u

/* Leading bytes that tell two strings or line tables apart when there is no co_version. */
#define PREFIX_SIZE 160u

/* PyASCIIObject.state: interned 2 bits (3.14 free-threaded builds apart), kind 3 bits, then compact
 * and ascii, in all of 3.8-3.15. */
#define STATE_KIND(state) ((state) >> 2 & 7)
#define STATE_COMPACT(state) ((state) >> 5 & 1)
#define STATE_ASCII(state) ((state) >> 6 & 1)

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

/* The bytes of a str's value that lie in its first PREFIX_SIZE bytes. */
static uint64_t hash_str(const layout *layout, const unsigned char *object)
{
    uint64_t length = load_u64(object, layout->unicode_length);
    uint32_t state = load_u32(object, layout->unicode_state);
    uint32_t kind = STATE_KIND(state);
    int32_t data = STATE_ASCII(state) ? layout->unicode_ascii_data : layout->unicode_compact_data;
    uint64_t bytes = length < PREFIX_SIZE ? length * kind : PREFIX_SIZE;
    if (bytes > PREFIX_SIZE - (uint32_t)data)
        bytes = PREFIX_SIZE - (uint32_t)data;
    return hash_bytes(length ^ (uint64_t)kind << 56, object + data, bytes);
}

static uint64_t hash_bytes_object(const layout *layout, const unsigned char *object)
{
    uint64_t size = load_u64(object, layout->bytes_size);
    uint64_t bytes = PREFIX_SIZE - (uint32_t)layout->bytes_data;
    return hash_bytes(size, object + layout->bytes_data, size < bytes ? size : bytes);
}

static uint64_t hash_prefixes(const layout *layout, const unsigned char *name,
                              const unsigned char *filename, const unsigned char *linetable)
{
    return hash_u64(hash_str(layout, name) ^ hash_u64(hash_str(layout, filename)) ^
                    hash_bytes_object(layout, linetable) * 3);
}

static bool has_version(const codes *codes)
{
    return codes->layout->code_version != ONLOOKER_NONE;
}

/* How much of an object's first PREFIX_SIZE bytes can be read: its header, wherever that lies, and
 * what follows on the same page; the next page may not exist. */
static uint32_t prefix_at(const layout *layout, uint64_t address)
{
    uint32_t header =
        (uint32_t)(layout->unicode_ascii_data > layout->bytes_data ? layout->unicode_ascii_data
                                                                   : layout->bytes_data);
    uint64_t to_page_end = PAGE_SIZE - (address & (PAGE_SIZE - 1));
    if (to_page_end < header)
        return header;
    return to_page_end < PREFIX_SIZE ? (uint32_t)to_page_end : PREFIX_SIZE;
}

bool codes_want(const codes *codes, uint64_t address, ranges *checked)
{
    if (!ranges_add(checked, address, codes->head_size))
        return false;
    uint32_t index = map_get(&codes->by_address, address);
    if (has_version(codes) || index == MAP_ABSENT)
        return true;
    const identity *known = &codes->identities[index];
    return ranges_add(checked, known->name, prefix_at(codes->layout, known->name)) &&
           ranges_add(checked, known->filename, prefix_at(codes->layout, known->filename)) &&
           ranges_add(checked, known->linetable, prefix_at(codes->layout, known->linetable));
}

/* The copy of up to PREFIX_SIZE bytes at ADDRESS, zero-filled to PREFIX_SIZE; false if not there.
 */
static bool copied_prefix(const layout *layout, const ranges *checked, const unsigned char *copy,
                          uint64_t address, unsigned char out[PREFIX_SIZE])
{
    uint32_t hint = UINT32_MAX, length = prefix_at(layout, address);
    int64_t at = ranges_find(checked, address, length, &hint);
    if (at < 0)
        return false;
    memcpy(out, copy + at, length);
    memset(out + length, 0, PREFIX_SIZE - length);
    return true;
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
        unsigned char name[PREFIX_SIZE], filename[PREFIX_SIZE], linetable[PREFIX_SIZE];
        if (!copied_prefix(codes->layout, checked, copy, known->name, name) ||
            !copied_prefix(codes->layout, checked, copy, known->filename, filename) ||
            !copied_prefix(codes->layout, checked, copy, known->linetable, linetable))
            return CODES_UNREAD;
        now.version = hash_prefixes(codes->layout, name, filename, linetable);
    }
    if (now.version != known->version)
        return CODES_UNKNOWN;
    known->generation = generation;
    *code = known->code;
    return CODES_KNOWN;
}

/* What a str's data is and where it lies. ONLOOKER_FAULT when this is no str we can read. */
static int str_data(const layout *layout, memory *source, uint64_t address,
                    const unsigned char *object, uint64_t *data, text *out)
{
    uint32_t state = load_u32(object, layout->unicode_state);
    out->length = load_u64(object, layout->unicode_length);
    out->kind = STATE_KIND(state);
    out->ascii = STATE_ASCII(state);
    if (out->length > TEXT_LIMIT || (out->kind != 1 && out->kind != 2 && out->kind != 4))
        return ONLOOKER_FAULT;
    /* Not compact (an instance of a subclass, up to 3.11 any str that was made in two steps): here
     * is a pointer to the data. */
    if (!STATE_COMPACT(state))
        return memory_read_u64(source, address + (uint64_t)layout->unicode_compact_data, data);
    *data = address +
            (uint64_t)(out->ascii ? layout->unicode_ascii_data : layout->unicode_compact_data);
    return ONLOOKER_OK;
}

/* Reads the first bytes of an object, less at the end of a page. */
static int read_prefix(const layout *layout, memory *source, uint64_t address,
                       unsigned char out[PREFIX_SIZE])
{
    uint32_t length = prefix_at(layout, address);
    memset(out + length, 0, PREFIX_SIZE - length);
    return memory_read(source, address, out, length);
}

/* Owner of a learnt text until it is stored. */
typedef struct draft {
    unsigned char *bytes;
    code_text text;
    uint64_t hash;
} draft;

static int read_text(const codes *codes, memory *source, identity *new, draft *out)
{
    const layout *layout = codes->layout;
    unsigned char name[PREFIX_SIZE], filename[PREFIX_SIZE], linetable[PREFIX_SIZE];
    int result;
    if ((result = read_prefix(layout, source, new->name, name)) != ONLOOKER_OK ||
        (result = read_prefix(layout, source, new->filename, filename)) != ONLOOKER_OK ||
        (result = read_prefix(layout, source, new->linetable, linetable)) != ONLOOKER_OK)
        return result;
    uint64_t name_data, filename_data, size = load_u64(linetable, layout->bytes_size);
    if ((result = str_data(layout, source, new->name, name, &name_data, &out->text.name)) !=
            ONLOOKER_OK ||
        (result = str_data(layout, source, new->filename, filename, &filename_data,
                           &out->text.filename)) != ONLOOKER_OK)
        return result;
    if (size > LINETABLE_LIMIT)
        return ONLOOKER_FAULT;
    size_t name_size = out->text.name.length * out->text.name.kind;
    size_t filename_size = out->text.filename.length * out->text.filename.kind;
    out->bytes = malloc(name_size + filename_size + size + 1);
    if (!out->bytes)
        return ONLOOKER_NO_MEMORY;
    unsigned char *at = out->bytes;
    if ((result = memory_read(source, name_data, at, name_size)) != ONLOOKER_OK ||
        (result = memory_read(source, filename_data, at + name_size, filename_size)) !=
            ONLOOKER_OK ||
        (result = memory_read(source, new->linetable + (uint64_t)layout->bytes_data,
                              at + name_size + filename_size, size)) != ONLOOKER_OK) {
        free(out->bytes);
        return result;
    }
    out->text.name.data = at;
    out->text.filename.data = at + name_size;
    out->text.linetable = at + name_size + filename_size;
    out->text.linetable_size = size;
    out->text.firstlineno = (int32_t)new->firstlineno;
    out->hash = hash_bytes(hash_u64(name_size << 32 ^ filename_size) ^ new->firstlineno, out->bytes,
                           name_size + filename_size + size);
    if (!has_version(codes))
        new->version = hash_prefixes(layout, name, filename, linetable);
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
    codes->entries[codes->entry_count] = (code_entry){draft->bytes, draft->text};
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
        codes->entries[i].bytes = NULL;
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
