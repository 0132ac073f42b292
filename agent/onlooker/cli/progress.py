"""The line that shows how far a recording is. Only a terminal gets it."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import Final

from onlooker.cli.terminal import columns, is_terminal
from onlooker.target import Progress, truth

_BAR_COLUMNS: Final = 20
_START_OF_LINE: Final = "\r\x1b[K"


class Bar:
    """Writes itself over at every update, and vanishes in the end."""

    def __init__(self, seconds: float | None, *, shown: bool) -> None:
        self._seconds = seconds
        self._shown = shown and is_terminal(sys.stderr)

    def update(self, progress: Progress) -> None:
        """Show how far the recording is."""
        if self._shown:
            self._write(text(progress, self._seconds)[: columns(sys.stderr) - 1])

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *_: object) -> None:
        if self._shown:
            self._write("")

    def _write(self, line: str) -> None:
        with suppress(OSError):
            sys.stderr.write(_START_OF_LINE + line)
            sys.stderr.flush()


def text(progress: Progress, seconds: float | None) -> str:
    """Return the line: the time that has passed, of ``seconds`` if given, and the counters."""
    elapsed = progress.elapsed_ns / 1e9
    shown = f"{elapsed:.1f} s"
    if seconds is not None:
        done = min(round(_BAR_COLUMNS * elapsed / seconds), _BAR_COLUMNS)
        shown = f"[{'#' * done}{'.' * (_BAR_COLUMNS - done)}] {elapsed:.1f} of {seconds:g} s"
    counts = "  ".join(f"{name} {value}" for name, value in truth(progress.counters))
    return f"{shown}  {counts}"
