"""Makes a profile of what the recorder counted."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import Final, Generic, NamedTuple, TypeVar, overload

from onlooker.profile.bootstrap import without_bootstrap
from onlooker.profile.kinds import Kind
from onlooker.profile.model import Labels, Location, Profile, Sample
from onlooker.profile.model import Mapping as ProgramMapping
from onlooker.profile.rows import Row, Thread

T = TypeVar("T")

_LABELS_KEPT: Final = 1024

Stacks = Callable[[int], Sequence[Location]]
"""Names the stack of a row's ``stack_id``, leaf first. It is called several times per stack."""


class Recording(NamedTuple):
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
    values: Callable[[int], Labels] = lambda _: (),
    all_frames: bool = False,
) -> Profile:
    """Return the profile of this kind.

    Rows that the kind takes become samples in the order in which they are first seen; rows with
    equal stacks and labels become one. ``threads`` is keyed by the rows' ``thread_id``; a thread
    missing in it is labelled by this number. ``values`` gives the labels of rows' ``values``.
    Bootstrap frames at the root are left out unless ``all_frames``.
    """
    return Profile(
        kind=kind.name,
        sample_types=kind.sample_types,
        period_type=kind.period_type,
        period=kind.period(recording.rate_hz),
        time_ns=recording.time_ns,
        duration_ns=recording.duration_ns if kind.timed else 0,
        samples=_samples(kind, rows, _cut(stacks, all_frames), _labels(threads), values),
        comments=(*recording.comments, *((kind.note,) if kind.note else ())),
        mapping=recording.mapping,
        default_sample_type=kind.default_sample_type,
    )


def _samples(
    kind: Kind,
    rows: Iterable[Row],
    stack_of: Callable[[int], tuple[Location, ...]],
    labels_of: Callable[[int], Labels],
    values_of: Callable[[int], Labels],
) -> Samples:
    stacks = _Equals(stack_of, _digest)
    labels_of = lru_cache(_LABELS_KEPT)(labels_of)
    samples = Samples(stack_of, values_of, len(kind.sample_types))
    for row in rows:
        values = kind.values(row)
        if not kind.takes(row) or not any(values):
            continue
        labels = labels_of(row.thread_id)
        if kind.labels:
            labels += kind.labels(row, stack_of(row.stack_id))
        samples.add(stacks.first(row.stack_id), labels, row.values, values)
    return samples


class Samples(Sequence[Sample]):
    """Samples that take little memory: stacks are named, again, whenever one is asked for.

    So are the labels that ``labels_of`` gives to what a row's ``values`` is.
    """

    def __init__(
        self,
        stack_of: Callable[[int], tuple[Location, ...]],
        labels_of: Callable[[int], Labels],
        width: int,
    ) -> None:
        self._stack_of = stack_of
        self._labels_of = labels_of
        self._numbers: dict[Labels, int] = {}
        self._all_labels: list[Labels] = []
        self._more_labels = array("I")
        self._stacks = array("I")
        self._labels = array("I")
        self._places: dict[int, int] = {}
        self._columns = tuple(array("q") for _ in range(width))

    def add(self, stack: int, labels: Labels, more: int, values: tuple[int, ...]) -> None:
        """Add to the sample of this stack, these labels and ``more`` of them, for ``labels_of``."""
        number = self._numbers.setdefault(labels, len(self._all_labels))
        if number == len(self._all_labels):
            self._all_labels.append(labels)
        key = stack << 64 | number << 32 | more
        place = self._places.setdefault(key, len(self._stacks))
        if place == len(self._stacks):
            self._stacks.append(stack)
            self._labels.append(number)
            self._more_labels.append(more)
            for column in self._columns:
                column.append(0)
        for column, value in zip(self._columns, values, strict=True):
            column[place] += value

    def __len__(self) -> int:
        return len(self._stacks)

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> list[Sample]: ...
    def __getitem__(self, index: int | slice) -> Sample | list[Sample]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        return Sample(
            self._stack_of(self._stacks[index]),
            tuple(column[index] for column in self._columns),
            self._all_labels[self._labels[index]] + self._labels_of(self._more_labels[index]),
        )


class _Equals(Generic[T]):
    """Knows the first of all ids that stand for equal things.

    Different stack ids become equal stacks where instructions share a line, or once bootstrap
    frames are gone.
    """

    def __init__(self, thing_of: Callable[[int], T], key_of: Callable[[T], Hashable]) -> None:
        self._thing_of = thing_of
        self._key_of = key_of
        self._first: dict[int, int] = {}
        self._by_key: dict[Hashable, int] = {}

    def first(self, number: int) -> int:
        first = self._first.get(number)
        if first is None:
            key = self._key_of(self._thing_of(number))
            first = self._first[number] = self._by_key.setdefault(key, number)
        return first


def _digest(stack: tuple[Location, ...]) -> bytes:
    """Return what stands for a stack: a long recording has too many to keep them as tuples."""
    hashes = array("q", map(hash, stack)).tobytes()
    return blake2b(hashes, digest_size=16).digest()


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
