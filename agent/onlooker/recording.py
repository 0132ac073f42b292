"""What was recorded of a process, and how far a recording is."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from onlooker.errors import TargetGone, UsageError
from onlooker.observe.recorder import Counters, Outcome, Recorder
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

# Names are learnt soon, since what starts often ends soon, and then as often as a person looks.
_FIRST_SLICE_NS: Final = 20_000_000
_SLICE_NS: Final = 200_000_000


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a recording is. ``recording`` gives what was recorded until now."""

    elapsed_ns: int
    counters: Counters
    recording: Callable[[], Recording]


@dataclass(frozen=True)
class Recording:
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

    @cached_property
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


def kinds_to_record(names: Sequence[str]) -> tuple[Kind, ...]:
    """The kinds of these names, each once. Raises UsageError for one that can't be recorded."""
    unknown = [name for name in names if name not in KINDS]
    if unknown or not names:
        raise UsageError(
            f"there is no profile kind {', '.join(unknown)!r}",
            f"The kinds are: {', '.join(KINDS)}.",
        )
    chosen = tuple(KINDS[name] for name in dict.fromkeys(names))
    if memory := [kind.name for kind in chosen if kind.heap]:
        raise UsageError(
            f"{' and '.join(memory)} can't be recorded: memory is looked at as it is now",
            "Use onlooker heap, or Target.heap_profile.",
        )
    return chosen


def until_its_end(
    recorder: Recorder,
    learn: Callable[[], None],
    seconds: float | None,
    stop: Callable[[], bool],
    progress: Callable[[Progress], None],
    recording: Callable[[], Recording],
) -> str:
    """Run until the end, and say why it was one."""
    began_ns = now_ns = time.monotonic_ns()
    end_ns = began_ns + round(seconds * 1e9) if seconds is not None else None
    slice_ns = _FIRST_SLICE_NS
    while not stop():
        if end_ns is not None and now_ns >= end_ns:
            return TIME_IS_UP
        until_ns = now_ns + slice_ns
        outcome = recorder.run(until_ns if end_ns is None else min(until_ns, end_ns))
        if outcome is Outcome.GONE:
            return TARGET_ENDED
        try:
            learn()
        except TargetGone:
            return TARGET_ENDED
        now_ns = time.monotonic_ns()
        progress(Progress(now_ns - began_ns, recorder.counters, recording))
        slice_ns = _SLICE_NS
    return STOPPED
