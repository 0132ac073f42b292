"""Where in a process's memory Python objects may be."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from onlooker.errors import MemoryFault
from onlooker.runtime.locate import Runtime, load_images
from onlooker.runtime.maps import Region, read_maps

_PAGE: Final = 4096
_PIECE: Final = 2 << 20
_LARGE: Final = 256 << 20
_ENTRY: Final = 8
_PRESENT, _SWAPPED = 0x80, 0x40  # of an entry's highest byte


class HeapRange(NamedTuple):
    """Where objects may be, and whether it belongs to a program or library.

    ``limit`` is how far it is mapped without a hole: blocks may be of memory that nobody has
    touched yet.
    """

    start: int
    end: int
    in_image: bool
    limit: int


def heap_ranges(runtime: Runtime, pid: int) -> list[HeapRange]:
    """Return where objects may be.

    That is what a process may write to and doesn't share, and of its images all that it may read;
    of large mappings only what there is memory for. Raises MemoryFault.
    """
    try:
        regions = read_maps(pid)
    except OSError as error:
        raise MemoryFault(f"can't read the map of process {pid}: {error}") from None
    code = {(r.device, r.inode) for r in regions if "x" in r.permissions and r.inode}
    data = [
        (start & -_PAGE, -(-end // _PAGE) * _PAGE)
        for candidate in load_images(runtime.memory, regions, runtime.identity)
        for start, end in candidate.image.writable
    ]
    found: list[HeapRange] = []
    for region in regions:
        if region.permissions[0] != "r" or region.permissions[3] != "p" or _is_special(region):
            continue
        if region.inode:
            if (region.device, region.inode) in code:
                found.append(HeapRange(region.start, region.end, True, region.end))
        elif region.permissions[1] == "w":
            for start, end, in_image in _split(region, data):
                parts = _present(pid, start, end) if end - start >= _LARGE else [(start, end)]
                found += [HeapRange(*part, in_image, end) for part in parts]
    return _merged(found)


class PageMap:
    """/proc/PID/pagemap, which tells of each page where it is.

    It has 8 bytes for each, whose two highest bits do (Documentation/admin-guide/mm/pagemap.rst).
    """

    def __init__(self, pid: int) -> None:
        self._file = open(f"/proc/{pid}/pagemap", "rb", buffering=0)

    def __enter__(self) -> PageMap:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def is_in_use(self, start: int, end: int) -> bool:
        """Whether any of these pages is in memory or swapped out, as far as is known."""
        entries = self._read(start, end)
        return len(entries) < (end - start) // _PAGE or max(entries) >= _SWAPPED

    def present_bytes(self, start: int, end: int) -> int:
        """What is in memory of the pages that these bytes are in."""
        pieces = ((at, min(at + _LARGE, end)) for at in range(start, end, _LARGE))
        return sum(entry >= _PRESENT for piece in pieces for entry in self._read(*piece)) * _PAGE

    def _read(self, start: int, end: int) -> bytes:
        """The highest byte of each entry."""
        first, last = start // _PAGE, -(-end // _PAGE)
        entries = os.pread(self._file.fileno(), (last - first) * _ENTRY, first * _ENTRY)
        return entries[_ENTRY - 1 :: _ENTRY]


def _present(pid: int, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield the parts of a mapping that are in memory or swapped out, in pieces.

    Of a reservation most is neither, and no bitmap shall be made for that.
    """
    try:
        with PageMap(pid) as pages:
            for at in range(start, end, _PIECE):
                piece = at, min(at + _PIECE, end)
                if pages.is_in_use(*piece):
                    yield piece
    except OSError:
        yield start, end


def _is_special(region: Region) -> bool:
    return region.path.startswith("[v")  # vvar, vdso, vsyscall


def _split(region: Region, data: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int, bool]]:
    """Yield the region's parts: .bss of images is mapped without a file, others follow it."""
    at = region.start
    for start, end in sorted(data):
        if start < region.end and end > at:
            if start > at:
                yield at, start, False
            yield max(at, start), min(end, region.end), True
            at = min(end, region.end)
    if at < region.end:
        yield at, region.end, False


def _merged(ranges: Sequence[HeapRange]) -> list[HeapRange]:
    """Merge ranges that follow each other, and give those of one mapping the limit of its last."""
    merged: list[HeapRange] = []
    for each in reversed(ranges):
        after = merged[-1] if merged else None
        if after and each.in_image == after.in_image and each.limit >= after.start:
            each = each._replace(limit=after.limit)
            if each.end == after.start:
                merged[-1] = each._replace(end=after.end)
                continue
        merged.append(each)
    return merged[::-1]
