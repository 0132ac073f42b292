"""A recording that goes on in the background, for profiles that only ever grow."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Final

from onlooker.errors import OnlookerError

if TYPE_CHECKING:
    from onlooker.observe.recorder import Counters, Pause
    from onlooker.profile.model import Profile
    from onlooker.target import Progress, Recording, Target

DEFAULT_RATE_HZ: Final = 10.0


class Watch:
    """Records kinds of profile of a target from now on, in a thread of its own.

    What it gives is cumulative since it began, as Go's block and mutex profiles are. Every method
    may be called by any thread; errors of the recording come out of ``profile``.
    """

    def __init__(
        self,
        target: Target,
        kinds: Sequence[str] = ("block", "mutex"),
        rate_hz: float = DEFAULT_RATE_HZ,
        *,
        pause: Pause = "auto",
        context_vars: Sequence[str] = (),
    ) -> None:
        self._changed = threading.Condition()
        self._asked = self._ended = False
        self._latest: Recording | None = None
        self._error: OnlookerError | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(
            target=self._record,
            args=(target, tuple(kinds), rate_hz, pause, context_vars),
            name="watch",
            daemon=True,
        )
        self._thread.start()

    def _record(
        self,
        target: Target,
        kinds: tuple[str, ...],
        rate_hz: float,
        pause: Pause,
        context_vars: Sequence[str],
    ) -> None:
        latest: Recording | None = None
        try:
            latest = target.record(
                kinds,
                rate_hz=rate_hz,
                pause=pause,
                context_vars=context_vars,
                stop=self._stop.is_set,
                progress=self._answer,
            )
        except OnlookerError as error:
            self._error = error
        finally:
            with self._changed:
                self._latest, self._asked, self._ended = latest, False, True
                self._changed.notify_all()

    def _answer(self, progress: Progress) -> None:
        if self._asked:
            with self._changed:
                self._latest, self._asked = progress.recording(), False
                self._changed.notify_all()

    @property
    def running(self) -> bool:
        """Whether it still records: false once it is closed or the target has ended."""
        return not self._ended

    def profile(self, kind: str, *, all_frames: bool = False) -> Profile:
        """What was recorded of this kind until now.

        Raises UsageError for a kind that is not recorded, and what ended the recording if there is
        nothing of it.
        """
        return self.recording().profile(kind, all_frames=all_frames)

    @property
    def counters(self) -> Counters:
        """What tells how far the profiles can be believed. Raises as ``profile``."""
        return self.recording().counters

    def recording(self) -> Recording:
        """All of it, until now. Raises what ended the recording if there is nothing of it."""
        with self._changed:
            self._asked = not self._ended
            self._changed.wait_for(lambda: not self._asked)
            if self._latest is None:
                raise self._error or OnlookerError("nothing was recorded")
            return self._latest

    def close(self) -> None:
        """End the recording. What it recorded stays."""
        self._stop.set()
        self._thread.join()

    def __enter__(self) -> Watch:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
