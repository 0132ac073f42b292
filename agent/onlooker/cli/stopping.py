"""Signals that ask to stop: the first one ends the recording, the second one everything."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from types import FrameType
from typing import Any, Final

_ALWAYS: Final = (signal.SIGINT, signal.SIGTERM)


class StopOnSignal:
    """While it is entered, SIGINT, SIGTERM and SIGHUP are requests to stop.

    A second signal raises KeyboardInterrupt. Those ``ignored`` are so meanwhile.
    """

    def __init__(self, ignored: Sequence[signal.Signals] = ()) -> None:
        self._asked = False
        self._ignored = tuple(ignored)
        self._before: dict[signal.Signals, Any] = {}

    def asked(self) -> bool:
        """Whether a signal has come."""
        return self._asked

    def __enter__(self) -> StopOnSignal:
        # A shell starts background commands with SIGINT ignored, but who sends it means it.
        # SIGHUP is ignored only on purpose, by nohup.
        hangs_up = signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN
        for number in (*_ALWAYS, *((signal.SIGHUP,) if hangs_up else ())):
            self._before[number] = signal.signal(number, self._handle)
        for number in self._ignored:
            self._before[number] = signal.signal(number, signal.SIG_IGN)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, _number: int, _frame: FrameType | None) -> None:
        if self._asked:
            raise KeyboardInterrupt
        self._asked = True
