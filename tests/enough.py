"""When a recording has lasted long enough, on machines that may be busy with something else."""

import pytest
from onlooker.target import Progress

#: For tests that compare measured times: other load can spoil one measurement, a fault spoils all.
MEASURES = pytest.mark.flaky(reruns=2)


class Enough:
    """Ends a recording after so many seconds, but not before it has so many ticks and samples."""

    def __init__(self, seconds: float, ticks: int, samples: int = 0) -> None:
        self._seconds = seconds
        self._ticks = ticks
        self._samples = samples
        self._is_enough = False

    def progress(self, now: Progress) -> None:
        """What Target.record calls."""
        has_lasted = now.elapsed_ns >= self._seconds * 1e9
        counters = now.counters
        self._is_enough = (
            has_lasted and counters.ticks >= self._ticks and counters.samples >= self._samples
        )

    def stop(self) -> bool:
        """What Target.record asks."""
        return self._is_enough
