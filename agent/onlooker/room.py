"""How much memory the kernel would still give to a process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

_MEMINFO: Final = Path("/proc/meminfo")
_CGROUPS: Final = Path("/sys/fs/cgroup")


def room_bytes(pid: int) -> int | None:
    """Return what is free for process `pid`: on the machine, and in each control group it is in.

    Memory that holds copies of files counts as free, as in MemAvailable. None: nobody tells.
    """
    rooms = [*_of_machine(), *(room for group in _groups(pid) for room in _of_group(group))]
    return min(rooms, default=None)


def _of_machine() -> Iterator[int]:
    with suppress(OSError, ValueError, IndexError):
        for line in _MEMINFO.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                yield int(line.split()[1]) * 1024


def _groups(pid: int) -> Iterator[Path]:
    """The folders of a process's memory control groups, of version 2 or 1, from leaf to root."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if not controllers or "memory" in controllers.split(","):
                root = _CGROUPS / "memory" if controllers else _CGROUPS
                leaf = root / path.lstrip("/")
                yield from (group for group in (leaf, *leaf.parents) if group.is_relative_to(root))


def _of_group(group: Path) -> Iterator[int]:
    # The names of version 2, then those of version 1; "max" is no limit, and no number.
    for limit, usage in (
        ("memory.max", "memory.current"),
        ("memory.limit_in_bytes", "memory.usage_in_bytes"),
    ):
        with suppress(OSError, ValueError):
            free = int((group / limit).read_text()) - int((group / usage).read_text())
            for line in (group / "memory.stat").read_text().splitlines():
                name, _, value = line.partition(" ")
                if name == "inactive_file":
                    free += int(value)
            yield free
