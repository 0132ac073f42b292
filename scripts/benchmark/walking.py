"""What it takes to find all objects of a heap, against reading its memory once."""

from __future__ import annotations

import json
import mmap
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from .processes import Finished, run
from .targets import Target
from .tools import Tools

GOALS: Final = {"type": 4.0, "path": 12.0}
"""Elapsed time for the objects, in times of reading the memory once."""

_PIECE: Final = 1 << 20


@dataclass(frozen=True)
class Took:
    """Elapsed time and CPU time."""

    wall_s: float
    cpu_s: float


@dataclass(frozen=True)
class Walking:
    """`onlooker heap --by` one thing, on a heap of so many objects."""

    by: str
    version: str
    objects: int
    heap_mib: float
    reading: Took
    command: Took
    empty: Took
    """The same of the command for a program without objects of its own: to start, above all."""
    peak_mib: float

    @property
    def times_reading(self) -> float:
        """How much longer the objects took than reading the memory once, by one thread."""
        return (self.command.wall_s - self.empty.wall_s) / self.reading.wall_s

    @property
    def cpu_times_reading(self) -> float:
        """The same of CPU time: two threads look at the objects where there are two CPUs."""
        return (self.command.cpu_s - self.empty.cpu_s) / self.reading.cpu_s

    @property
    def whole_times_reading(self) -> float:
        """Elapsed time of the whole command."""
        return self.command.wall_s / self.reading.wall_s

    @property
    def memory_goal_mib(self) -> float:
        """A quarter of the heap, and 200 MiB."""
        return self.heap_mib / 4 + 200

    def as_row(self) -> dict[str, Any]:
        """For the JSON line."""
        return {
            "by": self.by,
            "python": self.version,
            "objects": self.objects,
            "heap_mib": round(self.heap_mib),
            "times_reading": round(self.times_reading, 2),
            "cpu_times_reading": round(self.cpu_times_reading, 2),
            "whole_times_reading": round(self.whole_times_reading, 2),
            "peak_mib": round(self.peak_mib),
        }


def walking(tools: Tools, millions: int, rounds: int) -> list[Walking]:
    """Looks at one program by type and by path, which take turns with reading."""
    with (
        tempfile.TemporaryDirectory() as folder,
        Target(tools, "3.14", "objects.py", millions) as target,
        Target(tools, "3.14", "objects.py", 0) as empty,
    ):
        profile = Path(folder) / "heap.pb.gz"
        command = [*tools.onlooker, "heap", "--json", "-o", str(profile)]
        reads: list[Took] = []
        took: dict[str, list[Took]] = {by: [] for by in GOALS}
        took_empty: dict[str, list[Took]] = {by: [] for by in GOALS}
        peak_kib = dict.fromkeys(GOALS, 0)
        told: dict[str, Any] = {}
        size = 0
        for _ in range(rounds):
            size, read = _read(target.pid)
            reads.append(read)
            for by in GOALS:
                done = run([*command, "--by", by, "--pid", str(empty.pid)]).checked()
                took_empty[by].append(_took(done))
                done = run([*command, "--by", by, "--pid", str(target.pid)], limit_s=900).checked()
                told = json.loads(done.stdout)
                took[by].append(_took(done))
                peak_kib[by] = max(peak_kib[by], done.peak_rss_kib)
        return [
            Walking(
                by,
                target.version,
                told["totals"]["objects"],
                size / (1 << 20),
                _median(reads),
                _median(took[by]),
                _median(took_empty[by]),
                peak_kib[by] / 1024,
            )
            for by in GOALS
        ]


def _took(done: Finished) -> Took:
    return Took(done.wall_s, done.cpu_s)


def _median(took: Sequence[Took]) -> Took:
    return Took(
        statistics.median(one.wall_s for one in took), statistics.median(one.cpu_s for one in took)
    )


def _read(pid: int) -> tuple[int, Took]:
    """The bytes that the process has for itself, and what reading them takes."""
    buffer = memoryview(mmap.mmap(-1, _PIECE))  # of whole pages, which are copied the fastest
    size, wall_s, cpu_s = 0, time.monotonic(), time.process_time()
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line in maps:
            place, permissions, _, _, inode, *_ = line.split()
            if not permissions.startswith("rw-p") or inode != "0":
                continue
            start, end = (int(address, 16) for address in place.split("-"))
            for at in range(start, end, _PIECE):
                size += os.preadv(memory.fileno(), [buffer[: min(_PIECE, end - at)]], at)
    return size, Took(time.monotonic() - wall_s, time.process_time() - cpu_s)
