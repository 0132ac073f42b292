"""What the resident memory of a process is made of."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from onlooker.observe.heap import HeapPools, HeapTotals
from onlooker.runtime.maps import Region, parse_region

_KIB: Final = 1024
_LINES_LIMIT: Final = 1 << 22
_ARENA_ALIGNMENT: Final = 64 << 20  # HEAP_MAX_SIZE of glibc's malloc/arena.c


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


class Mappings(NamedTuple):
    """The mappings of a process with their resident bytes, and where stacks of threads are."""

    sizes: list[tuple[Region, int]]
    stack_pointers: list[int]


def read_mappings(pid: int) -> Mappings | None:
    """Read /proc/PID/smaps; None if the process has ended."""
    try:
        return Mappings(list(_mappings(pid)), _stack_pointers(pid))
    except OSError:
        return None


def resident(mappings: Mappings, images: Sequence[tuple[int, int]]) -> Resident:
    """Sum up what is resident. ``images`` is where programs and libraries are mapped."""
    total = of_images = files = stacks = 0
    for region, size in mappings.sizes:
        total += size
        if any(start <= region.start < end for start, end in images):
            of_images += size
        elif region.path == "[stack]" or any(
            region.start <= pointer < region.end for pointer in mappings.stack_pointers
        ):
            stacks += size
        elif region.inode or region.permissions[3] == "s":
            files += size
    return Resident(total, of_images, files, stacks)


def malloc_free(mappings: Mappings, free_bytes: Callable[[int, int], int]) -> int:
    """Sum up what malloc has free and resident. ``free_bytes`` is asked for each mapping.

    What is not resident of a mapping was never used, or given back: it is free.
    """
    return sum(
        max(0, free_bytes(region.start, region.end) - (region.end - region.start - size))
        for region, size in mappings.sizes
        if region.path == "[heap]" or (not region.inode and region.start % _ARENA_ALIGNMENT == 0)
    )


def memory_rows(
    found: Resident, totals: HeapTotals, pools: HeapPools, malloc_free: int
) -> list[MemoryRow]:
    """Return rows whose sum is the resident memory."""
    rows = [
        MemoryRow("Python objects", totals.bytes),
        MemoryRow(
            "pymalloc: blocks that are no object's",
            max(0, pools.used_bytes - totals.pymalloc_bytes),
        ),
        MemoryRow("pymalloc: free blocks and pools", pools.bytes - pools.used_bytes),
        MemoryRow("malloc: free blocks", malloc_free),
        MemoryRow("program and libraries", found.images),
        MemoryRow("mapped files and shared memory", found.files),
        MemoryRow("stacks", found.stacks),
    ]
    # Native libraries' own, and tables of the interpreter. Less than nothing if memory that objects
    # hold is swapped out, or was never touched.
    rows.append(MemoryRow("native memory", found.total - sum(row.size for row in rows)))
    return rows


def _mappings(pid: int) -> Iterator[tuple[Region, int]]:
    region: Region | None = None
    with open(f"/proc/{pid}/smaps", encoding="utf-8", errors="surrogateescape") as file:
        for number, line in enumerate(file):
            if number > _LINES_LIMIT:
                return
            key = line.split(None, 1)[0]
            if not key.endswith(":"):
                region = parse_region(line)
            elif key == "Rss:" and region:
                yield region, int(line.split()[1]) * _KIB


def _stack_pointers(pid: int) -> list[int]:
    """Those of threads that sleep in the kernel: /proc/PID/task/TID/syscall ends with SP and PC."""
    found = []
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            with suppress(OSError, ValueError, IndexError):
                found.append(int((task / "syscall").read_text().split()[-2], 16))
    return found
