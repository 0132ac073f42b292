"""A recording that goes on while a test does something else."""

import threading
from collections.abc import Sequence
from types import TracebackType

from onlooker import Recording, Target
from onlooker.observe.recorder import Pause
from onlooker.target import Progress

from tests.interpreters import DEADLINE_S

FULL_SPEED_HZ = 1e6


class Background:
    """Records a process in a thread, from its beginning or first sample to the block's end."""

    def __init__(
        self,
        pid: int,
        *kinds: str,
        rate_hz: float = FULL_SPEED_HZ,
        pause: Pause = "auto",
        own_child: bool = False,
        context_vars: Sequence[str] = (),
    ) -> None:
        self._target = Target(pid)
        self._kinds = kinds or ("wall",)
        self._own_child = own_child
        self._context_vars = context_vars
        self._begun, self._ended = threading.Event(), threading.Event()
        self._recordings: list[Recording] = []
        self._thread = threading.Thread(target=self._record, args=(rate_hz, pause))

    def _record(self, rate_hz: float, pause: Pause) -> None:
        def progress(now: Progress) -> None:
            if now.counters.samples or "threadcreate" in self._kinds:
                self._begun.set()

        try:
            self._recordings.append(
                self._target.record(
                    self._kinds,
                    DEADLINE_S,
                    rate_hz=rate_hz,
                    pause=pause,
                    context_vars=self._context_vars,
                    own_child=self._own_child,
                    stop=self._ended.is_set,
                    progress=progress,
                )
            )
        finally:
            self._begun.set()

    @property
    def recording(self) -> Recording:
        """What was recorded, after the block."""
        return self._recordings[0]

    def wait(self) -> None:
        """Wait until the recording ends by itself."""
        self._thread.join()

    def __enter__(self) -> "Background":
        self._thread.start()
        assert self._begun.wait(DEADLINE_S)
        assert self._thread.is_alive()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join()
        self._target.close()
