/* codes.h: the code objects seen. A code object may be freed and its address, and the addresses of
 * its name and file, reused by the next one; so an address is trusted only while what tells code
 * objects apart is unchanged: the interpreter's count of freed code objects (3.14+), co_version
 * (3.12+), else the leading bytes of name, file and line table themselves. */
#ifndef ONLOOKER_CODES_H
#define ONLOOKER_CODES_H

#include "map.h"
#include "memory.h"
#include "ranges.h"
#include "recorder.h"

/* The index of a code object that is the interpreter's own (_Py_InitCleanup, which from 3.13 on
 * stands between a class and its `__init__`): Python's tracebacks hide it too. */
#define CODES_HIDDEN UINT32_MAX

/* What is known of the code object at an address. */
typedef struct identity {
    uint64_t address;
    uint64_t name, filename, linetable;
    uint64_t version;                                  /* co_version, or a hash of leading bytes */
    uint32_t name_size, filename_size, linetable_size; /* of the objects, as far as compared */
    uint32_t firstlineno;
    uint32_t code;       /* index of its text */
    uint64_t generation; /* confirmed while the interpreter's generation was this; 0: never */
} identity;

typedef struct code_entry {
    unsigned char *bytes; /* name, filename, line table; NULL when released */
    uint64_t size;        /* of them */
    code_text text;
} code_entry;

typedef struct codes {
    const layout *layout;
    uint64_t code_type;
    uint32_t head_size; /* bytes of a code object that hold all fields we read */
    identity *identities;
    uint32_t identity_count, identity_capacity;
    map by_address; /* -> identities */
    code_entry *entries;
    uint32_t entry_count, entry_capacity;
    map by_content;     /* hash of the text -> entries */
    uint64_t kept_size; /* bytes of all texts that are not released */
} codes;

/* Answers of codes_check. */
enum codes_answer {
    CODES_KNOWN,   /* *CODE is the index, or CODES_HIDDEN */
    CODES_UNKNOWN, /* never seen, or another one by now: codes_learn it and look again */
    CODES_UNREAD,  /* its bytes are not in CHECKED: codes_want them and look again */
};

bool codes_init(codes *codes, const layout *layout, uint64_t code_type);

/* Which code object lies at ADDRESS, given CHECKED and its COPY: bytes read while the frame was
 * verifiably executing it. GENERATION is the interpreter's, read at the same time; 0: it has
 * none. */
enum codes_answer codes_check(codes *codes, uint64_t address, uint64_t generation,
                              const ranges *checked, const unsigned char *copy, uint32_t *code);

/* Adds the bytes that codes_check compares for the code object at ADDRESS. */
bool codes_want(const codes *codes, uint64_t address, ranges *checked);

/* Reads the text of the code object at ADDRESS. It counts only once codes_check confirms it.
 * ONLOOKER_OK; ONLOOKER_FAULT when this is no code object, or when there is no room for its text
 * until others are released; or as memory_readv. */
int codes_learn(codes *codes, memory *source, uint64_t address);

bool codes_text(const codes *codes, uint32_t index, code_text *out);
void codes_release(codes *codes, uint32_t below);
void codes_free(codes *codes);

#endif
