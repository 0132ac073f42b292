"""What people and other programs read: messages on stderr, data on stdout.

Either may be closed, or a pipe whose reader has gone.
"""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress
from typing import IO, Final

from onlooker.errors import OutputError, UsageError

BOLD: Final = "1"
DIM: Final = "2"
RED: Final = "31"
YELLOW: Final = "33"

_COLUMNS: Final = 80


def say(text: str) -> None:
    """Tell people something. That nobody listens is no error."""
    # print() to None would go to stdout, into the data.
    if sys.stderr is not None:
        with suppress(OSError):
            print(text, file=sys.stderr, flush=True)


def error(message: str, hint: str) -> None:
    """Tell what failed and why, and what to do next."""
    say(f"{styled('onlooker:', RED)} {message}")
    if hint:
        say(f"  {hint}")


def traceback() -> None:
    """Tell where the exception that is being handled came from."""
    import traceback

    say(traceback.format_exc().rstrip())


def put(text: str) -> None:
    """Write data to stdout. A reader that closes its pipe has read enough.

    Raises OutputError.
    """
    try:
        if sys.stdout is None:
            raise OSError("it is closed")
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="backslashreplace")  # names may be of any script
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        _discard_stdout()
    except OSError as problem:
        _discard_stdout()
        raise OutputError(
            f"can't write standard output: {problem.strerror or problem}"
        ) from problem


def styled(text: str, style: str) -> str:
    """Return the text in a style, if people see it on a terminal and want that."""
    if is_terminal(sys.stderr) and not os.environ.get("NO_COLOR"):
        return f"\x1b[{style}m{text}\x1b[0m"
    return text


def refuse_binary() -> None:
    """Raise UsageError if stdout is a terminal, which can't show a binary profile."""
    if is_terminal(sys.stdout):
        raise UsageError(
            "the profile is binary, which a terminal can't show",
            "Give --output a file, or choose a --format of text.",
        )


def is_terminal(file: IO[str] | None) -> bool:
    """Whether the file is a terminal that can do more than append."""
    return file is not None and file.isatty() and os.environ.get("TERM") != "dumb"


def columns(file: IO[str] | None) -> int:
    """Return how wide the terminal is that the file writes to; 80 if it is none."""
    try:
        return (os.get_terminal_size(file.fileno()).columns if file else 0) or _COLUMNS
    except (OSError, ValueError):
        return _COLUMNS


def _discard_stdout() -> None:
    # What is still buffered would be tried again, and complained about, when Python exits.
    if sys.stdout is not None:
        with open(os.devnull, "wb") as null:
            os.dup2(null.fileno(), sys.stdout.fileno())
