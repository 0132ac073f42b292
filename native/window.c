#include "window.h"

int window_read(memory *source, window *window, uint64_t address, uint32_t size,
                const unsigned char **out)
{
    if (address < window->start || address >= window->end || window->end - address < size) {
        uint64_t start = PAGE_OF(address), end = PAGE_OF(address + size - 1) + PAGE_SIZE;
        window->start = window->end = 0;
        if (address < PAGE_SIZE || end < start)
            return ONLOOKER_FAULT;
        int result = memory_read(source, start, window->bytes, end - start);
        if (result != ONLOOKER_OK)
            return result;
        window->start = start;
        window->end = end;
    }
    *out = window->bytes + (address - window->start);
    return ONLOOKER_OK;
}
