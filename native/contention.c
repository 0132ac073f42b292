#include "contention.h"

static contended_lock *find(contention *contention, uint64_t address, bool is_gil)
{
    for (uint32_t i = 0; i < contention->count; i++)
        if (contention->locks[i].address == address)
            return &contention->locks[i];
    if (contention->count == CONTENTION_LIMIT)
        return NULL;
    contended_lock *new = &contention->locks[contention->count++];
    *new = (contended_lock){.address = address, .is_gil = is_gil, .holder_row = UINT32_MAX};
    return new;
}

void contention_wait(contention *contention, uint64_t lock, bool is_gil, uint64_t elapsed_ns,
                     bool begun)
{
    contended_lock *found = find(contention, lock, is_gil);
    if (!found)
        return;
    found->waits += begun;
    found->waited_ns += elapsed_ns;
}

void contention_hold(contention *contention, uint64_t gil, uint32_t row)
{
    contended_lock *found = find(contention, gil, true);
    if (found)
        found->holder_row = row;
}

void contention_settle(contention *contention, stacks *stacks)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < contention->count; i++) {
        contended_lock *found = &contention->locks[i];
        if (found->holder_row != UINT32_MAX) {
            row *row = &stacks->rows[found->holder_row];
            row->held_up += found->waits;
            row->held_up_ns += found->waited_ns;
            found->waits = 0;
            found->waited_ns = 0;
            found->holder_row = UINT32_MAX;
        }
        if (found->is_gil)
            contention->locks[kept++] = *found;
    }
    contention->count = kept;
}
