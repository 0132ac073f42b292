"""What resident memory is made of."""

from onlooker.observe.heap import MallocArena
from onlooker.observe.memory_rows import Mapping, Mappings, malloc_arenas
from onlooker.runtime.maps import parse_region

MIB = 1 << 20


def test_what_is_not_resident_of_an_arena_is_free() -> None:
    lines = (
        "10000000-10a00000 rw-p 00000000 00:00 0 [heap]",
        "7f0000000000-7f0000a00000 rw-p 00000000 00:00 0",  # where an arena may be, and is none
        "7f0100001000-7f0100a01000 rw-p 00000000 00:00 0",
    )
    chunks = {0x10000000: MallocArena(6 * MIB, 4 * MIB), 0x7F0100001000: MallocArena(MIB, MIB)}
    for resident_mib, expected in (
        (10, MallocArena(6 * MIB, 4 * MIB)),
        (8, MallocArena(6 * MIB, 2 * MIB)),
        (5, MallocArena(5 * MIB, 0)),
    ):
        found = [Mapping(parse_region(line), resident_mib * MIB) for line in lines]
        told = malloc_arenas(
            Mappings(found, []), lambda start, _: chunks.get(start, MallocArena(0, 0))
        )
        assert told == expected
