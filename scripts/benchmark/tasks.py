"""What a look at very many asyncio tasks takes, against asyncio's own look at them."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import Any, Final

from .processes import Finished, run
from .targets import Target
from .tools import Tools

MINORS: Final = ("3.13", "3.15")  # tasks in a weak set, and in lists
TASKS: Final = 20_000
THREADS: Final = 500
GOAL_S: Final = 0.5
"""CPU time of a look, without the command's start."""


@dataclass(frozen=True)
class Tasks:
    """`onlooker dump` of a program with tasks, one of which ticks."""

    version: str
    tasks: int
    threads: int
    cpu_s: float
    wall_s: float
    start_cpu_s: float
    """Of `onlooker dump` of a program without tasks."""
    own_cpu_s: float
    """Of all_tasks() and each task's get_stack() in the program."""
    peak_mib: float

    @property
    def look_s(self) -> float:
        """CPU time of the look, with what it prints."""
        return self.cpu_s - self.start_cpu_s

    def as_row(self) -> dict[str, Any]:
        """For the JSON line."""
        return {
            "python": self.version,
            "tasks": self.tasks,
            "threads": self.threads,
            "cpu_s": round(self.cpu_s, 3),
            "wall_s": round(self.wall_s, 3),
            "look_cpu_s": round(self.look_s, 3),
            "times_own_look": round(self.look_s / self.own_cpu_s, 1),
            "peak_mib": round(self.peak_mib),
        }


def tasks(tools: Tools, rounds: int) -> list[Tasks]:
    """Looks at each program several times; it and asyncio take turns."""
    return [_measure(tools, minor, rounds) for minor in MINORS]


def _measure(tools: Tools, minor: str, rounds: int) -> Tasks:
    with (
        Target(tools, minor, "tasks.py", TASKS, THREADS) as target,
        Target(tools, minor, "tasks.py", 1, 1) as small,
    ):
        own_s: list[float] = []
        looks: list[Finished] = []
        starts: list[Finished] = []
        for _ in range(rounds):
            own_s.append(float(target.ask("look")["cpu_s"]))
            for pid, done in ((target.pid, looks), (small.pid, starts)):
                done.append(run([*tools.onlooker, "dump", "--pid", str(pid)], limit_s=60).checked())
        return Tasks(
            target.version,
            TASKS,
            THREADS,
            statistics.median(look.cpu_s for look in looks),
            statistics.median(look.wall_s for look in looks),
            statistics.median(start.cpu_s for start in starts),
            statistics.median(own_s),
            max(look.peak_rss_kib for look in looks) / 1024,
        )
