"""How much longer a program takes while it is profiled."""

from __future__ import annotations

import math
import statistics
import time
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .agents import Agent
from .processes import CommandFailed, Running
from .targets import Target
from .tools import Tools

_SETTLE_S = 1.5
"""From an agent's start until it surely samples."""

_WINDOW_S = 0.1
_BLOCK_S = 0.004


@dataclass(frozen=True)
class Ratios:
    """Of neighbouring pieces of time: with the agent / without it. 1 is no slowdown."""

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

    def as_row(self) -> dict[str, Any]:
        """For the JSON line."""
        return {
            "agent": self.label,
            "python": self.version,
            "rate_hz": self.rate_hz,
            "native_threads": self.native_threads,
            "wall": self.wall.as_row(),
        }


@dataclass(frozen=True)
class Window:
    """A piece of time in which the agent ran or was suspended. CLOCK_MONOTONIC."""

    profiled: bool
    start_ns: int
    end_ns: int


def slowdown(tools: Tools, agent: Agent, rate_hz: int, native_threads: int, pairs: int) -> Slowdown:
    """Profiles a busy process, suspending the agent every other moment.

    The machine's own speed changes within seconds by more than what is looked for, so what is
    compared lies close together: each window with the agent, and those before and after it.

    :raises CommandFailed: if the agent failed
    """
    with Target(tools, agent.minors[0], "work.py", native_threads) as target:
        iterations = _calibrate(target)
        seconds = _SETTLE_S + (2 * pairs + 1) * _WINDOW_S
        with agent.start(target.pid, rate_hz) as running:
            target.send(f"{iterations} {math.ceil(1.5 * seconds / _BLOCK_S)}")
            time.sleep(_SETTLE_S)
            windows = _windows(running, 2 * pairs + 1)
            running.finish(interrupt_after_s=0).checked(agent.exit_codes)
        ratios = compare(windows, target.answer()["times_ns"])
        if not ratios:
            raise CommandFailed(f"the target did nothing while {agent.label} was suspended")
        return Slowdown(agent.label, target.version, rate_hz, native_threads, Ratios(ratios))


def compare(windows: Sequence[Window], times_ns: Sequence[int]) -> tuple[float, ...]:
    """For each profiled window: how long blocks of work took, against those in its neighbours.

    Blocks last from one of the times to the next. Windows without whole blocks are left out.
    """
    lengths = [_block_ns(window, times_ns) for window in windows]
    return tuple(
        2 * during / (before + after)
        for window, before, during, after in zip(
            windows[1:], lengths, lengths[1:], lengths[2:], strict=False
        )
        if window.profiled and before and during and after
    )


def _block_ns(window: Window, times_ns: Sequence[int]) -> float:
    """How long the blocks took that began and ended in the window; 0 if there are none."""
    inside = times_ns[bisect_left(times_ns, window.start_ns) : bisect_left(times_ns, window.end_ns)]
    return (inside[-1] - inside[0]) / (len(inside) - 1) if len(inside) > 1 else 0.0


def _windows(running: Running, count: int) -> list[Window]:
    windows: list[Window] = []
    profiled = False
    running.suspend()
    for _ in range(count):
        start_ns = time.monotonic_ns()
        time.sleep(_WINDOW_S)
        windows.append(Window(profiled, start_ns, time.monotonic_ns()))
        profiled = not profiled
        (running.resume if profiled else running.suspend)()
    running.resume()
    return windows


def _calibrate(target: Target) -> int:
    """The iterations that take about as long as a block should."""
    iterations = 10
    while True:
        start_ns, end_ns = target.ask(f"{iterations} 1")["times_ns"]
        elapsed_s: float = (end_ns - start_ns) / 1e9
        if elapsed_s > _BLOCK_S / 2:
            return max(1, round(iterations * _BLOCK_S / elapsed_s))
        iterations *= 2
