"""A line that tells how far something is. Only a terminal gets it."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import Final, TypeVar

from onlooker.cli.terminal import columns, is_terminal

_START_OF_LINE: Final = "\r\x1b[K"

_Self = TypeVar("_Self", bound="Line")


class Line:
    """Writes itself over at every update, and vanishes in the end."""

    def __init__(self, *, shown: bool) -> None:
        self._shown = shown and is_terminal(sys.stderr)

    def show(self, text: str) -> None:
        """Show this instead of what was shown before."""
        if self._shown:
            self._write(text[: columns(sys.stderr) - 1])

    def show_objects(self, what: str, count: int) -> None:
        """Show what is being done, and how many objects of it were met, if any."""
        self.show(f"{what}{f' {count} objects' * bool(count)}")

    def __enter__(self: _Self) -> _Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._shown:
            self._write("")

    def _write(self, text: str) -> None:
        with suppress(OSError):
            sys.stderr.write(_START_OF_LINE + text)
            sys.stderr.flush()
