"""The paths of owners that hold most of a heap."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Final, NamedTuple

from onlooker.profile.amounts import percent, size
from onlooker.profile.model import Location, Profile
from onlooker.profile.printable import printable

_SAME: Final = 0.9
"""What has so much of its owner's share is shown in its place."""


class Holder(NamedTuple):
    """What holds memory: its steps, outermost first, and what all that it owns comes to."""

    path: tuple[str, ...]
    objects: int
    size: int


def holders(profile: Profile, most: int) -> list[Holder]:
    """Return those of a heap profile by path that hold most, the greatest first.

    A path is left out if nearly all that it holds is held by one step more.
    """
    totals: dict[tuple[Location, ...], list[int]] = defaultdict(lambda: [0, 0])
    for sample in profile.samples:
        *_, objects, total = sample.values
        steps = sample.stack[:0:-1]  # the first is the type
        for depth in range(1, len(steps) + 1):
            held = totals[steps[:depth]]
            held[0] += objects
            held[1] += total
    greatest_child: dict[tuple[Location, ...], int] = defaultdict(int)
    for path, (_, total) in totals.items():
        greatest_child[path[:-1]] = max(greatest_child[path[:-1]], total)
    found = [
        Holder(tuple(step.function.name for step in path), objects, total)
        for path, (objects, total) in totals.items()
        if greatest_child[path] < _SAME * total
    ]
    found.sort(key=lambda holder: (-holder.size, holder.path))
    return found[:most]


def lines(profile: Profile, most: int = 10) -> Iterator[str]:
    """Yield the table, with a headline, without line ends."""
    total = sum(sample.values[-1] for sample in profile.samples)
    yield f"{'held':>10} {'share':>6} {'objects':>10}  by"
    for holder in holders(profile, most):
        path = " > ".join(map(printable, holder.path))
        yield (
            f"{size(holder.size, 'bytes'):>10} {percent(holder.size, total)}"
            f" {holder.objects:>10}  {path}"
        )
