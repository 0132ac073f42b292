"""What is measured: one class for each agent, which knows its command line and its account."""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from .pprof import count_samples
from .processes import Finished, Running, run
from .tools import Tools

AS_FAST_AS_IT_CAN = 1_000_000
"""A rate in Hz beyond what any agent reaches."""


@dataclass(frozen=True)
class Recording:
    """What an agent did in one run, by its own account and the kernel's."""

    stacks: int
    """Good thread samples: one stack of one thread at one tick each."""
    lost: int
    """Thread samples that it says it failed to take."""
    cpu_s: float
    """Of the whole command, its start and its output included."""
    wall_s: float
    peak_rss_kib: int
    summary: dict[str, Any]
    """What else it says of the run, if anything."""


class Agent(ABC):
    """A profiler that attaches to a process."""

    name: ClassVar[str]
    minors: ClassVar[tuple[str, ...]] = ("3.14",)
    """The CPython versions to measure it on."""
    exit_codes: ClassVar[tuple[int, ...]] = (0,)
    """Those of a recording that went well, whether it ended by itself or by SIGINT."""
    _duration_in_ticks: ClassVar[bool] = False
    """It ends after rate x seconds ticks, however late they are, so it is told to stop instead."""

    def __init__(self, tools: Tools, *options: str) -> None:
        self.label = " ".join((self.name, *options))
        self._tools = tools
        self._options = options

    def record(self, pid: int, threads: int, rate_hz: int, seconds: float) -> Recording:
        """Profiles all threads of a process, asleep or not.

        :raises CommandFailed: if the command failed, or doesn't tell what it did
        """
        interrupt_after_s = seconds if self._duration_in_ticks else None
        with Running(self._attach(pid, rate_hz, seconds)) as running:
            finished = running.finish(interrupt_after_s=interrupt_after_s, limit_s=seconds + 120)
        finished.checked(self.exit_codes)
        stacks, lost = self._account(finished, threads)
        return Recording(
            stacks,
            lost,
            finished.cpu_s,
            finished.wall_s,
            finished.peak_rss_kib,
            self.summary(finished),
        )

    def start(self, pid: int, rate_hz: int) -> Running:
        """Profiles all threads until it gets SIGINT."""
        return Running(self._attach(pid, rate_hz, None))

    def dump(self, pid: int) -> Finished:
        """Prints the stacks of all threads once, by a whole command."""
        return run(self._dump(pid)).checked()

    def summary(self, finished: Finished) -> dict[str, Any]:
        """What the command printed for machines; most print nothing."""
        return {}

    @abstractmethod
    def _attach(self, pid: int, rate_hz: int, seconds: float | None) -> list[str]:
        """The command that records."""

    @abstractmethod
    def _dump(self, pid: int) -> list[str]:
        """The command that prints the stacks once."""

    @abstractmethod
    def _account(self, finished: Finished, threads: int) -> tuple[int, int]:
        """Good and lost thread samples, by what the command printed and wrote."""

    def _output(self, suffix: str) -> Path:
        return self._tools.scratch / f"{self.name}.{suffix}"


class Onlooker(Agent):
    """This project: a wall profile, which takes every thread at every tick as the peers do."""

    name = "onlooker"
    minors = ("3.14", "3.15")

    def attach_command(self, pid: int, rate_hz: int, seconds: float | None) -> list[str]:
        """The command that writes a wall profile to `self.profile`, and its summary as JSON."""
        limit = [] if seconds is None else ["--seconds", f"{seconds:g}"]
        attach = ["attach", "--pid", str(pid), "--profile", "wall", "--rate", str(rate_hz), *limit]
        return [*self._tools.onlooker, *attach, "--json", "-o", str(self.profile), *self._options]

    @property
    def profile(self) -> Path:
        """Where it writes."""
        return self._output("pb.gz")

    def summary(self, finished: Finished) -> dict[str, Any]:
        """The JSON object that it printed; empty if there is none."""
        for text in (finished.stdout, finished.stderr):
            if (start := text.find("{")) >= 0:
                try:
                    found = json.loads(text[start : text.rindex("}") + 1])
                except ValueError:
                    continue
                if isinstance(found, dict):
                    return found
        return {}

    def _attach(self, pid: int, rate_hz: int, seconds: float | None) -> list[str]:
        self.profile.unlink(missing_ok=True)
        return self.attach_command(pid, rate_hz, seconds)

    def _dump(self, pid: int) -> list[str]:
        return [*self._tools.onlooker, "dump", "--pid", str(pid)]

    def _account(self, finished: Finished, threads: int) -> tuple[int, int]:
        # Counted from the file: what isn't in the profile was not sampled, whatever else it says.
        return count_samples(self.profile), int(self.summary(finished).get("lost", 0))


class PySpy(Agent):
    """py-spy. It stops the target for each sample unless told not to."""

    name = "py-spy"
    _duration_in_ticks = True

    def _attach(self, pid: int, rate_hz: int, seconds: float | None) -> list[str]:
        record = [self._tools.py_spy, "record", "--pid", str(pid), "--rate", str(rate_hz)]
        output = ["--format", "raw", "--output", str(self._output("raw"))]
        return [*record, "--idle", *output, *self._options]

    def _dump(self, pid: int) -> list[str]:
        return [self._tools.py_spy, "dump", "--pid", str(pid), *self._options]

    def _account(self, finished: Finished, threads: int) -> tuple[int, int]:
        lost = _number(r"Errors: (\d+)", finished) * threads
        return _collapsed_count(self._output("raw")), int(lost)


class Austin(Agent):
    """Austin. Each sample goes into its output at once; here that is /dev/null, in its favour."""

    name = "austin"
    exit_codes = (0, 254)  # 254 though all went well

    def _attach(self, pid: int, rate_hz: int, seconds: float | None) -> list[str]:
        limit = [] if seconds is None else ["--exposure", f"{max(1, round(seconds))}"]
        interval = f"{max(1, round(1_000_000 / rate_hz))}us"
        attach = ["--interval", interval, "--output", "/dev/null", "--pid", str(pid)]
        return [*self._tools.austin, *attach, *limit]

    def _dump(self, pid: int) -> list[str]:
        return [*self._tools.austin, "--where", str(pid)]

    def _account(self, finished: Finished, threads: int) -> tuple[int, int]:
        # It counts thread samples, the bad ones too: as many as there are stacks in its output.
        lost = int(_number(r"Error rate.*?(\d+)/\d+", finished))
        return int(_number(r"Error rate.*?\d+/(\d+)", finished)) - lost, lost


class Tachyon(Agent):
    """CPython 3.15's profiling.sampling, which reads only its own minor version."""

    name = "tachyon"
    minors = ("3.15",)

    def _attach(self, pid: int, rate_hz: int, seconds: float | None) -> list[str]:
        limit = [] if seconds is None else ["-d", f"{seconds:g}"]
        # Its binary format is its cheapest.
        output = ["--binary", "-o", self._tools.inside(self._output("bin"))]
        return self._sampling("attach", "-a", "-r", str(rate_hz), *limit, *output, str(pid))

    def _dump(self, pid: int) -> list[str]:
        return self._sampling("dump", "-a", str(pid))

    def _sampling(self, *arguments: str) -> list[str]:
        interpreter = self._tools.interpreters["3.15"]
        command, *rest = arguments
        return interpreter.command("-m", "profiling.sampling", command, *self._options, *rest)

    def _account(self, finished: Finished, threads: int) -> tuple[int, int]:
        ticks = _number(r"Captured (\d+) sample", finished)
        lost = ticks * _number(r"Error rate: ([\d.]+)", finished) / 100 * threads
        return int(_number(r"written to .* \((\d+) samples\)", finished)), round(lost)


def best_options(tools: Tools) -> list[Agent]:
    """Every agent with each way of running it that could be its fastest."""
    return [
        Onlooker(tools),
        Austin(tools),
        Tachyon(tools),
        PySpy(tools),
        PySpy(tools, "--nonblocking"),
    ]


def defaults(tools: Tools) -> list[Agent]:
    """Every agent as its users run it."""
    return [Onlooker(tools), Austin(tools), Tachyon(tools), PySpy(tools)]


def chosen(agents: Sequence[Agent], names: Sequence[str] | None) -> list[Agent]:
    """Those named; all of them if none is."""
    return [agent for agent in agents if names is None or agent.name in names]


def _number(pattern: str, finished: Finished) -> float:
    """The number in what a command printed; raises CommandFailed if it isn't there."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", finished.stdout + finished.stderr)
    found = re.search(pattern, text)
    if not found:
        finished.fail(f"did not print {pattern!r}")
    return float(found.group(1))


def _collapsed_count(path: Path) -> int:
    """The sum of the counts of a file of collapsed stacks, each at the end of its line."""
    with open(path, encoding="utf-8", errors="replace") as lines:
        return sum(int(line.rpartition(" ")[2]) for line in lines)
