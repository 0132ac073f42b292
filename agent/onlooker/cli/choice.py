"""Which process is meant."""

from __future__ import annotations

from onlooker.cli.arguments import Arguments
from onlooker.errors import NoSuchProcess, UsageError
from onlooker.profile.printable import printable
from onlooker.target import Target


def open_target(arguments: Arguments) -> Target:
    """Open the process that --pid or --name tells. Raises what Target does, and UsageError."""
    return Target(_pid(arguments))


def _pid(arguments: Arguments) -> int:
    if arguments.pid is not None:
        return arguments.pid
    from onlooker.runtime.processes import find_by_name

    pattern = arguments.name or ""
    found = find_by_name(pattern)
    if not found:
        raise NoSuchProcess(
            f"no Python process has a command line that matches {pattern!r}",
            "`onlooker list` shows all of them.",
        )
    if len(found) > 1:
        rows = "".join(f"\n  {process.pid:>7}  {printable(process.command)}" for process in found)
        raise UsageError(
            f"{len(found)} processes match {pattern!r}:{rows}",
            "Choose one with --pid, or make the pattern more exact.",
        )
    return found[0].pid
