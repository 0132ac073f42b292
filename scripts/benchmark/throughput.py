"""Thread samples per second of the agent's CPU, as fast as it can go, and its CPU at a pace."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .agents import AS_FAST_AS_IT_CAN, Agent, Recording
from .processes import CommandFailed
from .targets import Target
from .tools import PROGRAMS, Tools


@dataclass(frozen=True)
class Shape:
    """A target: THREADS stacks of DEPTH frames, all but one asleep."""

    depth: int
    threads: int
    leaf: str = "loop"

    @property
    def goal(self) -> float:
        """How many times the best peer's throughput is wanted."""
        if self.depth >= 200:
            return 8
        return 2.5 if self.threads == 1 else 4

    def __str__(self) -> str:
        return f"depth {self.depth}, {self.threads} threads, {self.leaf}"


@dataclass(frozen=True)
class Cell:
    """One agent's runs on one target."""

    label: str
    version: str
    recordings: tuple[Recording, ...]
    failure: str = ""

    @property
    def stacks_per_cpu_s(self) -> float:
        """The median of the runs."""
        return self._median([r.stacks / max(r.cpu_s, 1e-3) for r in self.recordings])

    @property
    def cpu_s(self) -> float:
        """The median of the runs."""
        return self._median([r.cpu_s for r in self.recordings])

    @property
    def stacks(self) -> float:
        """The median of the runs."""
        return self._median([r.stacks for r in self.recordings])

    @property
    def lost_share(self) -> float:
        """Of the thread samples that were tried."""
        tried = sum(r.stacks + r.lost for r in self.recordings)
        return sum(r.lost for r in self.recordings) / max(tried, 1)

    @staticmethod
    def _median(values: Sequence[float]) -> float:
        return statistics.median(values) if values else float("nan")


def record_shape(
    tools: Tools, agents: Sequence[Agent], shape: Shape, rate_hz: int, seconds: float, rounds: int
) -> list[Cell]:
    """Every agent on the target, taking turns, each round on a new process of each version."""
    recordings: dict[tuple[Agent, str], list[Recording]] = {
        (agent, minor): [] for agent in agents for minor in agent.minors
    }
    failures: dict[tuple[Agent, str], str] = {}
    for _ in range(rounds):
        for minor in sorted({minor for _, minor in recordings}):
            arguments = (shape.depth, shape.threads, shape.leaf)
            with Target(tools, minor, "depth.py", *arguments) as target:
                if (found := target.about["depth"]) != shape.depth:
                    raise RuntimeError(f"the target is {found} deep, not {shape.depth}")
                for agent, of_minor in recordings:
                    if of_minor != minor:
                        continue
                    try:
                        done = agent.record(target.pid, shape.threads, rate_hz, seconds)
                        recordings[agent, minor].append(done)
                    except (CommandFailed, OSError, ValueError) as error:
                        failures[agent, minor] = str(error)
                        print(f"{agent.label} on {shape}: {error}", file=sys.stderr)
    return [
        Cell(
            agent.label,
            tools.interpreters[minor].version,
            tuple(done),
            failures.get((agent, minor), ""),
        )
        for (agent, minor), done in recordings.items()
    ]


def stack_bytes(tools: Tools, shape: Shape) -> int:
    """What one of the target's stacks takes in its thread's datastack_chunk."""
    with Target(tools, "3.14", "depth.py", shape.depth, 1, shape.leaf) as target:
        return int(target.about["stack_bytes"])


def throughput(
    tools: Tools, agents: Sequence[Agent], shape: Shape, seconds: float, rounds: int
) -> list[Cell]:
    """Every agent as fast as it can go."""
    return record_shape(tools, agents, shape, AS_FAST_AS_IT_CAN, seconds, rounds)


class Floor:
    """The bare process_vm_readv of the bytes that a reader needs."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._program = Path(self._folder.name) / "floor"
        source = PROGRAMS / "floor.c"
        subprocess.run(["cc", "-O2", "-o", str(self._program), str(source)], check=True)

    def stacks_per_cpu_s(self, threads: int, stack_bytes: int, seconds: float) -> float:
        """As many stacks as one can at best read in a second of CPU."""
        arguments = [f"{seconds:g}", str(threads), str(stack_bytes)]
        printed = subprocess.run(
            [str(self._program), *arguments], check=True, stdout=subprocess.PIPE, text=True
        ).stdout
        stacks, cpu_s = printed.split()
        return int(stacks) / float(cpu_s)


def as_row(cell: Cell) -> dict[str, Any]:
    """For the JSON line."""
    return {
        "agent": cell.label,
        "python": cell.version,
        "stacks_per_cpu_s": round(cell.stacks_per_cpu_s) if cell.recordings else None,
        "stacks": [recording.stacks for recording in cell.recordings],
        "lost": [recording.lost for recording in cell.recordings],
        "cpu_s": [round(recording.cpu_s, 4) for recording in cell.recordings],
        "wall_s": [round(recording.wall_s, 3) for recording in cell.recordings],
        "peak_rss_kib": [recording.peak_rss_kib for recording in cell.recordings],
        "summaries": [recording.summary for recording in cell.recordings if recording.summary],
        **({"failure": cell.failure} if cell.failure else {}),
    }
