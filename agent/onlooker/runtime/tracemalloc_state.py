"""Where tracemalloc keeps its state, in a build with or without symbols.

The state is a few words in the interpreter's data, pointers to hash tables among them. From 3.12 on
it is a struct in _PyRuntime (Include/internal/pycore_tracemalloc.h), whose place differs between
patch releases. Before, its parts are static variables (Modules/_tracemalloc.c) that lie together,
in an order that the compiler chooses. So the data is searched for pointers to tables, and a table
is that of the traces if what it has are traces.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import pairwise
from typing import Final, NamedTuple

from onlooker.errors import MemoryFault, TargetGone
from onlooker.memory import Memory

from .blocks import Blocks
from .elf import LoadedElf
from .layouts import NONE
from .locate import Runtime
from .maps import image_starts, read_maps
from .states import read_word

TRACES_LIMIT: Final = 1 << 24
"""Entries of one table: more would take the agent gigabytes."""

TRACE: Final = struct.Struct("<QQ")
"""trace_t of CPython: a size in bytes, and the address of a traceback."""

_RUNTIME_BYTES: Final = 1 << 16  # of _PyRuntime: the struct began at 2,768 to 10,432
_DATA_LIMIT_BYTES: Final = 64 << 20
_PIECE_BYTES: Final = 8 << 20
_ADDRESS_LIMIT: Final = 1 << 47
_POINTERS_FROM: Final = 1 << 16  # nothing is mapped below
_MIN_BUCKETS: Final = 16  # HASHTABLE_MIN_SIZE of Python/hashtable.c
_TABLE_WORDS: Final = 5
_BUCKETS_BYTES: Final = 1 << 20
_FIRST_ENTRIES: Final = 16
_NEAR_WORDS: Final = 16  # what belongs together is no farther apart; 6 were seen
_CONFIG: Final = struct.Struct("<3i")  # struct _PyTraceMalloc_Config
_CONFIG_SYMBOL: Final = "_Py_tracemalloc_config"  # until 3.11
_INITIALIZED: Final = 1
_MAX_NFRAME: Final = 65535


class Table(NamedTuple):
    """A _Py_hashtable_t. ``key_size`` and ``data_size`` are in bytes, NONE where it has none."""

    nentries: int
    nbuckets: int
    buckets: int
    key_size: int
    data_size: int


class Counters(NamedTuple):
    """Bytes traced now, and at the peak."""

    traced: int
    peak: int


class State(NamedTuple):
    """The addresses of the tables, 0 where there is none; ``domains`` has more tables of traces.

    ``max_frames`` is how many frames a traceback has at most. ``counters`` has several where it
    is not known which: the right ones fit what the tables have.
    """

    max_frames: int
    traces: int
    domains: int
    counters: tuple[Counters, ...]


class _Config(NamedTuple):
    initialized: int
    tracing: int
    max_nframe: int

    @property
    def is_on(self) -> bool:
        return (
            self.initialized == _INITIALIZED
            and self.tracing == 1
            and 1 <= self.max_nframe <= _MAX_NFRAME
        )


_ANY_CONFIG: Final = _Config(_INITIALIZED, 1, _MAX_NFRAME)


def find_state(runtime: Runtime, memory: Memory) -> State | None:
    """Find the state of tracemalloc, None if it doesn't trace.

    ``memory`` is the target's, or a snapshot of it. Raises MemoryFault if it traces but its tables
    can't be found, and TargetGone.
    """
    offsets = runtime.layout.offsets
    image = _image(runtime, memory)
    if offsets["tracemalloc_traces"] != NONE:
        return _in_struct(runtime, memory, image)
    config = _symbol_config(memory, image)
    if config is None:
        # The tables have to tell: it is on if there are traces.
        with suppress(MemoryFault):
            state = _in_statics(memory, offsets, image, _ANY_CONFIG)
            return state if state.traces else None
        return None
    return _in_statics(memory, offsets, image, config) if config.is_on else None


def is_tracing(runtime: Runtime, memory: Memory) -> bool:
    """Whether the process runs tracemalloc: it can also be told while it allocates.

    Raises MemoryFault if it can't, and TargetGone.
    """
    offsets = runtime.layout.offsets
    image = _image(runtime, memory)
    if offsets["tracemalloc_traces"] != NONE:
        return _in_struct(runtime, memory, image) is not None
    config = _symbol_config(memory, image)
    return config.is_on if config else find_state(runtime, memory) is not None


def read_table(memory: Memory, offsets: Mapping[str, int], address: int) -> Table:
    """Read what a table says of itself. Raises MemoryFault if there can be none."""
    words = struct.unpack(f"<{_TABLE_WORDS}Q", memory.read(address, 8 * _TABLE_WORDS))
    table = Table(
        *(
            words[offsets[column] // 8] if offsets[column] != NONE else NONE
            for column in (f"hashtable_{name}" for name in Table._fields)
        )
    )
    if (
        not _MIN_BUCKETS <= table.nbuckets <= 4 * TRACES_LIMIT
        or table.nbuckets & (table.nbuckets - 1)
        or table.nentries > min(table.nbuckets, TRACES_LIMIT)
        or not _is_pointer(table.buckets)
    ):
        raise MemoryFault(f"there is no table at {address:#x}")
    return table


def _in_struct(runtime: Runtime, memory: Memory, image: LoadedElf) -> State | None:
    offsets = runtime.layout.offsets
    start = runtime.runtime_address
    places = [(start, start + _RUNTIME_BYTES)]
    for place, traces, _ in _tables(memory, offsets, image, places):
        state = place - offsets["tracemalloc_traces"]
        with suppress(MemoryFault):
            config = _read_config(memory, state + offsets["tracemalloc_config"])
            traced, peak, filenames, tracebacks, domains = (
                read_word(memory, state + offsets[f"tracemalloc_{name}"])
                for name in (
                    *("traced_memory", "peak_traced_memory"),
                    *("filenames", "tracebacks", "domains"),
                )
            )
            for table in (filenames, tracebacks, domains):
                read_table(memory, offsets, table)
            if config.is_on and len({traces, filenames, tracebacks, domains}) == 4:
                return State(config.max_nframe, traces, domains, (Counters(traced, peak),))
    return None


def _in_statics(
    memory: Memory, offsets: Mapping[str, int], image: LoadedElf, config: _Config
) -> State:
    tables = list(_tables(memory, offsets, image, image.writable))
    for place, traces, table in tables:
        if not _has_traces(memory, offsets, table, config):
            continue
        near = [
            (address, other)
            for at, address, other in tables
            if abs(at - place) <= 8 * _NEAR_WORDS and address != traces
        ]
        domains = [address for address, other in near if _has_tables(memory, offsets, other)]
        return State(
            config.max_nframe, traces, domains[0] if domains else 0, _counters(memory, place)
        )
    if tables and not any(table.nentries for _, _, table in tables):
        return State(config.max_nframe, 0, 0, (Counters(0, 0),))
    raise MemoryFault("the process runs tracemalloc, but its tables can't be found")


def _image(runtime: Runtime, memory: Memory) -> LoadedElf:
    """The program or library that holds the interpreter."""
    try:
        regions = read_maps(runtime.pid)
    except OSError:
        regions = []
    for region in image_starts(regions, runtime.identity.executable):
        with suppress(ValueError, MemoryFault):
            image = LoadedElf(memory, region.start)
            if any(start <= runtime.runtime_address < end for start, end in image.writable):
                return image
    raise TargetGone(f"process {runtime.pid} has ended or has replaced itself by another program")


def _tables(
    memory: Memory,
    offsets: Mapping[str, int],
    image: LoadedElf,
    places: Sequence[tuple[int, int]],
) -> Iterator[tuple[int, int, Table]]:
    """Yield the tables that a word in these places points to: that word's address first."""
    blocks = Blocks(memory)
    for start, end in places:
        start = -(-start // 8) * 8
        words = _words(memory, start, min(end - start, _DATA_LIMIT_BYTES) // 8)
        for index, word in enumerate(words):
            # Tables are allocated: most pointers lead to the image itself.
            if _is_pointer(word) and not image.base <= word < image.end:
                with suppress(MemoryFault):
                    yield start + 8 * index, word, read_table(blocks, offsets, word)


def _has_traces(memory: Memory, offsets: Mapping[str, int], table: Table, config: _Config) -> bool:
    """Whether the first entries of a table are traces."""
    if table.data_size != NONE:
        # In the entries: after a key with a domain or without one, a trace.
        return table.key_size in (8, 12) and table.data_size == TRACE.size and table.nentries > 0
    width = offsets["traceback_nframe_bytes"]
    values = _first_values(memory, offsets, table)
    try:
        for value in values:
            size, traceback = TRACE.unpack(memory.read(value, TRACE.size))
            raw = memory.read(traceback + offsets["traceback_nframe"], width)
            if (
                size >= _ADDRESS_LIMIT
                or not 1 <= int.from_bytes(raw, "little") <= config.max_nframe
            ):
                return False
    except MemoryFault:
        return False
    return bool(values)


def _has_tables(memory: Memory, offsets: Mapping[str, int], table: Table) -> bool:
    """Whether the first entries of a table are tables."""
    if table.data_size != NONE:
        return False
    values = _first_values(memory, offsets, table)
    try:
        for value in values:
            read_table(memory, offsets, value)
    except MemoryFault:
        return False
    return bool(values)


def _first_values(memory: Memory, offsets: Mapping[str, int], table: Table) -> list[int]:
    """The values of some of its entries; 0 for those of a set."""
    try:
        # Addresses lie together, and so do their buckets: the first thousands may be empty.
        for start in range(0, 8 * table.nbuckets if table.nentries else 0, _BUCKETS_BYTES):
            length = min(_BUCKETS_BYTES, 8 * table.nbuckets - start)
            words = array("Q", memory.read(table.buckets + start, length))
            heads = [word for word in words if word][:_FIRST_ENTRIES]
            if heads:
                return [read_word(memory, head + offsets["hashtableentry_value"]) for head in heads]
    except MemoryFault:
        pass
    return []


def _counters(memory: Memory, place: int) -> tuple[Counters, ...]:
    """All pairs of neighbours around a place, in whatever order, that could be the counters."""
    words = _words(memory, place - 8 * _NEAR_WORDS, 2 * _NEAR_WORDS + 1)
    return tuple(
        Counters(min(pair), max(pair)) for pair in pairwise(words) if max(pair) < _ADDRESS_LIMIT
    )


def _symbol_config(memory: Memory, image: LoadedElf) -> _Config | None:
    """The configuration, None if the build has no symbol for it."""
    symbol = image.symbols([_CONFIG_SYMBOL]).get(_CONFIG_SYMBOL)
    return _read_config(memory, symbol) if symbol else None


def _read_config(memory: Memory, address: int) -> _Config:
    return _Config(*_CONFIG.unpack(memory.read(address, _CONFIG.size)))


def _words(memory: Memory, address: int, count: int) -> array[int]:
    """Words of the interpreter's data; those that can't be read are zeros."""
    words = array("Q")
    for start in range(0, 8 * count, _PIECE_BYTES):
        length = min(_PIECE_BYTES, 8 * count - start)
        try:
            words.frombytes(memory.read(address + start, length))
        except MemoryFault:
            words.frombytes(bytes(length))
    return words


def _is_pointer(word: int) -> bool:
    return _POINTERS_FROM <= word < _ADDRESS_LIMIT and word % 8 == 0
