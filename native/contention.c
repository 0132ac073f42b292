#include "contention.h"

static gil_contention *find(contention *contention, uint64_t gil)
{
    for (uint32_t i = 0; i < contention->count; i++)
        if (contention->gils[i].gil == gil)
            return &contention->gils[i];
    if (contention->count == GIL_LIMIT)
        return NULL;
    gil_contention *new = &contention->gils[contention->count++];
    *new = (gil_contention){.gil = gil, .holder_row = UINT32_MAX};
    return new;
}

void contention_wait(contention *contention, uint64_t gil, uint64_t elapsed_ns, bool begun)
{
    gil_contention *found = find(contention, gil);
    if (!found)
        return;
    found->waits += begun;
    found->waited_ns += elapsed_ns;
}

void contention_hold(contention *contention, uint64_t gil, uint32_t row)
{
    gil_contention *found = find(contention, gil);
    if (found)
        found->holder_row = row;
}

void contention_settle(contention *contention, stacks *stacks)
{
    for (uint32_t i = 0; i < contention->count; i++) {
        gil_contention *found = &contention->gils[i];
        if (found->holder_row == UINT32_MAX)
            continue;
        row *row = &stacks->rows[found->holder_row];
        row->held_up += found->waits;
        row->held_up_ns += found->waited_ns;
        *found = (gil_contention){.gil = found->gil, .holder_row = UINT32_MAX};
    }
}
