"""Where in a process's memory Python objects may be."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Final

from onlooker.errors import MemoryFault
from onlooker.runtime.locate import Runtime, load_images
from onlooker.runtime.maps import Region, read_maps

_PAGE: Final = 4096
_PIECE: Final = 2 << 20
_LARGE: Final = 256 << 20
_IN_USE: Final = 0x40  # of an entry's highest byte: swapped out, or 0x80: present


def heap_ranges(runtime: Runtime, pid: int) -> list[tuple[int, int, bool]]:
    """Return where objects may be: start, end, and whether it belongs to a program or library.

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
    found: list[tuple[int, int, bool]] = []
    for region in regions:
        if region.permissions[0] != "r" or region.permissions[3] != "p" or _is_special(region):
            continue
        if region.inode:
            if (region.device, region.inode) in code:
                found.append((region.start, region.end, True))
        elif region.permissions[1] == "w":
            for start, end, in_image in _split(region, data):
                parts = _present(pid, start, end) if end - start >= _LARGE else [(start, end)]
                found += [(*part, in_image) for part in parts]
    return _merged(found)


def _present(pid: int, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield the parts of a mapping that are in memory or swapped out, in pieces.

    Of a reservation most is neither, and no bitmap shall be made for that. /proc/PID/pagemap has 8
    bytes for each page, whose two highest bits tell (Documentation/admin-guide/mm/pagemap.rst).
    """
    try:
        with open(f"/proc/{pid}/pagemap", "rb", buffering=0) as file:
            for at in range(start, end, _PIECE):
                length = min(_PIECE, end - at)
                entries = os.pread(file.fileno(), length // _PAGE * 8, at // _PAGE * 8)
                if len(entries) != length // _PAGE * 8 or max(entries[7::8]) >= _IN_USE:
                    yield at, at + length
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


def _merged(ranges: Sequence[tuple[int, int, bool]]) -> list[tuple[int, int, bool]]:
    merged: list[tuple[int, int, bool]] = []
    for start, end, in_image in ranges:
        if merged and merged[-1][1:] == (start, in_image):
            merged[-1] = (merged[-1][0], end, in_image)
        else:
            merged.append((start, end, in_image))
    return merged
