"""Memory as it was at one moment, or else the knowledge that it was not."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Final

from onlooker.errors import MemoryFault
from onlooker.memory import READ_LIMIT_BYTES, Memory, ProcessMemory

_BLOCK: Final = 1 << 14
_PAGE: Final = 1 << 12
_BLOCKS_LIMIT: Final = 1 << 13  # 128 MiB


# What one call that reads many pieces takes: longer, and the target had time to come back to
# where it was.
_CALL_NS: Final = 40_000
_SPAN_NS: Final = 1_000
_HOLDS_ATTEMPTS: Final = 12  # what takes longer is mostly that we lost our CPU
# Slow machines are slow always, and so are their targets: after this many calls without a quick
# one, one is quick that takes little longer than the quickest of them.
_SLOW_CALLS: Final = 8
_SLOW_FACTOR: Final = 1.5
_SLOWEST: Final = 64  # times as long
_MERGE_GAP: Final = 1024  # bytes that are cheaper to copy along than to leave out


class Traced:
    """Reads that are remembered, so that ``holds`` can tell whether all were true at one moment.

    For what changes all the time: reading twice and finding the same does not prove much then, if
    there was time enough between to change and to change back.
    """

    def __init__(self, memory: ProcessMemory) -> None:
        self._memory = memory
        self._pieces: dict[tuple[int, int], bytes] = {}
        self._slow: list[float] = []  # calls since the last quick one: their time, in such a one's

    def read(self, address: int, length: int) -> bytes:
        """Return exactly ``length`` bytes at ``address``, else raise MemoryFault."""
        data = self._memory.read(address, length)
        # What differs from before makes all of it untrue.
        if self._pieces.setdefault((address, length), data) != data:
            raise MemoryFault(f"the bytes at {address:#x} have just changed")
        return data

    @property
    def pieces(self) -> Mapping[tuple[int, int], bytes]:
        """What was read, by where and how much."""
        return self._pieces

    def forget(self) -> None:
        """Begin anew."""
        self._pieces.clear()

    def holds(self) -> bool:
        """Whether all that was read is still there, twice within microseconds."""
        spans, places = self._spans()
        size = sum(length for _, length in spans)
        limit_ns = _CALL_NS + 2 * _SPAN_NS * (len(spans) + size // _PAGE)
        for _ in range(_HOLDS_ATTEMPTS):
            began_ns = time.perf_counter_ns()
            try:
                found = self._memory.read_at_once(spans * 2)
            except MemoryFault:
                return False
            ratio = (time.perf_counter_ns() - began_ns) / limit_ns
            for at, data in zip(places, self._pieces.values(), strict=True):
                if not found.startswith(data, at) or not found.startswith(data, size + at):
                    return False
            if self._is_quick(ratio):
                return True
        return False

    def _is_quick(self, ratio: float) -> bool:
        if ratio < 1:
            self._slow.clear()
            return True
        self._slow.append(ratio)
        return len(self._slow) > _SLOW_CALLS and ratio < min(
            _SLOWEST, _SLOW_FACTOR * min(self._slow)
        )

    def _spans(self) -> tuple[list[tuple[int, int]], list[int]]:
        """The spans of memory that the pieces are in, and where in them each piece is."""
        spans: list[tuple[int, int]] = []
        places: dict[tuple[int, int], int] = {}
        before = start = end = 0  # bytes of spans before the last, and where that is
        for address, length in sorted(self._pieces):
            # What lies between must not be a page that may not be mapped.
            pages = address // _PAGE - (end - 1) // _PAGE
            if not spans or address > end + _MERGE_GAP or (address > end and pages > 1):
                before += end - start
                start = end = address
                spans.append((start, 0))
            end = max(end, address + length)
            spans[-1] = (start, end - start)
            places[address, length] = before + address - start
        return spans, [places[piece] for piece in self._pieces]


class Blocks:
    """Reads a target in large pieces, each of them once, and can tell whether they changed since.

    A small object costs a slice instead of a system call. What was read and has not changed by the
    time that ``changed`` looks was all true at one moment: between the last read and that look.
    """

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._blocks: dict[int, bytes] = {}
        self._pages: dict[int, bytes] = {}  # of blocks that can't be read whole
        self._forgot = False

    def read(self, address: int, length: int) -> bytes:
        """Return exactly ``length`` bytes at ``address``, else raise MemoryFault."""
        at = address & (_BLOCK - 1)
        if 0 < length <= _BLOCK - at:
            block = self._blocks.get(address - at)
            if block is None:
                block = self._load(address - at)
            if block:
                return block[at : at + length]
            return self._from_pages(address, length)
        if not 0 <= length <= READ_LIMIT_BYTES or address < 0:
            raise MemoryFault(f"{length} bytes at {address:#x} can't be a structure of the target")
        pieces = []
        end = address + length
        while address < end:
            step = min(end - address, _BLOCK - address % _BLOCK)
            pieces.append(self.read(address, step))
            address += step
        return b"".join(pieces)

    def changed(self) -> bool:
        """Whether any of what was read is not the same any more, or too much was read to tell."""
        if self._forgot:
            return True
        try:
            return any(
                self._memory.read(address, len(block)) != block
                for blocks in (self._blocks, self._pages)
                for address, block in blocks.items()
                if block
            )
        except MemoryFault:
            return True

    def _load(self, start: int) -> bytes:
        if len(self._blocks) + len(self._pages) >= _BLOCKS_LIMIT:
            self._blocks.clear()
            self._pages.clear()
            self._forgot = True
        try:
            block = self._memory.read(start, _BLOCK)
        except MemoryFault:
            block = b""
        self._blocks[start] = block
        return block

    def _from_pages(self, address: int, length: int) -> bytes:
        found = b""
        for start in range(address - address % _PAGE, address + length, _PAGE):
            page = self._pages.get(start)
            if page is None:
                page = self._pages[start] = self._memory.read(start, _PAGE)
            found += page
        at = address % _PAGE
        return found[at : at + length]
