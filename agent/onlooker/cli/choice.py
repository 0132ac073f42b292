"""Which process is meant."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onlooker.cli.arguments import Arguments
from onlooker.errors import NoSuchProcess, UsageError
from onlooker.profile.printable import printable
from onlooker.target import Target

if TYPE_CHECKING:
    from onlooker.runtime.processes import PythonProcess


def open_target(arguments: Arguments) -> Target:
    """Open the process that --pid or --name tells. Raises what Target does, and UsageError."""
    return Target(_pid(arguments))


def matching(pattern: str) -> list[PythonProcess]:
    """The processes whose command line matches: at least one. Raises NoSuchProcess."""
    from onlooker.runtime.processes import find_by_name

    found = find_by_name(pattern)
    if not found:
        raise NoSuchProcess(
            f"no Python process has a command line that matches {pattern!r}",
            "`onlooker list` shows all of them.",
        )
    return found


def _pid(arguments: Arguments) -> int:
    if arguments.pid is not None:
        return arguments.pid
    pattern = arguments.name or ""
    found = matching(pattern)
    if len(found) > 1:
        rows = "".join(f"\n  {process.pid:>7}  {printable(process.command)}" for process in found)
        raise UsageError(
            f"{len(found)} processes match {pattern!r}:{rows}",
            "Choose one with --pid, or make the pattern more exact.",
        )
    return found[0].pid
