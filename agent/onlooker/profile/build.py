"""Makes a profile of what the recorder counted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import add
from typing import Generic, TypeVar

from onlooker.profile.bootstrap import without_bootstrap
from onlooker.profile.kinds import Kind
from onlooker.profile.model import Labels, Location, Profile, Sample
from onlooker.profile.model import Mapping as ProgramMapping
from onlooker.profile.rows import Row, Thread

T = TypeVar("T")

Stacks = Callable[[int], Sequence[Location]]
"""Names the stack of a row's ``stack_id``, leaf first. It is called once per stack and profile."""


@dataclass(frozen=True, slots=True)
class Recording:
    """The circumstances of a recording. ``time_ns`` is its start since the Unix epoch."""

    rate_hz: float
    time_ns: int
    duration_ns: int
    comments: tuple[str, ...]
    mapping: ProgramMapping


def build(
    kind: Kind,
    rows: Iterable[Row],
    stacks: Stacks,
    threads: Mapping[int, Thread],
    recording: Recording,
    *,
    all_frames: bool = False,
) -> Profile:
    """Return the profile of this kind.

    Rows that the kind takes become samples in the order in which they are first seen; rows with
    equal stacks and labels become one. ``threads`` is keyed by the rows' ``thread_id``; a thread
    missing in it is labelled by this number. Bootstrap frames at the root are left out unless
    ``all_frames``.
    """
    return Profile(
        kind=kind.name,
        sample_types=kind.sample_types,
        period_type=kind.period_type,
        period=kind.period(recording.rate_hz),
        time_ns=recording.time_ns,
        duration_ns=recording.duration_ns,
        samples=_samples(kind, rows, _cut(stacks, all_frames), _labels(threads)),
        comments=recording.comments,
        mapping=recording.mapping,
        default_sample_type=kind.default_sample_type,
    )


def _samples(
    kind: Kind,
    rows: Iterable[Row],
    stack_of: Callable[[int], tuple[Location, ...]],
    labels_of: Callable[[int], Labels],
) -> list[Sample]:
    stacks = _Numbering(stack_of)
    labels = _Numbering(labels_of)
    totals: dict[tuple[int, int], tuple[int, ...]] = {}
    for row in rows:
        if not kind.takes(row):
            continue
        key = stacks.number(row.stack_id), labels.number(row.thread_id)
        values = kind.values(row)
        sums = totals.get(key)
        totals[key] = values if sums is None else tuple(map(add, sums, values))
    return [
        Sample(stacks.things[stack], values, labels.things[label])
        for (stack, label), values in totals.items()
    ]


class _Numbering(Generic[T]):
    """Asks once what an id stands for, and gives one number to all ids of equal things.

    Different stack ids become equal stacks where instructions share a line, or once bootstrap
    frames are gone. A number is a far cheaper key for the sums than a stack of many frames.
    """

    def __init__(self, thing_of: Callable[[int], T]) -> None:
        self.things: list[T] = []
        self._thing_of = thing_of
        self._by_id: dict[int, int] = {}
        self._by_thing: dict[T, int] = {}

    def number(self, key: int) -> int:
        number = self._by_id.get(key)
        if number is None:
            thing = self._thing_of(key)
            number = self._by_id[key] = self._by_thing.setdefault(thing, len(self.things))
            if number == len(self.things):
                self.things.append(thing)
        return number


def _cut(stacks: Stacks, all_frames: bool) -> Callable[[int], tuple[Location, ...]]:
    if all_frames:
        return lambda stack_id: tuple(stacks(stack_id))
    return lambda stack_id: tuple(without_bootstrap(stacks(stack_id)))


def _labels(threads: Mapping[int, Thread]) -> Callable[[int], Labels]:
    several = len({thread.interpreter for thread in threads.values()}) > 1

    def labels(thread_id: int) -> Labels:
        thread = threads.get(thread_id) or Thread(thread_id)
        found = [("thread", thread.name)] if thread.name else []
        # Text, as pprof adds up and scales numbers, and Pyroscope drops them.
        found.append(("thread_id", str(thread.thread_id)))
        if several:
            found.append(("interpreter", str(thread.interpreter)))
        return tuple(found)

    return labels
