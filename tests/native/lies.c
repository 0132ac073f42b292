#include "lies.h"

#include "cases.h"

uint32_t script_take(script *script, uint32_t bytes)
{
    uint32_t value = 0;
    for (; bytes && script->left; bytes--, script->bytes++, script->left--)
        value = value << 8 | *script->bytes;
    return value;
}

static const uint64_t EXTREMES[] = {
    0,
    1,
    8,
    0xfff,
    0x1000,
    0x1001,
    1 << 16,
    (1 << 26) + 1,
    INT32_MAX,
    UINT32_MAX,
    UINT64_C(1) << 32,
    (UINT64_C(1) << 47) - 8,
    (UINT64_C(1) << 56) - 8,
    UINT64_C(1) << 56,
    INT64_MAX,
    UINT64_MAX - 4096,
    UINT64_MAX - 64,
    UINT64_MAX - 7,
    UINT64_MAX,
};

static word_index take_word(script *script, memory *source)
{
    const word_index *words;
    uint32_t count = hostile_words_read(source, &words);
    return words[script_take(script, 2) % count];
}

static uint64_t take_extreme(script *script)
{
    return EXTREMES[script_take(script, 1) % (sizeof EXTREMES / sizeof *EXTREMES)];
}

static void change_word(script *script, memory *source)
{
    word_index at = take_word(script, source), other;
    uint64_t old = hostile_get(source, at);
    switch (script_take(script, 1) % 9) {
    case 0: /* what another word says */
        hostile_set(source, at, hostile_get(source, take_word(script, source)));
        break;
    case 1:
        other = take_word(script, source);
        hostile_set(source, at, hostile_get(source, other));
        hostile_set(source, other, old);
        break;
    case 2: /* a pointer to what was read: cycles, objects of other types */
        hostile_set(source, at, hostile_address(source, take_word(script, source)));
        break;
    case 3: /* ... or to nearly that */
        hostile_set(source, at,
                    hostile_address(source, take_word(script, source)) + script_take(script, 1));
        break;
    case 4: /* the end of a page that may have no next one */
        hostile_set(source, at,
                    PAGE_OF(hostile_address(source, take_word(script, source))) + PAGE_SIZE -
                        script_take(script, 1));
        break;
    case 5:
        hostile_set(source, at, take_extreme(script));
        break;
    case 6:
        hostile_set(source, at, old + script_take(script, 1) - 128);
        break;
    case 7:
        hostile_set(source, at, old ^ UINT64_C(1) << script_take(script, 1) % 64);
        break;
    default: /* one half only, such as a length or a state */
        hostile_set(source, at,
                    (old & UINT64_C(0xffffffff) << 32) | (uint32_t)take_extreme(script));
        break;
    }
}

void lies_in_words(script *script, memory *source)
{
    for (uint32_t changes = script_take(script, 1) % 12; changes; changes--)
        change_word(script, source);
}

void lies_in_offsets(script *script, int32_t *offsets, size_t count)
{
    for (uint32_t changes = script_take(script, 1) % 4; changes; changes--) {
        int32_t *offset = &offsets[script_take(script, 1) % count];
        switch (script_take(script, 1) % 4) {
        case 0:
            *offset = offsets[script_take(script, 1) % count];
            break;
        case 1:
            *offset = (int32_t)script_take(script, 1);
            break;
        case 2:
            *offset = (int32_t)script_take(script, 3);
            break;
        default:
            *offset = (int32_t)(uint32_t)take_extreme(script);
            break;
        }
    }
}

static void (*run_script)(script);

static void run_case(uint64_t number)
{
    uint8_t bytes[160];
    uint64_t random = number * 0x9e3779b97f4a7c15u;
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)hash_u64(random += 0xd1342543de82ef95u);
    run_script((script){bytes, sizeof bytes});
}

void lies_run_cases(uint64_t first, uint64_t count, void (*run)(script))
{
    run_script = run;
    cases_run(first, count, run_case);
}
