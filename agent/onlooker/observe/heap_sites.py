"""A heap's objects as sites of memory: by what holds them, by their types, by those's modules."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from onlooker.observe import heap as native
from onlooker.observe.heap import Heap, HeapType
from onlooker.observe.owners import (
    LABEL_SHARED,
    LABEL_UNREACHABLE,
    OwnerPath,
    Owners,
)
from onlooker.profile.heap import HeapSite
from onlooker.profile.model import Function, Location

# What these hold is their own business: names, constants, bytecode.
_CLOSED: Final = {"function", "code"}

_FRAMES: Final = {"frame", "generator", "coroutine", "async_generator"}

_STEPS: Final = {
    native.FIELD: "<field>",
    native.ITEM: "[...]",
    native.KEY: "{key}",
    native.VALUE: "{...}",
    native.LOCAL: "<local>",
    native.TYPE: "<of type>",
    native.GLOBALS: "<globals>",
    LABEL_SHARED: "<shared>",
    LABEL_UNREACHABLE: "<unreachable>",
}


def by_type(heap: Heap) -> Iterator[HeapSite]:
    """Yield a site for each type, whose stack is the type alone."""
    for kind in heap.types:
        yield _site((_location(kind.qualified),), kind.objects, kind.size, kind)
        held = _location(kind.qualified), _location("<native code>")
        yield _site(held, kind.held_objects, kind.held_size, kind)


def by_module(heap: Heap) -> Iterator[HeapSite]:
    """Yield a site for each type, whose stack is the module that defines it."""
    for kind in heap.types:
        module = _location(kind.module or "<no module>")
        yield _site((module,), kind.all_objects, kind.all_size, kind)


def by_path(heap: Heap, owners: Owners) -> Iterator[HeapSite]:
    """Yield a site for each path of owners: its stack is the type, and what holds it up to a root.

    A step is how the owner holds the object and what type that is of: ``.cache: dict`` for an
    attribute, ``cache: dict`` for a module's variable, ``[...]: Session`` for an item. What several
    things of an owner hold in common is its ``<shared>``.
    """
    paths = Paths(heap, owners)
    totals: dict[tuple[int, int], list[int]] = {}
    for index, path in enumerate(paths.all):
        if path.objects:
            total = totals.setdefault((paths.shown(index), path.type), [0, 0])
            total[0] += path.objects
            total[1] += path.size
    kinds = [(_location(kind.qualified), kind) for kind in heap.types]
    for (index, type_index), (objects, size) in totals.items():
        leaf, kind = kinds[type_index]
        yield _site((leaf, *paths.stack(index)), objects, size, kind)


class Paths:
    """The owner paths of a heap, as people read them."""

    def __init__(self, heap: Heap, owners: Owners) -> None:
        self.all: list[OwnerPath] = owners.paths()
        self._heap = heap
        self._steps: dict[int, tuple[Location, ...]] = {0: ()}
        self._stacks: dict[int, tuple[Location, ...]] = {0: ()}
        self._locations: dict[str, Location] = {}
        self._closed = {index for index, kind in enumerate(heap.types) if kind.qualified in _CLOSED}

    def shown(self, index: int) -> int:
        """The path as far as people see it: a part of an object is none of its own."""
        while not self._step(index) and index:
            index = self.all[index].parent
        return index

    def stack(self, index: int) -> tuple[Location, ...]:
        """The steps to a path's objects, the last first."""
        new: list[int] = []
        while index not in self._stacks:
            new.append(index)
            index = self.all[index].parent
        stack = self._stacks[index]
        for inner in reversed(new):
            stack = self._stacks[inner] = self._step(inner) + stack
        return stack

    def _step(self, index: int) -> tuple[Location, ...]:
        """A step's frames, innermost first: none for a part of its owner."""
        step = self._steps.get(index)
        if step is None:
            texts = reversed(self._texts(self.all[index]))
            step = self._steps[index] = tuple(map(self._location, texts))
        return step

    def _location(self, text: str) -> Location:
        location = self._locations.get(text)
        if location is None:
            location = self._locations[text] = _location(text)
        return location

    def _texts(self, path: OwnerPath) -> tuple[str, ...]:
        label, kind = path.label, self._heap.types[path.type]
        holder = self.all[path.parent]
        if label == native.PART or (path.parent and holder.type in self._closed):
            return ()
        if native.ROOTS <= label < native.AT:
            *outer, last = self._heap.roots[label - native.ROOTS]
            # Of a module it is plain what it is.
            return (*outer, last if kind.name == "module" else f"{last}: {kind.qualified}")
        owner = self.all[holder.parent] if holder.label == native.PART else holder
        return (f"{how_held(self._heap, label, holder.type, owner.type)}: {kind.qualified}",)


def how_held(heap: Heap, label: int, holder: int, owner: int) -> str:
    """How an object of the type ``holder`` holds another, such as ``.cache`` or ``[...]``.

    ``owner`` is the type of what the holder is a part of, the same as it if of nothing.
    """
    if label == native.PART:
        return "__dict__"
    if label in _STEPS:
        return _STEPS[label]
    if label >= native.AT:
        name = heap.members(holder).get(label - native.AT)
        return f".{name}" if name else _STEPS[native.FIELD]
    name = heap.name(label)
    if heap.types[holder].name in _FRAMES:
        return f"local {name}"
    if heap.types[holder].name == "dict" and holder == owner:
        return f"[{name!r}]"
    return name if heap.types[owner].name == "module" else f".{name}"


def _site(stack: tuple[Location, ...], objects: int, size: int, kind: HeapType) -> HeapSite:
    # What was allocated and is gone again nobody knows: what is in use was allocated.
    return HeapSite(stack, objects, size, objects, size, (("type", kind.qualified),))


def _location(name: str) -> Location:
    return Location(Function(name, name, "", 0), 0)
