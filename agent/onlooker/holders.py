"""Who holds the objects of a type, and what one object is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final

from onlooker.errors import UsageError
from onlooker.heap import Progress, find_objects, still
from onlooker.memory import Freeze
from onlooker.observe.heap import Heap
from onlooker.observe.heap_ranges import heap_ranges
from onlooker.observe.heap_sites import Paths, how_held
from onlooker.observe.owners import Owners
from onlooker.runtime.locate import Runtime

LARGEST: Final = 10
"""How many instances are shown of a type."""

_REFERENCES: Final = 50
_LIKE: Final = 5


@dataclass(frozen=True, slots=True)
class Held:
    """An object: where, its type, its own bytes and those that it keeps alive, what holds it.

    ``path`` is innermost first.
    """

    address: int
    type: str
    size: int
    retained: int
    path: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Instances:
    """All objects of the types of one name: by path their number and own bytes, most first."""

    type: str
    objects: int
    size: int
    paths: Sequence[tuple[tuple[str, ...], int, int]]
    largest: Sequence[Held]


@dataclass(frozen=True, slots=True)
class Reference:
    """How one object refers to another, which is at ``address`` and of a ``type``."""

    how: str
    address: int
    type: str


@dataclass(frozen=True, slots=True)
class Story:
    """One object, the first that refer to it out of ``referrer_count``, and those it refers to."""

    held: Held
    referrer_count: int
    referrers: Sequence[Reference]
    references: Sequence[Reference]


def who(
    runtime: Runtime, type_name: str, *, freeze: Freeze = "snapshot", progress: Progress
) -> Instances:
    """Find all objects of a type, ``package.module.Class`` or ``Class``. Raises as take_picture.

    Raises UsageError if there is none, with names that are like it.
    """
    with _looked(runtime, freeze, progress) as (heap, owners):
        wanted = [
            index
            for index, kind in enumerate(heap.types)
            if type_name in {kind.qualified, kind.name, f"{kind.module}.{kind.name}"}
            and kind.all_objects
        ]
        if not wanted:
            raise UsageError(f"there is no object of a type {type_name!r}", _like(heap, type_name))
        paths = Paths(heap, owners)
        found: dict[int, tuple[int, int]] = {}
        nodes: list[int] = []
        for index in wanted:
            for path, (objects, size) in owners.count_type(index).items():
                before = found.get(path, (0, 0))
                found[path] = before[0] + objects, before[1] + size
            nodes += owners.largest(index, LARGEST)
        largest = sorted((_held(heap, owners, paths, node) for node in nodes), key=_by_retained)
        ranked = sorted(found.items(), key=lambda item: (-item[1][1], item[0]))
        return Instances(
            heap.types[wanted[0]].qualified,
            sum(objects for objects, _ in found.values()),
            sum(size for _, size in found.values()),
            [(_names(paths, path), objects, size) for path, (objects, size) in ranked],
            largest[:LARGEST],
        )


def tell_object(
    runtime: Runtime, address: int, *, freeze: Freeze = "snapshot", progress: Progress
) -> Story:
    """Tell of the object at an address. Raises as take_picture, and UsageError if there is none."""
    with _looked(runtime, freeze, progress) as (heap, owners):
        node = heap.node_at(address)
        if not node:
            raise UsageError(
                f"there is no object at {address:#x}",
                "It may have gone. --who TYPE tells addresses of objects.",
            )
        paths = Paths(heap, owners)
        count, referrers = heap.referrers(node, _REFERENCES)
        return Story(
            _held(heap, owners, paths, node),
            count,
            [_reference(heap, other, label, other) for other, label in referrers],
            [
                _reference(heap, other, label, node)
                for other, label in heap.references(node, _REFERENCES)
            ],
        )


@contextmanager
def _looked(runtime: Runtime, freeze: Freeze, progress: Progress) -> Iterator[tuple[Heap, Owners]]:
    progress("freezing", 0)
    with still(runtime, freeze) as (picture, runtime_then, heads):
        ranges = heap_ranges(runtime_then, picture.pid)
        with find_objects(picture, runtime_then, heads, ranges, progress, graph=True) as heap:
            picture.release()
            progress("finding owners", heap.totals.objects)
            with Owners(heap.graph) as owners:
                yield heap, owners


def _held(heap: Heap, owners: Owners, paths: Paths, node: int) -> Held:
    return Held(
        heap.address_of(node),
        heap.type_of(node).qualified,
        heap.size_of(node),
        owners.retained(node),
        _names(paths, owners.path_of(node)),
    )


def _by_retained(held: Held) -> tuple[int, int]:
    return -held.retained, held.address


def _names(paths: Paths, path: int) -> tuple[str, ...]:
    return tuple(location.function.name for location in paths.stack(path))


def _reference(heap: Heap, other: int, label: int, holder: int) -> Reference:
    holder_type = heap.graph.types[holder]
    how = how_held(heap, label, holder_type, holder_type)
    return Reference(how, heap.address_of(other), heap.type_of(other).qualified)


def _like(heap: Heap, type_name: str) -> str:
    by_last: dict[str, list[str]] = {}
    for kind in heap.types:
        if kind.objects:
            by_last.setdefault(kind.name.rpartition(".")[2], []).append(kind.qualified)
    like = get_close_matches(type_name.rpartition(".")[2], by_last, _LIKE)
    found = ", ".join(name for last in like for name in by_last[last][:_LIKE])
    return f"There are: {found}." if found else "--by type tells all types that there are."
