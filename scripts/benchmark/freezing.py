"""How long a program stands still while its memory is looked at, by its own clock."""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .processes import CommandFailed, run
from .targets import Target
from .tools import PROGRAMS, Tools

OURS = "onlooker"
STOP_AND_READ = "stop and read"
GCORE = "gcore"
UNDISTURBED = "nobody looks"


@dataclass(frozen=True)
class Freezing:
    """One way to look, on a heap of one size."""

    label: str
    version: str
    mib: int
    goal: float | None
    """The pause of Onlooker is to be less than so much of this one."""
    gaps_ms: tuple[float, ...]
    """Of each look, the longest time in which the target did nothing."""

    @property
    def median_ms(self) -> float:
        """The middle one."""
        return statistics.median(self.gaps_ms)

    def as_row(self) -> dict[str, Any]:
        """For the JSON line."""
        return {
            "agent": self.label,
            "python": self.version,
            "mib": self.mib,
            "gaps_ms": [round(gap_ms, 2) for gap_ms in self.gaps_ms],
        }


def freezing(tools: Tools, mib: int, rounds: int) -> list[Freezing]:
    """Looks at one program in all ways, which take turns."""
    with (
        tempfile.TemporaryDirectory() as folder,
        Target(tools, "3.14", "heap.py", mib) as target,
    ):
        looks = _looks(tools, target.pid, Path(folder))
        gaps_ms: dict[str, list[float]] = {label: [] for label in looks}
        for _ in range(rounds):
            for label, look in looks.items():
                target.ask("")
                try:
                    look()
                except CommandFailed as error:
                    print(f"{label}: {error}", file=sys.stderr)
                else:
                    gaps_ms[label].append(target.ask("")["gap_ms"])
        goals = {STOP_AND_READ: 0.1, GCORE: 0.01}
        return [
            Freezing(label, target.version, mib, goals.get(label), tuple(gaps))
            for label, gaps in gaps_ms.items()
            if gaps
        ]


def _looks(tools: Tools, pid: int, folder: Path) -> dict[str, Callable[[], object]]:
    stop_read = folder / "stop_read"
    source = PROGRAMS / "stop_read.c"
    subprocess.run(["cc", "-O2", "-o", str(stop_read), str(source)], check=True)
    profile = folder / "heap.pb.gz"
    heap = [*tools.onlooker, "heap", "--pid", str(pid), "--source", "objects", "--by", "type"]
    looks: dict[str, Callable[[], object]] = {
        UNDISTURBED: lambda: run(["sleep", "1"]).checked(),
        OURS: lambda: run([*heap, "-q", "-o", str(profile)], limit_s=600).checked(),
        STOP_AND_READ: lambda: run([str(stop_read), str(pid)]).checked(),
    }
    if gcore := shutil.which("gcore"):

        def dump() -> None:
            run([gcore, "-o", str(folder / "core"), str(pid)], limit_s=600).checked()
            (folder / f"core.{pid}").unlink()

        looks[GCORE] = dump
    else:
        print("gcore is not here (apt-get install gdb)", file=sys.stderr)
    return looks
