/* What a recorder has counted, for who asks. */
#include "state.h"

const node *recorder_nodes(const recorder *recorder, uint32_t *count)
{
    *count = recorder->stacks.node_count;
    return recorder->stacks.nodes;
}

const row *recorder_rows(const recorder *recorder, uint32_t *count)
{
    *count = recorder->stacks.row_count;
    return recorder->stacks.rows;
}

const thread_record *recorder_threads(const recorder *recorder, uint32_t *count)
{
    *count = recorder->threads.record_count;
    return recorder->threads.records;
}

const counters *recorder_counters(const recorder *recorder)
{
    return &recorder->counters;
}

const uint32_t *recorder_pauses_ns(const recorder *recorder, uint64_t *count, uint32_t *capacity)
{
    *count = recorder->counters.paused;
    *capacity = PAUSES_KEPT;
    return recorder->reader.pauses_ns;
}

uint32_t recorder_code_count(const recorder *recorder)
{
    return recorder->walker.codes.entry_count;
}

int recorder_code(const recorder *recorder, uint32_t index, code_text *out)
{
    return codes_text(&recorder->walker.codes, index, out);
}

void recorder_release_codes(recorder *recorder, uint32_t below)
{
    codes_release(&recorder->walker.codes, below);
}
