"""What was recorded of a process and how, and how far a recording is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple

from onlooker.errors import UsageError
from onlooker.observe.recorder import Counters, Pause
from onlooker.profile.creations import Creations
from onlooker.profile.kinds import KINDS, Kind
from onlooker.profile.model import Labels, Location, Mapping, Profile
from onlooker.profile.rows import Row, Thread
from onlooker.profile.snapshot import Snapshot

TIME_IS_UP: Final = "the time was up"
STOPPED: Final = "it was stopped"
STILL_RUNNING: Final = "it goes on"
TARGET_ENDED: Final = "the target ended"
TARGET_REPLACED: Final = "the target executed another program"

DEFAULT_RATE_HZ: Final = 100.0
DEFAULT_DEPTH: Final = 512
MIN_RATE_HZ: Final = 0.01
MAX_RATE_HZ: Final = 1e6
MAX_DEPTH: Final = 1 << 16


class Options:
    """How to record, as Target.record tells. Raises UsageError for a rate or depth beyond reach."""

    def __init__(
        self,
        rate_hz: float = DEFAULT_RATE_HZ,
        pause: Pause = "auto",
        depth: int = DEFAULT_DEPTH,
        context_vars: Sequence[str] = (),
        own_child: bool = False,
    ) -> None:
        _check_range("rate", rate_hz, MIN_RATE_HZ, MAX_RATE_HZ)
        _check_range("depth", depth, 1, MAX_DEPTH)
        self.rate_hz: Final = rate_hz
        self.pause: Final = pause
        self.depth: Final = depth
        self.context_vars: Final = context_vars
        self.own_child: Final = own_child


class Progress(NamedTuple):
    """How far a recording is. ``recording`` gives what was recorded until now."""

    elapsed_ns: int
    counters: Counters
    recording: Callable[[], Recording]


class Recording(NamedTuple):
    """What was recorded of a process: profiles of all the kinds asked for, from the same samples.

    ``end`` says why it ended: TIME_IS_UP, STOPPED, TARGET_ENDED, TARGET_REPLACED, or not at all:
    STILL_RUNNING. ``caveats``
    are sentences about what the recording lacks; ``comments`` has them, too. ``rows`` are what was
    counted, ``stack`` names a row's ``stack_id``, leaf first, ``threads`` its ``thread_id``,
    ``values`` gives the labels of its ``values``. ``snapshot`` is there if a kind was asked for
    that is a picture of one moment, ``creations`` if threads were watched.
    """

    kinds: tuple[Kind, ...]
    rate_hz: float
    start_ns: int
    duration_ns: int
    end: str
    counters: Counters
    pauses_ns: tuple[int, ...]
    caveats: tuple[str, ...]
    comments: tuple[str, ...]
    mapping: Mapping
    rows: Iterable[Row]
    stack: Callable[[int], tuple[Location, ...]]
    threads: dict[int, Thread]
    snapshot: Snapshot | None = None
    creations: Creations | None = None
    values: Callable[[int], Labels] = lambda _: ()

    def profile(self, kind: str, *, all_frames: bool = False) -> Profile:
        """One of the kinds recorded. Bootstrap frames are left out unless ``all_frames``.

        Raises UsageError for a kind that was not recorded.
        """
        # Not before the first sample, which would wait for them.
        from onlooker.profile import build, instant, threadcreate

        if kind not in {recorded.name for recorded in self.kinds}:
            raise UsageError(f"the profile {kind!r} was not recorded")
        if self.snapshot and KINDS[kind].instant:
            return instant.goroutine(self.snapshot, all_frames=all_frames)
        about = build.Recording(
            self.rate_hz, self.start_ns, self.duration_ns, self.comments, self.mapping
        )
        if self.creations and KINDS[kind].watched:
            return threadcreate.threadcreate(self.creations, about, all_frames=all_frames)
        return build.build(
            KINDS[kind],
            self.rows,
            self.stack,
            self.threads,
            about,
            values=self.values,
            all_frames=all_frames,
        )

    @property
    def reached_hz(self) -> float:
        """Ticks a second that took place."""
        return self.counters.ticks * 1e9 / self.duration_ns if self.duration_ns else 0.0


def truth(counters: Counters) -> tuple[tuple[str, int], ...]:
    """The counters that tell how far a profile can be believed, by the names users see."""
    return (
        ("samples", counters.samples),
        ("torn", counters.torn),
        ("retried", counters.retried),
        ("displaced", counters.displaced),
        ("paused", counters.paused),
        ("late", counters.late),
        ("spared", counters.spared),
        ("lost", counters.lost),
    )


def _check_range(name: str, value: float, least: float, most: float) -> None:
    if not least <= value <= most:
        raise UsageError(f"the {name} {value:g} is not between {least:g} and {most:g}")
