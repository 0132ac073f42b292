"""What the resident memory of a process is made of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from onlooker.observe.heap import HeapPools, HeapTotals, MallocArena
from onlooker.observe.heap_ranges import HeapRange, PageMap
from onlooker.runtime.maps import Region, parse_region

_KIB: Final = 1024
_LINES_LIMIT: Final = 1 << 22
_ARENA_ALIGNMENT: Final = 64 << 20  # HEAP_MAX_SIZE of glibc's malloc/arena.c

_NOT_CLONED: Final = {"dc", "wf"}
"""Flags of mappings whose memory a clone lacks: MADV_DONTFORK's and MADV_WIPEONFORK's."""


class MemoryRow(NamedTuple):
    """A part of the memory of a process, in bytes."""

    what: str
    size: int


class Resident(NamedTuple):
    """Resident memory by what the kernel knows of it, in bytes: it is what smaps calls Rss."""

    total: int
    images: int
    files: int
    stacks: int


class MappedBytes(NamedTuple):
    """Bytes of objects in mappings of their own, and of these what is not resident: swapped out, or
    never touched.
    """

    size: int
    absent: int


class Mapping(NamedTuple):
    """A mapping with its resident bytes, and how many of these a program or library has."""

    region: Region
    size: int
    of_image: int = 0


class Mappings(NamedTuple):
    """The mappings of a process, and where stacks of threads are."""

    found: list[Mapping]
    stack_pointers: list[int]


def read_mappings(pid: int, frozen: int, ranges: Sequence[HeapRange]) -> Mappings | None:
    """Read /proc/PID/smaps; None if the process has ended.

    ``frozen`` is a clone of it, or itself, ``ranges`` where its objects may be. A clone still has
    what memory was the process's own; which pages of files are mapped it does not know.
    """
    try:
        now = list(_smaps(pid))
        then = now if frozen == pid else _as_of_clone(now, _smaps(frozen))
        images = [found for found in ranges if found.in_image]
        with PageMap(frozen) as pages:
            found = [
                Mapping(each.region, each.size, _of_image(each, images, pages)) for each in then
            ]
        return Mappings(found, _stack_pointers(pid))
    except OSError:
        return None


def resident(mappings: Mappings) -> Resident:
    """Sum up what is resident."""
    total = of_images = files = stacks = 0
    for region, size, of_image in mappings.found:
        total += size
        of_images += of_image
        if region.path == "[stack]" or any(
            region.start <= pointer < region.end for pointer in mappings.stack_pointers
        ):
            stacks += size - of_image
        elif region.inode or region.permissions[3] == "s":
            files += size - of_image
    return Resident(total, of_images, files, stacks)


def malloc_arenas(mappings: Mappings, arena: Callable[[int, int], MallocArena]) -> MallocArena:
    """Sum up what malloc has resident. ``arena`` is asked for each mapping.

    What is not resident of a mapping was never used, or given back: it is free.
    """
    used = free = 0
    for region, size, _ in mappings.found:
        if region.path == "[heap]" or (not region.inode and region.start % _ARENA_ALIGNMENT == 0):
            found = arena(region.start, region.end)
            missing = region.end - region.start - size
            free += max(0, found.free - missing)
            used += max(0, found.used - max(0, missing - found.free))
    return MallocArena(used, free)


def mapped_bytes(frozen: int, blocks: Sequence[tuple[int, int]]) -> MappedBytes:
    """Sum up the blocks of objects that have mappings of their own, by address and size.

    If the process has ended, all of it is taken to be resident.
    """
    size, absent = sum(length for _, length in blocks), 0
    with suppress(OSError), PageMap(frozen) as pages:
        for address, length in blocks:
            absent += max(0, length - pages.present_bytes(address, address + length))
    return MappedBytes(size, absent)


def memory_rows(
    found: Resident, totals: HeapTotals, pools: HeapPools, malloc: MallocArena, mapped: MappedBytes
) -> list[MemoryRow]:
    """Return rows whose sum is the resident memory."""
    # Blocks that don't tell their size may lie within one of malloc's.
    in_arenas = totals.malloc_bytes - mapped.size + totals.unsized_bytes
    rows = [
        MemoryRow("Python objects", totals.bytes - mapped.absent),
        MemoryRow(
            "pymalloc: blocks that are no object's",
            max(0, pools.used_bytes - totals.pymalloc_bytes),
        ),
        MemoryRow("pymalloc: free blocks and pools", pools.bytes - pools.used_bytes),
        MemoryRow("malloc: blocks that are no object's", max(0, malloc.used - in_arenas)),
        MemoryRow("malloc: free blocks", malloc.free),
        MemoryRow("program and libraries", found.images),
        MemoryRow("mapped files and shared memory", found.files),
        MemoryRow("stacks", found.stacks),
    ]
    # What native libraries have mapped. Less than nothing if small blocks are swapped out.
    rows.append(MemoryRow("native memory", found.total - sum(row.size for row in rows)))
    return rows


class _Smaps(NamedTuple):
    """What smaps says of a mapping: bytes that are resident, those of these that no file has, and
    whether a clone has them.
    """

    region: Region
    size: int
    anonymous: int
    is_cloned: bool


def _smaps(pid: int) -> Iterator[_Smaps]:
    region: Region | None = None
    sizes = {"Rss:": 0, "Anonymous:": 0}
    with open(f"/proc/{pid}/smaps", encoding="utf-8", errors="surrogateescape") as file:
        for number, line in enumerate(file):
            if number > _LINES_LIMIT:
                return
            key, *values = line.split()
            if not key.endswith(":"):
                region = parse_region(line)
            elif key in sizes:
                sizes[key] = int(values[0]) * _KIB
            elif key == "VmFlags:" and region:  # the last line
                is_cloned = _NOT_CLONED.isdisjoint(values)
                yield _Smaps(region, sizes["Rss:"], sizes["Anonymous:"], is_cloned)


def _as_of_clone(now: Sequence[_Smaps], clone: Iterable[_Smaps]) -> Iterator[_Smaps]:
    """Take from the clone what no file has, and from the process what the clone has not."""
    of_files = {(each.region.start, each.region.inode): each.size - each.anonymous for each in now}
    for each in clone:
        of_file = of_files.get((each.region.start, each.region.inode), 0)
        yield each._replace(size=each.anonymous + of_file)
    yield from (each for each in now if not each.is_cloned)


def _of_image(mapping: _Smaps, images: Sequence[HeapRange], pages: PageMap) -> int:
    """Bytes of the mapping that an image has: all that its file has, and parts of what has none."""
    region = mapping.region
    parts = [
        (max(start, region.start), min(end, region.end))
        for start, end, _, _ in images
        if start < region.end and end > region.start
    ]
    if region.inode:
        return mapping.size if parts else 0
    return min(mapping.size, sum(pages.present_bytes(start, end) for start, end in parts))


def _stack_pointers(pid: int) -> list[int]:
    """Those of threads that sleep in the kernel: /proc/PID/task/TID/syscall ends with SP and PC."""
    found = []
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            with suppress(OSError, ValueError, IndexError):
                found.append(int((task / "syscall").read_text().split()[-2], 16))
    return found
