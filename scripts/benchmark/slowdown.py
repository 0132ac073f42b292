"""How much longer a program takes while it is profiled."""

from __future__ import annotations

import math
import statistics
import time
from dataclasses import dataclass
from typing import Any

from .agents import Agent
from .targets import Target
from .tools import Tools

_SETTLE_S = 0.7
"""From an agent's start until it surely samples; kept before the runs without one, too."""


@dataclass(frozen=True)
class Ratios:
    """Of each pair of runs of the same work: with the agent / without it. 1 is no slowdown."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle one."""
        return statistics.median(self.values)

    @property
    def interval(self) -> tuple[float, float]:
        """A 95 % confidence interval of the median, from the order of the ratios alone."""
        ordered = sorted(self.values)
        middle = (len(ordered) - 1) / 2
        margin = 0.98 * math.sqrt(len(ordered))  # 1.96 standard deviations of the binomial
        low = max(0, math.floor(middle - margin))
        high = min(len(ordered) - 1, math.ceil(middle + margin))
        return ordered[low], ordered[high]

    def as_row(self) -> dict[str, Any]:
        """For the JSON line."""
        return {
            "median": round(self.median, 5),
            "interval_95": [round(limit, 5) for limit in self.interval],
            "pairs": [round(value, 4) for value in self.values],
        }


@dataclass(frozen=True)
class Slowdown:
    """One agent at one rate."""

    label: str
    version: str
    rate_hz: int
    native_threads: int
    wall: Ratios
    """What the user waits."""
    cpu: Ratios
    """Of the thread that works. It has no part of the stops, but less of the noise."""

    def as_row(self) -> dict[str, Any]:
        """For the JSON line."""
        return {
            "agent": self.label,
            "python": self.version,
            "rate_hz": self.rate_hz,
            "native_threads": self.native_threads,
            "wall": self.wall.as_row(),
            "cpu": self.cpu.as_row(),
        }


@dataclass(frozen=True)
class _Block:
    wall_ns: int
    cpu_ns: int


def slowdown(
    tools: Tools, agent: Agent, rate_hz: int, native_threads: int, block_s: float, pairs: int
) -> Slowdown:
    """Runs pairs of blocks of the same work in one process; which goes first alternates.

    :raises CommandFailed: if the agent failed
    """
    with Target(tools, agent.minors[0], "work.py", native_threads) as target:
        iterations = _calibrate(target, block_s)
        done: list[tuple[_Block, _Block]] = []
        for pair in range(pairs):
            blocks = {}
            for profiled in (True, False) if pair % 2 == 0 else (False, True):
                blocks[profiled] = (
                    _profiled_block(target, iterations, agent, rate_hz)
                    if profiled
                    else _plain_block(target, iterations)
                )
            done.append((blocks[True], blocks[False]))
        wall = Ratios(tuple(profiled.wall_ns / plain.wall_ns for profiled, plain in done))
        cpu = Ratios(tuple(profiled.cpu_ns / plain.cpu_ns for profiled, plain in done))
        return Slowdown(agent.label, target.version, rate_hz, native_threads, wall, cpu)


def _profiled_block(target: Target, iterations: int, agent: Agent, rate_hz: int) -> _Block:
    with agent.start(target.pid, rate_hz) as running:
        block = _plain_block(target, iterations)
        running.finish(interrupt_after_s=0).checked(agent.exit_codes)
    return block


def _plain_block(target: Target, iterations: int) -> _Block:
    time.sleep(_SETTLE_S)
    return _Block(**target.ask(str(iterations)))


def _calibrate(target: Target, block_s: float) -> int:
    """The iterations that take about that long."""
    iterations = 1000
    while True:
        elapsed_s = _Block(**target.ask(str(iterations))).wall_ns / 1e9
        if elapsed_s > block_s / 4:
            return max(1, round(iterations * block_s / elapsed_s))
        iterations *= 2
