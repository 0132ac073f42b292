"""The time from a command's start to what it shows."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .agents import Agent, Onlooker
from .processes import CommandFailed, run
from .targets import Target
from .tools import Tools


@dataclass(frozen=True)
class Startup:
    """One agent's times."""

    label: str
    version: str
    dump_s: tuple[float, ...]
    """Of the whole command that prints all stacks once: the only figure that every agent has.
    A dump that failed is not among them."""
    dump_cpu_s: tuple[float, ...]
    first_sample_s: tuple[float, ...] = ()
    """From the start of `attach`, as seen here, to its first sample, as it says itself."""
    failed: int = 0
    """How many dumps failed: a torn read ends some agents."""

    def as_row(self) -> dict[str, Any]:
        """For the JSON line: medians, in seconds."""
        return {
            "agent": self.label,
            "python": self.version,
            "dump_s": _median(self.dump_s),
            "dump_cpu_s": _median(self.dump_cpu_s),
            "first_sample_s": _median(self.first_sample_s),
            "failed": self.failed,
        }


def _median(times_s: Sequence[float]) -> float | None:
    return round(statistics.median(times_s), 4) if times_s else None


def startup(tools: Tools, agents: Sequence[Agent], rounds: int) -> list[Startup]:
    """Every agent's first look at a process of 10 threads, the agents taking turns."""
    dumps: dict[Agent, list[tuple[float, float]]] = {agent: [] for agent in agents}
    first_samples: dict[Agent, list[float]] = {agent: [] for agent in agents}
    failed = dict.fromkeys(agents, 0)
    with (
        Target(tools, "3.14", "depth.py", 20, 10, "calls") as older,
        Target(tools, "3.15", "depth.py", 20, 10, "calls") as newer,
    ):
        for _ in range(rounds):
            for agent in agents:
                target = older if "3.14" in agent.minors else newer
                try:
                    finished = agent.dump(target.pid)
                except CommandFailed as error:
                    failed[agent] += 1
                    print(f"{agent.label}: {error}", file=sys.stderr)
                else:
                    dumps[agent].append((finished.wall_s, finished.cpu_s))
                if isinstance(agent, Onlooker):
                    first_samples[agent].append(_first_sample_s(agent, target.pid))
    return [
        Startup(
            agent.label,
            tools.interpreters[agent.minors[0]].version,
            tuple(wall_s for wall_s, _ in times),
            tuple(cpu_s for _, cpu_s in times),
            tuple(first_samples[agent]),
            failed[agent],
        )
        for agent, times in dumps.items()
    ]


def _first_sample_s(agent: Onlooker, pid: int) -> float:
    finished = run(agent.attach_command(pid, 100, 0.1)).checked()
    first_sample_ns = agent.summary(finished).get("first_sample_ns")  # CLOCK_MONOTONIC
    if not isinstance(first_sample_ns, int) or first_sample_ns < finished.start_ns:
        finished.fail(f"no first_sample_ns that can be: {first_sample_ns}")
    return (first_sample_ns - finished.start_ns) / 1e9
