"""The line that shows how far a recording is. Only a terminal gets it."""

from __future__ import annotations

from typing import Final

from onlooker.cli.line import Line
from onlooker.recording import Progress, truth

_BAR_COLUMNS: Final = 20


class Bar(Line):
    """How far a recording is."""

    def __init__(self, seconds: float | None, *, shown: bool) -> None:
        super().__init__(shown=shown)
        self._seconds = seconds

    def update(self, progress: Progress) -> None:
        """Show how far the recording is."""
        self.show(text(progress, self._seconds))


def text(progress: Progress, seconds: float | None) -> str:
    """Return the line: the time that has passed, of ``seconds`` if given, and the counters."""
    elapsed = progress.elapsed_ns / 1e9
    shown = f"{elapsed:.1f} s"
    if seconds is not None:
        done = min(round(_BAR_COLUMNS * elapsed / seconds), _BAR_COLUMNS)
        shown = f"[{'#' * done}{'.' * (_BAR_COLUMNS - done)}] {elapsed:.1f} of {seconds:g} s"
    counts = "  ".join(f"{name} {value}" for name, value in truth(progress.counters))
    return f"{shown}  {counts}"
