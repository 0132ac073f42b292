"""The paths of owners that hold most of a heap."""

from __future__ import annotations

from collections.abc import Iterator
from heapq import nlargest
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


class _Node:
    """A step of paths, and what all that is held through it comes to."""

    __slots__ = ("children", "objects", "parent", "size", "step")

    def __init__(self, step: Location | None = None, parent: _Node | None = None) -> None:
        self.step = step
        self.parent = parent
        self.children: dict[Location, _Node] = {}
        self.objects = 0
        self.size = 0

    @property
    def path(self) -> tuple[str, ...]:
        """The names of the steps to it, outermost first."""
        names: list[str] = []
        node = self
        while node.step and node.parent:
            names.append(node.step.function.name)
            node = node.parent
        return tuple(reversed(names))


def holders(profile: Profile, most: int) -> list[Holder]:
    """Return those of a heap profile by path that hold most, the greatest first.

    A path is left out if nearly all that it holds is held by one step more.
    """
    root = _Node()
    nodes: list[_Node] = []
    for stack, (*_, objects, held), _ in profile.samples:
        node = root
        for step in stack[:0:-1]:  # the first is the type
            child = node.children.get(step)
            if child is None:
                child = node.children[step] = _Node(step, node)
                nodes.append(child)
            node = child
            node.objects += objects
            node.size += held
    found = [
        node
        for node in nodes
        if max((child.size for child in node.children.values()), default=0) < _SAME * node.size
    ]
    least = min(nlargest(most, (node.size for node in found)), default=0)
    ranked = sorted(
        Holder(node.path, node.objects, node.size) for node in found if node.size >= least
    )
    ranked.sort(key=lambda holder: -holder.size)  # equal ones stay in the order of their paths
    return ranked[:most]


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
