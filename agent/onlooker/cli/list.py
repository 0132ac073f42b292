"""``onlooker list``: the Python processes, and why some can't be looked into."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from onlooker.cli import terminal
from onlooker.cli.arguments import Arguments
from onlooker.profile.printable import printable
from onlooker.runtime.processes import PythonProcess, find_by_name, python_processes
from onlooker.runtime.version import version_text


def run(arguments: Arguments) -> int:
    """Print a row for each process, as text or JSON."""
    if arguments.name is not None:
        processes = find_by_name(arguments.name)
    else:
        processes = list(python_processes())
    if arguments.json:
        terminal.put(as_json(processes))
    elif processes:
        terminal.put(as_text(processes, verbose=arguments.verbose))
    elif not arguments.quiet:
        terminal.say("no Python process was found")
    return 0


def as_text(processes: Sequence[PythonProcess], *, verbose: bool) -> str:
    """Return the table. A process that can't be looked into has the reason below it."""
    return "".join(f"{line}\n" for line in _lines(processes, verbose))


def _lines(processes: Sequence[PythonProcess], verbose: bool) -> Iterator[str]:
    users = max(len("USER"), *(len(process.user) for process in processes))
    yield f"{'PID':>7}  {'PYTHON':<9} {'USER':<{users}}  COMMAND"
    for process in processes:
        yield (
            f"{process.pid:>7}  {_version(process) or '?':<9} {process.user:<{users}}"
            f"  {printable(process.command)}"
        )
        if process.problem:
            yield f"{'':>7}  can't be looked into: {process.problem}"
            if verbose and process.problem.hint:
                yield f"{'':>7}  {process.problem.hint}"


def as_json(processes: Sequence[PythonProcess]) -> str:
    """Return the same as a JSON array."""
    rows = [
        {
            "pid": process.pid,
            "python": _version(process),
            "user": process.user,
            "program": process.program,
            "command": process.command,
            "problem": str(process.problem) if process.problem else None,
            "hint": process.problem.hint if process.problem else None,
        }
        for process in processes
    ]
    return json.dumps(rows) + "\n"


def _version(process: PythonProcess) -> str | None:
    return version_text(process.version) if process.version else None
