"""The command line of scripts/bench."""

from __future__ import annotations

import argparse
import os
import shlex
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from . import report
from .agents import Onlooker, best_options, chosen, defaults
from .freezing import Freezing, freezing
from .large import TICKS, memory
from .processes import CommandFailed
from .slowdown import Slowdown, slowdown
from .startup import startup
from .tasks import tasks
from .throughput import Cell, Floor, Shape, as_row, record_shape, stack_bytes, throughput
from .tools import CLONE, SetupFailed, Tools, set_up, use_private_mounts
from .walking import walking

MEASURES = ("throughput", "paced", "slowdown", "startup", "memory", "freezing", "walking", "tasks")
AGENTS = ("onlooker", "austin", "tachyon", "py-spy")
PACES_HZ = (100, 1000)
NATIVE_THREADS = (0, 160)
DEPTHS = (10, 50, 200)
THREADS = (1, 10, 100)
LEAVES = ("loop", "calls")
FLOOR_S = 0.5


class Plan:
    """What to measure and how long, from the command line."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        quick = arguments.quick
        depths = arguments.depth or ((10, 200) if quick else DEPTHS)
        threads = arguments.threads or ((1, 10) if quick else THREADS)
        leaves = arguments.leaf or (("calls",) if quick else LEAVES)
        self.measures: list[str] = arguments.only or list(MEASURES)
        self.agents: list[str] | None = arguments.agents
        self.seconds: float = arguments.seconds or (2 if quick else 5)
        self.rounds: int = arguments.rounds or (1 if quick else 3)
        self.paced_s: float = arguments.seconds or (2 if quick else 10)
        self.paced_rounds = 1
        self.pairs: int = arguments.pairs or (20 if quick else 150)
        self.startup_rounds = 3 if quick else 15
        self.ticks = TICKS // 10 if quick else TICKS
        self.heaps_mib = (256,) if quick else (1024, 4096)
        self.millions = (1,) if quick else (10,)
        self.shapes = [
            Shape(depth, count, leaf) for leaf in leaves for depth in depths for count in threads
        ]
        # What the busy thread does matters little at a pace.
        self.paced_shapes = [shape for shape in self.shapes if shape.leaf == leaves[-1]]


def main() -> int:
    """Measures, prints the tables, and adds a JSON line to the file."""
    arguments = _parser().parse_args()
    try:
        use_private_mounts()
        tools = set_up(tuple(shlex.split(arguments.onlooker)))
    except SetupFailed as error:
        print(f"scripts/bench: {error}", file=sys.stderr)
        return 1
    if os.getloadavg()[0] > 0.5:
        print("other work runs on this machine: expect noise", file=sys.stderr)
    with tools:
        return _measure_all(tools, arguments)


def _measure_all(tools: Tools, arguments: argparse.Namespace) -> int:
    """What was measured is kept, whatever ends the run."""
    plan = Plan(arguments)
    start_s = time.monotonic()
    measures: dict[str, Any] = {}
    try:
        for name in plan.measures:
            measures[name] = _MEASURE[name](tools, plan)
    except (CommandFailed, RuntimeError) as error:
        print(f"scripts/bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        json_path = arguments.json or (None if arguments.quick else CLONE / "tests/bench.jsonl")
        if json_path and measures:
            report.append_json(json_path, tools, measures, time.monotonic() - start_s)
    return 0


def _throughput(tools: Tools, plan: Plan) -> list[dict[str, Any]]:
    agents = chosen(best_options(tools), plan.agents)
    floor = Floor()
    measured: dict[Shape, tuple[list[Cell], float]] = {}
    rows = []
    for shape in plan.shapes:
        cells = throughput(tools, agents, shape, plan.seconds, plan.rounds)
        bytes_each = stack_bytes(tools, shape)
        bare = statistics.median(
            floor.stacks_per_cpu_s(shape.threads, bytes_each, FLOOR_S) for _ in range(plan.rounds)
        )
        measured[shape] = cells, bare
        report.throughput_table({shape: measured[shape]})
        rows.append(
            {
                **vars(shape),
                "floor_stacks_per_cpu_s": round(bare),
                "agents": [as_row(cell) for cell in cells],
            }
        )
    report.throughput_table(measured)
    return rows


def _paced(tools: Tools, plan: Plan) -> list[dict[str, Any]]:
    agents = chosen(defaults(tools), plan.agents)
    measured: dict[tuple[Shape, int], list[Cell]] = {}
    rows = []
    for shape in plan.paced_shapes:
        for rate_hz in PACES_HZ:
            cells = record_shape(tools, agents, shape, rate_hz, plan.paced_s, plan.paced_rounds)
            measured[shape, rate_hz] = cells
            rows.append(
                {**vars(shape), "rate_hz": rate_hz, "agents": [as_row(cell) for cell in cells]}
            )
    report.paced_table(measured, plan.paced_s)
    return rows


def _slowdown(tools: Tools, plan: Plan) -> list[dict[str, Any]]:
    measured: list[Slowdown] = []
    for agent in chosen(defaults(tools), plan.agents):
        for rate_hz in PACES_HZ:
            for native_threads in NATIVE_THREADS:
                try:
                    one = slowdown(tools, agent, rate_hz, native_threads, plan.pairs)
                except CommandFailed as error:
                    print(f"{agent.label}: {error}", file=sys.stderr)
                else:
                    measured.append(one)
    report.slowdown_table(measured)
    return [one.as_row() for one in measured]


def _startup(tools: Tools, plan: Plan) -> list[dict[str, Any]]:
    measured = startup(tools, chosen(defaults(tools), plan.agents), plan.startup_rounds)
    report.startup_table(measured)
    return [one.as_row() for one in measured]


def _memory(tools: Tools, plan: Plan) -> list[dict[str, Any]]:
    if plan.agents and Onlooker.name not in plan.agents:
        return []
    measured = memory(tools, Onlooker(tools), plan.ticks)
    report.memory_table(measured)
    return [one.as_row() for one in measured]


def _freezing(tools: Tools, plan: Plan) -> list[dict[str, Any]]:
    measured: list[Freezing] = []
    for mib in plan.heaps_mib:
        measured += freezing(tools, mib, plan.rounds)
    report.freezing_table(measured)
    return [one.as_row() for one in measured]


def _walking(tools: Tools, plan: Plan) -> list[dict[str, Any]]:
    measured = [one for millions in plan.millions for one in walking(tools, millions, plan.rounds)]
    report.walking_table(measured)
    return [one.as_row() for one in measured]


def _tasks(tools: Tools, plan: Plan) -> list[dict[str, Any]]:
    measured = tasks(tools, plan.rounds)
    report.tasks_table(measured)
    return [one.as_row() for one in measured]


_MEASURE = {
    "throughput": _throughput,
    "paced": _paced,
    "slowdown": _slowdown,
    "startup": _startup,
    "memory": _memory,
    "freezing": _freezing,
    "walking": _walking,
    "tasks": _tasks,
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/bench",
        description="Measures Onlooker against py-spy, Austin and CPython 3.15's"
        " profiling.sampling (tachyon), all in one run, as ratios. Needs root, and a machine that"
        " has nothing else to do.",
        epilog="A full run takes more than an hour. Examples: scripts/bench --quick;"
        " scripts/bench --only throughput --depth 200 --threads 1,10",
    )
    add = parser.add_argument
    add("--only", type=_some_of(MEASURES), metavar="MEASURE,...", help=", ".join(MEASURES))
    add(
        "--quick",
        action="store_true",
        help="few and short runs; no JSON line unless --json is given",
    )
    add("--seconds", type=float, help="of each recording")
    add("--rounds", type=int, help="recordings of each agent on each target")
    add("--pairs", type=int, help="pairs of moments for the slowdown")
    add("--agents", type=_some_of(AGENTS), metavar="AGENT,...", help=", ".join(AGENTS))
    add("--depth", type=_numbers, metavar="N,...", help="frames of each thread")
    add("--threads", type=_numbers, metavar="N,...", help="threads, one of them busy")
    add(
        "--leaf",
        type=_some_of(LEAVES),
        metavar="LEAF,...",
        help="what the busy thread does: loop, calls",
    )
    add(
        "--json",
        type=Path,
        metavar="FILE",
        help="where to add the line (default: tests/bench.jsonl)",
    )
    add(
        "--onlooker",
        default=f"bash {CLONE}/scripts/onlooker",
        metavar="COMMAND",
        help="measure this one",
    )
    return parser


def _some_of(choices: Sequence[str]) -> Callable[[str], list[str]]:
    """Reads a list of some of the choices, separated by commas."""

    def read(text: str) -> list[str]:
        names = text.split(",")
        if unknown := set(names) - set(choices):
            raise argparse.ArgumentTypeError(
                f"{', '.join(sorted(unknown))}: not of {', '.join(choices)}"
            )
        return names

    return read


def _numbers(text: str) -> list[int]:
    """Reads numbers separated by commas."""
    return [int(number) for number in text.split(",")]
