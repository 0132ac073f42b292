"""The memory map of a process, as /proc/PID/maps tells it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

DELETED = " (deleted)"
"""What the kernel appends to the path of a file that has no name any more (d_path)."""


PYTHON_NAMES: Final = ("python", "libpython", "pypy", "libpypy", "graalpy", "micropython")
"""How the names of programs and libraries begin that are likely to be a Python."""


class Region(NamedTuple):
    """One line of /proc/PID/maps: the addresses from `start` to before `end`."""

    start: int
    end: int
    permissions: str
    offset: int
    device: str
    inode: int
    path: str

    @property
    def name(self) -> str:
        """The file's name without folders and without the mark of a deleted file."""
        return self.path.removesuffix(DELETED).rpartition("/")[2]


def read_maps(pid: int) -> list[Region]:
    """Read the memory map. Raises OSError; a process that has just ended gives an empty list."""
    with open(f"/proc/{pid}/maps", encoding="utf-8", errors="surrogateescape") as file:
        return [parse_region(line) for line in file]


def parse_region(line: str) -> Region:
    """Parse one line, for example ``7f0000000000-7f0000001000 r--p 00000000 08:01 42  /bin/x``."""
    fields = line.rstrip("\n").split(None, 5)
    start, _, end = fields[0].partition("-")
    return Region(
        start=int(start, 16),
        end=int(end, 16),
        permissions=fields[1],
        offset=int(fields[2], 16),
        device=fields[3],
        inode=int(fields[4]),
        # The kernel writes a newline in a file's name as \012 and leaves all else as it is.
        path=fields[5].replace("\\012", "\n") if len(fields) > 5 else "",
    )


def image_starts(regions: Sequence[Region], executable: str) -> list[Region]:
    """Return the first region of every mapped file that may be a program or a library.

    `executable`, the program's own path, comes first, then files that are called like Python, then
    the others in the order of their addresses.
    """
    starts = [r for r in regions if r.offset == 0 and r.inode and r.permissions[0] == "r"]
    code = {(r.device, r.inode) for r in regions if "x" in r.permissions}

    def rank(region: Region) -> int:
        if region.path.removesuffix(DELETED) == executable:
            return 0
        return 1 if region.name.startswith(PYTHON_NAMES) else 2

    return sorted((r for r in starts if (r.device, r.inode) in code), key=rank)


def is_writable(regions: Sequence[Region], address: int) -> bool:
    """Whether the process could write to an address, as it can to all its data and .bss."""
    return any("w" in r.permissions for r in regions if r.start <= address < r.end)
