"""What was measured, as tables for people and one JSON line for machines."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from .freezing import Freezing
from .large import Memory
from .slowdown import Ratios, Slowdown
from .startup import Startup
from .tasks import GOAL_S, Tasks
from .throughput import Cell, Shape
from .tools import CLONE, PEERS, Tools
from .walking import GOALS, Walking

OURS = "onlooker"


def table(title: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Prints a table; the first column is aligned to the left, the others to the right."""
    lines = [list(header), *map(list, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    print(f"\n{title}")
    for line in lines:
        cells = [
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        print("  " + "  ".join(cells).rstrip())
    print(flush=True)


def best_peer(cells: Sequence[Cell]) -> Cell | None:
    """The peer with the highest throughput, in the best of its ways."""
    peers = [cell for cell in cells if cell.label != OURS and cell.recordings]
    return max(peers, key=lambda cell: cell.stacks_per_cpu_s, default=None)


def ours(cells: Sequence[Cell]) -> Cell | None:
    """Onlooker on the version that most peers read."""
    return next((cell for cell in cells if cell.label == OURS and cell.recordings), None)


def throughput_table(measured: dict[Shape, tuple[list[Cell], float]]) -> None:
    """Thread samples per second of CPU, and ratios to the best peer and to the floor."""
    if not measured:
        return
    columns = [f"{cell.label} {_minor(cell)}" for cell in next(iter(measured.values()))[0]]
    rows = []
    for shape, (cells, floor) in measured.items():
        figures = [
            f"{_thousands(cell.stacks_per_cpu_s)}{_lost(cell)}" if cell.recordings else "failed"
            for cell in cells
        ]
        mine, peer = ours(cells), best_peer(cells)
        ratio = f"{mine.stacks_per_cpu_s / peer.stacks_per_cpu_s:.2f}" if mine and peer else "-"
        to_floor = f"{mine.stacks_per_cpu_s / floor:.2f}" if mine else "-"
        rows.append([str(shape), *figures, _thousands(floor), ratio, f"{shape.goal:g}", to_floor])
    table(
        "Thread samples per second of the agent's CPU, in thousands (share lost)",
        ["target", *columns, "floor", "x best peer", "goal", "x floor"],
        rows,
    )


def paced_table(measured: dict[tuple[Shape, int], list[Cell]], seconds: float) -> None:
    """CPU of the whole command; beside it what share of the samples asked for it took."""
    if not measured:
        return
    columns = [f"{cell.label} {_minor(cell)}" for cell in next(iter(measured.values()))]
    rows = []
    for (shape, rate_hz), cells in measured.items():
        asked = rate_hz * seconds * shape.threads
        figures = [
            f"{cell.cpu_s:.3f} ({cell.stacks / asked:.0%})" if cell.recordings else "failed"
            for cell in cells
        ]
        mine = ours(cells)
        # Of each sample taken: one that takes fewer than asked for saves CPU by not doing the work.
        peer = best_peer(cells)
        ratio = f"{peer.stacks_per_cpu_s / mine.stacks_per_cpu_s:.2f}" if mine and peer else "-"
        rows.append([f"{rate_hz} Hz, {shape}", *figures, ratio, "1"])
    table(
        f"CPU seconds of the whole command in {seconds:g} s (share of the samples asked for)",
        ["target", *columns, "each / best peer", "goal"],
        rows,
    )


def slowdown_table(measured: Sequence[Slowdown]) -> None:
    """How much longer the target took."""
    goals = {100: "0.5 %", 1000: "1.5 %"}
    rows = [
        [
            f"{one.label} {one.version}",
            str(one.rate_hz),
            str(one.native_threads),
            str(len(one.wall.values)),
            *_percent(one.wall),
            goals.get(one.rate_hz, "-"),
        ]
        for one in measured
    ]
    table(
        "Slowdown of the target, median of pairs",
        ["agent", "Hz", "native threads", "pairs", "wall", "95 %", "goal"],
        rows,
    )


def startup_table(measured: Sequence[Startup]) -> None:
    """Seconds to the first stacks."""
    rows = [
        [
            f"{one.label} {one.version}",
            *(_median(times) for times in (one.dump_s, one.dump_cpu_s, one.first_sample_s)),
            "0.2" if one.label == OURS else "",
            str(one.failed),
        ]
        for one in measured
    ]
    table(
        "Start-up, seconds",
        ["agent", "whole dump", "its CPU", "attach to first sample", "goal", "failed dumps"],
        rows,
    )


def memory_table(measured: Sequence[Memory]) -> None:
    """The agent's peak memory."""
    rows = [
        [
            f"{one.ticks} of {one.ticks_asked}",
            str(one.stacks),
            str(one.locations),
            str(one.functions),
            f"{one.peak_rss_kib / 1024:.1f}",
            "64",
            str(one.profile_kib),
        ]
        for one in measured
    ]
    table(
        "Memory of the agent on a large program",
        ["ticks", "stacks", "locations", "functions", "peak MiB", "goal", "profile KiB"],
        rows,
    )


def freezing_table(measured: Sequence[Freezing]) -> None:
    """How long the target stood still, and how ours compares with each."""
    mine = {one.mib: one.median_ms for one in measured if one.label == OURS}
    rows = [
        [
            f"{one.label}, {one.mib} MiB",
            f"{one.median_ms:.1f}",
            f"{max(one.gaps_ms):.1f}",
            f"{mine[one.mib] / one.median_ms:.3f}" if one.goal and one.mib in mine else "-",
            f"{one.goal:g}" if one.goal else "-",
        ]
        for one in measured
    ]
    table(
        "Longest pause of the target while its memory is looked at, ms",
        ["way, heap", "median", "longest", "ours / this", "goal"],
        rows,
    )


def walking_table(measured: Sequence[Walking]) -> None:
    """What finding all objects took, and the memory for it."""
    rows = [
        [
            f"by {one.by}, {one.objects / 1e6:.1f} million",
            f"{one.times_reading:.1f}",
            f"{GOALS[one.by]:g}",
            f"{one.cpu_times_reading:.1f}",
            f"{one.whole_times_reading:.1f}",
            f"{one.peak_mib:.0f}",
            f"{one.memory_goal_mib:.0f}",
        ]
        for one in measured
    ]
    table(
        "What onlooker heap takes for so many objects, in times of reading the memory once",
        ["objects", "times", "goal", "CPU", "whole", "peak MiB", "goal"],
        rows,
    )


def tasks_table(measured: Sequence[Tasks]) -> None:
    """What a look at very many tasks took."""
    rows = [
        [
            f"{one.tasks} tasks, {one.threads} threads, Python {one.version}",
            f"{one.look_s:.2f}",
            f"{GOAL_S:g}",
            f"{one.cpu_s:.2f}",
            f"{one.wall_s:.2f}",
            f"{one.look_s / one.own_cpu_s:.1f}",
            f"{one.peak_mib:.0f}",
        ]
        for one in measured
    ]
    table(
        "A look at all tasks by onlooker dump, in seconds",
        ["program", "CPU of the look", "goal", "CPU", "wall", "times asyncio's own", "peak MiB"],
        rows,
    )


def append_json(path: Path, tools: Tools, measures: dict[str, Any], seconds: float) -> None:
    """Adds the run's line to a file."""
    line = {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "commit": _commit(),
        "machine": {
            "kernel": platform.release(),
            "arch": platform.machine(),
            "cpu": _cpu_model(),
            "cpus": os.cpu_count(),
            "load": [round(load, 2) for load in os.getloadavg()],
        },
        "agents": [*PEERS, f"profiling.sampling=={tools.interpreters['3.15'].version}"],
        "took_s": round(seconds),
        **measures,
    }
    with open(path, "a", encoding="utf-8") as file:
        file.write(json.dumps(line, separators=(",", ":")) + "\n")


def _commit() -> str:
    """The commit, with a + if there are changes beside it; empty outside a clone."""
    git = ["git", "-C", str(CLONE)]
    named = subprocess.run(
        [*git, "rev-parse", "--short", "HEAD"], check=False, capture_output=True, text=True
    )
    changed = subprocess.run([*git, "diff", "--quiet", "HEAD"], check=False, capture_output=True)
    return named.stdout.strip() + ("+" if changed.returncode == 1 else "")


def _cpu_model() -> str:
    with open("/proc/cpuinfo", encoding="utf-8") as lines:
        names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
        return next(names, "")


def _minor(cell: Cell) -> str:
    return cell.version.rpartition(".")[0]


def _thousands(value: float) -> str:
    return f"{value / 1000:.1f}"


def _median(times_s: Sequence[float]) -> str:
    return f"{statistics.median(times_s):.3f}" if times_s else "-"


def _percent(ratios: Ratios) -> tuple[str, str]:
    low, high = ratios.interval
    return f"{ratios.median - 1:+.2%}", f"{low - 1:+.2%} to {high - 1:+.2%}"


def _lost(cell: Cell) -> str:
    return f" ({cell.lost_share:.1%})" if cell.lost_share else ""
