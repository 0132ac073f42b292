"""What differs between two profiles, and sums by what one wants to compare."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Final, Literal, NamedTuple

from onlooker.profile.model import Labels, Location, Profile, Sample

By = Literal["stack", "type", "function"]
BY: Final[tuple[By, ...]] = ("stack", "type", "function")

Stack = tuple[Location, ...]


def difference(before: Profile, after: Profile) -> Profile:
    """Return what has changed between two profiles of a kind; it may be negative.

    It is what ``go tool pprof -diff_base=BEFORE AFTER`` shows: samples are the same if stack and
    labels are. As there, values are not scaled if only the periods differ. The duration is the time
    between the two. Raises ValueError if the two don't count the same things.
    """
    check_comparable(before, after)
    changed: dict[tuple[Stack, Labels], list[int]] = {}
    for sign, profile in ((1, after), (-1, before)):
        for sample in profile.samples:
            values = changed.setdefault((sample.stack, sample.labels), [0] * len(sample.values))
            for index, value in enumerate(sample.values):
                values[index] += sign * value
    return after._replace(
        samples=[
            Sample(stack, tuple(map(_int64, values)), labels)
            for (stack, labels), values in changed.items()
            if any(values)
        ],
        duration_ns=_int64(after.time_ns - before.time_ns),
    )


def _int64(value: int) -> int:
    """Return the nearest number that a profile can hold: two of them may be too far apart."""
    return max(-(1 << 63), min(value, (1 << 63) - 1))


def check_comparable(before: Profile, after: Profile) -> None:
    """Raise ValueError if two profiles don't count the same things."""
    counted = [_sample_types(profile) for profile in (before, after)]
    if counted[0] != counted[1]:
        raise ValueError(f"one counts {counted[0]}, the other {counted[1]}")
    if before.period_type != after.period_type:
        raise ValueError("they are samples of different things (their period types differ)")


def _sample_types(profile: Profile) -> str:
    return ", ".join(f"{entry.type}/{entry.unit}" for entry in profile.sample_types)


class Measure(NamedTuple):
    """Which values of a profile are compared: an amount and, unless it has none, their number.

    The amount is what the profile shows first, such as ``inuse_space``, and the number is what
    stands before that if it is a count, such as ``inuse_objects``.
    """

    amount: int
    number: int | None

    @classmethod
    def of(cls, profile: Profile) -> Measure:
        amount = profile.default_index
        counted = amount > 0 and profile.sample_types[amount - 1].unit == "count"
        return cls(amount, amount - 1 if counted else None)

    def take(self, sample: Sample) -> tuple[int, int]:
        """Return the number (0 if there is none) and the amount of a sample."""
        return 0 if self.number is None else sample.values[self.number], sample.values[self.amount]


def keys(sample: Sample, by: By) -> Iterable[Hashable]:
    """Return what a sample counts for.

    ``stack``: its stack. ``type``: its label ``type``, without one the name of its leaf.
    ``function``: the names of all its functions, each once.
    """
    if by == "stack":
        return (sample.stack,)
    if by == "type":
        return (type_of(sample),)
    return {location.function.name for location in sample.stack}


def type_of(sample: Sample) -> str:
    """Return the type of the objects that a sample stands for; see ``keys``."""
    for key, value in sample.labels:
        if key == "type":
            return str(value)
    return sample.stack[0].function.name if sample.stack else ""


def totals(profile: Profile, by: By, measure: Measure) -> dict[Hashable, tuple[int, int]]:
    """Return the number and the amount for each key."""
    sums: dict[Hashable, tuple[int, int]] = {}
    for sample in profile.samples:
        number, amount = measure.take(sample)
        for key in keys(sample, by):
            so_far = sums.get(key, (0, 0))
            sums[key] = so_far[0] + number, so_far[1] + amount
    return sums


class Change(NamedTuple):
    """What one stack, type or function was, and is: numbers and amounts."""

    key: Hashable
    number_before: int
    number_after: int
    amount_before: int
    amount_after: int

    @property
    def number(self) -> int:
        return self.number_after - self.number_before

    @property
    def amount(self) -> int:
        return self.amount_after - self.amount_before


def changes(before: Profile, after: Profile, by: By) -> list[Change]:
    """Return what has changed, what grew most first and what shrank most last.

    Raises ValueError if the two don't count the same things.
    """
    check_comparable(before, after)
    measure = Measure.of(after)
    was, is_now = totals(before, by, measure), totals(after, by, measure)
    found = [
        Change(key, *_interleaved(was.get(key, (0, 0)), is_now.get(key, (0, 0))))
        for key in {**is_now, **was}
    ]
    return sorted(
        (change for change in found if change.amount or change.number),
        key=lambda change: (-change.amount, -change.number, str(change.key)),
    )


def _interleaved(before: tuple[int, int], after: tuple[int, int]) -> tuple[int, int, int, int]:
    return before[0], after[0], before[1], after[1]
