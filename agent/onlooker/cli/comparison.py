"""What the commands that compare profiles share: how stacks are shown, and where results go."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Hashable
from typing import Any, Final

from onlooker import outputs
from onlooker.cli import summary, terminal
from onlooker.cli.arguments import Arguments
from onlooker.errors import UsageError
from onlooker.outputs import files
from onlooker.profile.model import Location, Profile
from onlooker.profile.printable import printable
from onlooker.version import VERSION

_SHOWN_STEPS: Final = 16
_ARROW: Final = " -> "


def check_output(output: str | None) -> None:
    """Raise UsageError or OutputError if the pprof file plainly can't be written."""
    if output == files.STDOUT and terminal.is_terminal(sys.stdout):
        raise UsageError(
            "the profile is binary, which a terminal can't show", "Give --output a file."
        )
    if output is not None:
        files.check(output)


def finish(arguments: Arguments, text: str, difference: Profile | None, what: str) -> None:
    """Print what was found, and write the pprof file if --output asks for it.

    ``what`` is the comment that says what the file is.
    """
    if arguments.output is None or difference is None:
        terminal.put(text)
        return
    comment = f"onlooker {VERSION}: {shlex.join(sys.argv)}"
    told = [comment, what, *(found for found in difference.comments if found != comment)]
    profile = difference._replace(comments=tuple(told))
    files.save(arguments.output, lambda file: outputs.load("pprof").write(profile, file))
    if arguments.output == files.STDOUT:
        terminal.say(text.rstrip("\n"))
        return
    terminal.put(text)
    if not arguments.quiet:
        terminal.say(summary.how_to_open(arguments.output, "pprof"))


def key_text(key: Hashable) -> str:
    """Return a stack, a type or a function in one line; a stack root first."""
    if not isinstance(key, tuple):
        return printable(str(key))
    steps = [printable(location.function.name) for location in reversed(key)]
    if len(steps) > _SHOWN_STEPS:
        half = _SHOWN_STEPS // 2
        steps[half:-half] = [f"({len(steps) - 2 * half} more)"]
    text = _ARROW.join(steps)
    leaf: Location | None = key[0] if key else None
    if leaf and leaf.function.filename:
        text += f" ({printable(leaf.function.filename)}:{leaf.line})"
    return text or "(no stack)"


def key_json(key: Hashable) -> Any:
    """Return a name, or a stack as a list of its functions, root first."""
    if not isinstance(key, tuple):
        return key
    return [
        {"function": at.function.name, "file": at.function.filename, "line": at.line}
        for at in reversed(key)
    ]


def moment(time_ns: int) -> str:
    """Return a time since the Unix epoch for people, in UTC."""
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(time_ns // 1_000_000_000))
    except (OverflowError, ValueError, OSError):  # a file may say anything
        return "an unknown time"


def span(nanoseconds: int) -> str:
    """Return a duration for people, such as 23.8 h."""
    for unit_ns, unit in ((86_400 * 10**9, "days"), (3_600 * 10**9, "h"), (60 * 10**9, "min")):
        if abs(nanoseconds) >= 2 * unit_ns:
            return f"{nanoseconds / unit_ns:.1f} {unit}"
    return f"{nanoseconds / 1e9:.1f} s"
