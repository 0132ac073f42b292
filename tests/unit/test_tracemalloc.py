"""Tables of traces that lie: they are read in bounded time, or refused."""

import random
import struct
from collections import Counter
from types import MappingProxyType

import pytest
from onlooker.errors import MemoryFault
from onlooker.runtime.layout_rows import NONE, ROWS
from onlooker.runtime.layouts import Layout
from onlooker.runtime.tracemalloc import TraceTables
from onlooker.runtime.tracemalloc_state import Counters, State

BASE = 1 << 20
LAYOUT_WITH_VALUES, LAYOUT_WITH_DATA = (
    Layout(
        0,
        MappingProxyType({name: at for name, at in ROWS[minor].items() if isinstance(at, int)}),
        "lnotab",
    )
    for minor in ((3, 9), (3, 8))
)
TABLE, TRACE, TRACEBACK = BASE, BASE + 0x10000, BASE + 0x20000
BUCKETS, ENTRIES = BASE + 0x1000, BASE + 0x4000


class Bytes:
    """Memory that is one piece; it counts how often it is read."""

    def __init__(self, size: int = 1 << 18) -> None:
        self.data = bytearray(size)
        self.reads = 0

    def read(self, address: int, length: int) -> bytes:
        self.reads += 1
        at = address - BASE
        if not 0 <= at <= len(self.data) - length:
            raise MemoryFault(f"nothing is at {address:#x}")
        return bytes(self.data[at : at + length])

    def put(self, address: int, *words: int) -> None:
        struct.pack_into(f"<{len(words)}Q", self.data, address - BASE, *words)


def table(entries: int, buckets: int = 16) -> Bytes:
    """A table with traces of 64 bytes from one traceback, each in a bucket of its own."""
    memory = Bytes()
    memory.put(TABLE, entries, buckets, BUCKETS)
    for number in range(entries):
        entry = ENTRIES + 32 * number
        memory.put(BUCKETS + 8 * (number % buckets), entry)
        memory.put(entry, 0, 0, number, TRACE)
    memory.put(TRACE, 64, TRACEBACK)
    return memory


def counted(memory: Bytes, layout: Layout = LAYOUT_WITH_VALUES) -> Counter[tuple[int, int, int]]:
    state = State(25, TABLE, 0, (Counters(0, 0),))
    return TraceTables(layout, memory).count(state)


def test_sound_table() -> None:
    assert counted(table(9)) == {(0, 64, TRACEBACK): 9}


def test_entries_with_data() -> None:
    """As of 3.8: a key with a domain or without one, then the trace itself."""
    for key_size, rest in ((8, b""), (12, struct.pack("<I", 7))):
        memory = Bytes()
        columns = LAYOUT_WITH_DATA.offsets
        for name, value in (
            *(("nentries", 1), ("nbuckets", 16), ("buckets", BUCKETS)),
            *(("key_size", key_size), ("data_size", 16)),
        ):
            memory.put(TABLE + columns[f"hashtable_{name}"], value)
        memory.put(BUCKETS + 24, ENTRIES)
        entry = struct.pack("<QQQ", 0, 5, 0x1234) + rest + struct.pack("<QQ", 300, TRACEBACK)
        memory.data[ENTRIES - BASE : ENTRIES - BASE + len(entry)] = entry
        assert counted(memory, LAYOUT_WITH_DATA) == {(7 if rest else 0, 300, TRACEBACK): 1}


@pytest.mark.parametrize(
    "words",
    [
        (9, 15, BUCKETS),  # no power of two
        (9, 8, BUCKETS),
        (17, 16, BUCKETS),
        (9, 1 << 40, BUCKETS),
        (1 << 63, 1 << 62, BUCKETS),
        (9, 16, 0),
        (9, 16, BUCKETS + 1),
        (9, 16, 1 << 50),
        (9, 1 << 20, BUCKETS),  # whose buckets go beyond what is mapped
        (8, 16, BUCKETS),  # one entry more than it says
        (10, 16, BUCKETS),  # and one fewer
    ],
)
def test_table_that_lies(words: tuple[int, ...]) -> None:
    memory = table(9)
    memory.put(TABLE, *words)
    with pytest.raises(MemoryFault):
        counted(memory)
    assert memory.reads < 100


def test_entries_in_a_circle() -> None:
    memory = table(9)
    memory.put(ENTRIES, ENTRIES)
    with pytest.raises(MemoryFault):
        counted(memory)
    assert memory.reads < 50
    memory.put(TABLE, 1 << 15, 1 << 15)  # so that there could be as many
    memory.put(ENTRIES + 32, ENTRIES + 64)
    memory.put(ENTRIES + 64, ENTRIES + 32)
    with pytest.raises(MemoryFault):
        counted(memory)
    assert memory.reads < 20_000


def test_trace_that_is_nowhere() -> None:
    memory = table(9)
    memory.put(ENTRIES + 24, 0x10)
    with pytest.raises(MemoryFault):
        counted(memory)


@pytest.mark.parametrize(
    ("count", "file"), [(0, TRACEBACK), (26, TRACEBACK), (65535, TRACEBACK), (2, 0x10), (2, 0)]
)
def test_traceback_that_lies_is_shown_as_unreadable(count: int, file: int) -> None:
    memory = table(9)
    struct.pack_into("<QHHQI", memory.data, TRACEBACK - BASE, 0, count, count, file, 5)
    tables = TraceTables(LAYOUT_WITH_VALUES, memory)
    (trace,) = tables.named(counted(memory), 25)
    assert {name for name, _ in trace.frames} == {"<unreadable>"}
    assert len(trace.frames) <= 25
    assert (trace.size, trace.blocks) == (64, 9)


@pytest.mark.parametrize("layout", [LAYOUT_WITH_VALUES, LAYOUT_WITH_DATA], ids=["3.9", "3.8"])
def test_random_damage(layout: Layout) -> None:
    choose = random.Random(7)
    assert layout.offsets["hashtable_buckets"] != NONE
    for _ in range(300):
        memory = table(200, 256)
        for _ in range(choose.randrange(1, 60)):
            at = choose.choice([TABLE, BUCKETS, ENTRIES, TRACE, TRACEBACK])
            word = choose.choice(
                [0, 1, ENTRIES, TABLE, choose.getrandbits(64), choose.getrandbits(18) + BASE]
            )
            memory.put(at + 8 * choose.randrange(300), word)
        try:
            counts = counted(memory, layout)
            TraceTables(layout, memory).named(counts, 25)
        except MemoryFault:
            pass
        assert memory.reads < 50_000
