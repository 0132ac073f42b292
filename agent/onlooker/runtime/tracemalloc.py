"""Reading the traces of tracemalloc from outside: what each traceback has allocated and not freed.

CPython keeps them in hash tables with a list for each bucket (Python/hashtable.c): a table from the
address of a block to its size and its traceback, and one such table for each domain that extensions
use. Until 3.8 there is one table for all domains, and its entries hold the trace itself.

The tables change whenever the target allocates, so that they are best read from a snapshot. Of a
process that runs, what has been read counts only if it adds up.
"""

from __future__ import annotations

import struct
from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator
from typing import Final, NamedTuple

from onlooker.errors import MemoryFault
from onlooker.memory import Memory

from .blocks import Blocks
from .layouts import NONE, Layout
from .locate import Runtime
from .objects import Objects
from .tracemalloc_state import TRACE, State, Table, find_state, read_table

Frames = tuple[tuple[str, int], ...]
"""File names and lines, the innermost first: functions are not traced."""

_WINDOW_BYTES: Final = 1 << 16
_BUCKETS_AT_ONCE: Final = 1 << 20
_CHAIN_LIMIT: Final = 1 << 12  # entries of one bucket: there are never more than buckets
_DOMAINS_LIMIT: Final = 1 << 12
_FILENAME_LIMIT: Final = 4096
_PAGE: Final = 4096
_ATTEMPTS: Final = 5
_NAME_PIECE: Final = 256
_UNREADABLE: Final[Frames] = (("<unreadable>", 0),)


class Trace(NamedTuple):
    """Blocks of one size that one traceback has allocated. ``size`` is in bytes, of each."""

    size: int
    blocks: int
    frames: Frames
    domain: int


class TracedMemory(NamedTuple):
    """What tracemalloc knows. ``is_exact`` tells that the traces add up to ``traced_bytes``."""

    traced_bytes: int
    peak_bytes: int
    max_frames: int
    traces: list[Trace]
    is_exact: bool


def read_tracemalloc(runtime: Runtime, memory: Memory) -> TracedMemory | None:
    """Read all traces, None if the process doesn't trace.

    ``memory`` is the target's, or a snapshot of it. The list is in no order. Raises MemoryFault if
    the tables are no such tables, or change faster than they can be read, as those of a snapshot
    do if it was taken in the middle of a change; and TargetGone.
    """
    tables = TraceTables(runtime.layout, memory)
    before: Counter[Key] | None = None
    fault = MemoryFault("the target allocates faster than its traces can be read")
    for _ in range(_ATTEMPTS):
        state = find_state(runtime, memory)
        if state is None:
            return None
        try:
            counts = tables.count(state)
        except MemoryFault as error:
            fault = error
            continue
        total = sum(size * count for (_, size, _), count in counts.items())
        traced, peak = min(state.counters, key=lambda it: (abs(it.traced - total), it.peak))
        # A snapshot may have been taken between an entry and the counter: it stays as it is.
        if traced == total or counts == before:
            traces = tables.named(counts, state.max_frames)
            return TracedMemory(traced, peak, state.max_frames, traces, traced == total)
        before = counts
    raise fault


Key = tuple[int, int, int]
"""A domain, a size in bytes, and the address of a traceback."""


class TraceTables:
    """The tables of traces in a memory, as a layout has them."""

    def __init__(self, layout: Layout, memory: Memory) -> None:
        self._memory = memory
        self._layout = layout
        self._offsets = layout.offsets

    def count(self, state: State) -> Counter[Key]:
        """How many blocks there are of each kind. Raises MemoryFault."""
        counts: Counter[Key] = Counter()
        if not state.traces:
            return counts
        if self._offsets["hashtable_data_size"] != NONE:
            self._count_with_data(counts, state.traces)
            return counts
        tables = {0: state.traces}
        for batch in self._entries(state.domains, self._entry) if state.domains else ():
            tables.update((domain, table) for _, domain, table in batch)
        if len(tables) > _DOMAINS_LIMIT:
            raise MemoryFault(f"{len(tables)} domains of traces")
        for domain, table in tables.items():
            traces: list[int] = []
            for batch in self._entries(table, self._entry):
                traces += [value for _, _, value in batch]
            for found in _gather(self._memory, traces, TRACE):
                counts.update([(domain, size, traceback) for size, traceback in found])
        return counts

    def _count_with_data(self, counts: Counter[Key], address: int) -> None:
        """Count what a table has whose entries hold the traces and, if need be, the domains."""
        table = read_table(self._memory, self._offsets, address)
        pad = self._offsets["hashtableentry_key"] - 8
        if table.key_size == 8:
            for batch in self._entries(address, struct.Struct(f"<Q{pad}x8xQQ")):
                counts.update([(0, size, traceback) for _, size, traceback in batch])
        else:
            for batch in self._entries(address, struct.Struct(f"<Q{pad}x8xIQQ")):
                counts.update([(domain, size, traceback) for _, domain, size, traceback in batch])

    @property
    def _entry(self) -> struct.Struct:
        """What follows in its bucket, the key and the value of an entry."""
        key, value = self._offsets["hashtableentry_key"], self._offsets["hashtableentry_value"]
        return struct.Struct(f"<Q{key - 8}xQ{value - key - 8}xQ")

    def _entries(self, address: int, shape: struct.Struct) -> Iterator[list[tuple[int, ...]]]:
        """Yield all entries of a table, in batches. Raises MemoryFault if there are not as many."""
        table = read_table(self._memory, self._offsets, address)
        found = 0
        addresses = self._heads(table)
        for _ in range(_CHAIN_LIMIT):
            following: list[int] = []
            for batch in _gather(self._memory, addresses, shape):
                found += len(batch)
                following += [entry[0] for entry in batch if entry[0]]
                yield batch
            addresses = following
            if not addresses or found > table.nentries:
                break
        if addresses or found != table.nentries:
            raise MemoryFault(
                f"the table at {address:#x} has {found} entries instead of {table.nentries}:"
                " it is being changed"
            )

    def _heads(self, table: Table) -> list[int]:
        heads: list[int] = []
        for start in range(0, table.nbuckets, _BUCKETS_AT_ONCE):
            count = min(_BUCKETS_AT_ONCE, table.nbuckets - start)
            words = array("Q", self._memory.read(table.buckets + 8 * start, 8 * count))
            heads += [word for word in words if word]
        return heads

    def named(self, counts: Counter[Key], max_frames: int) -> list[Trace]:
        """What was counted, with the tracebacks' frames. Those that can't be read have one."""
        names = _Tracebacks(self._memory, self._layout, max_frames)
        # By rising address, so that each part of memory is read once.
        frames = {at: names.frames(at) for at in sorted({at for _, _, at in counts})}
        return [
            Trace(size, count, frames[traceback], domain)
            for (domain, size, traceback), count in counts.items()
        ]


class _Tracebacks:
    """Reads tracebacks, and the names of files in them."""

    def __init__(self, memory: Memory, layout: Layout, max_frames: int) -> None:
        self._memory = Blocks(memory)
        self._offsets = offsets = layout.offsets
        self._objects = Objects(self._memory, layout)
        self._max_frames = max_frames
        self._names: dict[int, str] = {}
        name, line = offsets["tracebackframe_filename"], offsets["tracebackframe_lineno"]
        rest = offsets["tracebackframe_size"] - line - 4
        self._frame = struct.Struct(f"<{name}xQ{line - name - 8}xI{rest}x")

    def frames(self, address: int) -> Frames:
        """The frames of the traceback at this address."""
        try:
            at, width = self._offsets["traceback_nframe"], self._offsets["traceback_nframe_bytes"]
            count = int.from_bytes(self._memory.read(address + at, width), "little")
            if not 0 < count <= self._max_frames:
                return _UNREADABLE
            start = address + self._offsets["traceback_frames"]
            raw = self._memory.read(start, count * self._frame.size)
        except MemoryFault:
            return _UNREADABLE
        return tuple((self._name(name), line) for name, line in self._frame.iter_unpack(raw))

    def _name(self, address: int) -> str:
        name = self._names.get(address)
        if name is None:
            try:
                name = self._text(address)
            except MemoryFault:
                name = _UNREADABLE[0][0]
            self._names[address] = name
        return name

    def _text(self, address: int) -> str:
        if not self._offsets["tracebackframe_filename_is_utf8"]:
            return self._objects.string(address, _FILENAME_LIMIT)
        text = b""
        while b"\0" not in text and len(text) < _FILENAME_LIMIT:
            start = address + len(text)
            text += self._memory.read(start, min(_NAME_PIECE, _PAGE - start % _PAGE))
        return text.partition(b"\0")[0].decode("utf-8", "surrogatepass")


def _gather(
    memory: Memory, addresses: list[int], shape: struct.Struct
) -> Iterator[list[tuple[int, ...]]]:
    """Yield what is at each of the addresses, in batches, by rising address."""
    addresses.sort()
    at = 0
    while at < len(addresses):
        # One read for all that lies close together.
        end = bisect_right(addresses, addresses[at] + _WINDOW_BYTES - shape.size, at)
        yield _window(memory, addresses[at:end], shape)
        at = end


def _window(memory: Memory, addresses: list[int], shape: struct.Struct) -> list[tuple[int, ...]]:
    start = addresses[0]
    try:
        data = memory.read(start, addresses[-1] - start + shape.size)
    except MemoryFault:
        if len(addresses) == 1:
            raise
        # There is a gap between them.
        half = len(addresses) // 2
        return _window(memory, addresses[:half], shape) + _window(memory, addresses[half:], shape)
    unpack = shape.unpack_from
    return [unpack(data, address - start) for address in addresses]
