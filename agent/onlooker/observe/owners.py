"""Who owns the memory: the dominators of a heap's graph, found by the C extension."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from onlooker._native import ffi, lib
from onlooker.errors import OnlookerError
from onlooker.observe.interruptible import interruptible

LABEL_ROOT: Final[int] = lib.ONLOOKER_LABEL_ROOT
LABEL_UNREACHABLE: Final[int] = lib.ONLOOKER_LABEL_UNREACHABLE
LABEL_SHARED: Final[int] = lib.ONLOOKER_LABEL_SHARED

_PATH: Final = struct.Struct("=IIIIQQ")


class OwnerPath(NamedTuple):
    """A chain of owners from the virtual root: the ``parent``'s, and one that it holds.

    ``parent`` is an index in the list of paths, ``label`` how the owner holds it: a label of the
    graph, or one of ours. ``objects`` is how many objects' path is just this, ``size`` their own
    bytes.
    """

    parent: int
    label: int
    type: int
    depth: int
    objects: int
    size: int


class Owners:
    """The owners of all objects of ``graph``, a ``graph *`` as native/onlooker_owners.h has it.

    What the graph points to must live, unchanged, until close; its edges, until this is made. While
    C works, ``stop`` is asked now and then; when it says True, or a signal raises, the work ends
    and KeyboardInterrupt, or what the signal raised, is raised. Raises OnlookerError when memory
    runs out or the graph is not one.
    """

    def __init__(self, graph: Any, stop: Callable[[], bool] = lambda: False) -> None:
        self._graph = graph
        self._owners = ffi.NULL
        found = ffi.new("owners **")
        result = interruptible(lambda flag: lib.owners_find(graph, flag, found), stop)
        if result == lib.ONLOOKER_INTERRUPTED:
            raise KeyboardInterrupt
        _check(result)
        self._owners = found[0]
        counters = lib.owners_counted(self._owners)
        self.unreachable: int = counters.unreachable
        """Objects that no root reaches."""
        self.cut: int = counters.cut
        """Objects that count for their owner's path, since theirs is too deep or one too many."""

    def paths(self) -> list[OwnerPath]:
        """All paths. The first is the virtual root's; parents come before their children."""
        count = ffi.new("uint32_t *")
        items = lib.owners_paths(self._owners, count)
        return list(
            map(OwnerPath._make, _PATH.iter_unpack(ffi.buffer(items, count[0] * _PATH.size)))
        )

    def path_of(self, node: int) -> int:
        """The index of the path of an object."""
        return int(lib.owners_path_of(self._owners)[self._checked(node)])

    def owner_of(self, node: int) -> int:
        """The object that dominates this one; 0 is the virtual root."""
        return int(lib.owners_owner_of(self._owners)[self._checked(node)])

    def retained(self, node: int) -> int:
        """Bytes of an object and all that it owns. Raises OnlookerError when memory runs out."""
        retained = lib.owners_retained(self._owners)
        if not retained:
            _check(lib.ONLOOKER_NO_MEMORY)
        return int(retained[self._checked(node)])

    def count_type(self, type_id: int) -> dict[int, tuple[int, int]]:
        """The number and own bytes of the objects of a type, by path."""
        count = ffi.new("uint32_t *")
        lib.owners_paths(self._owners, count)
        objects, sizes = ffi.new("uint64_t[]", count[0]), ffi.new("uint64_t[]", count[0])
        lib.owners_count_type(self._owners, type_id, objects, sizes)
        pairs = zip(ffi.unpack(objects, count[0]), ffi.unpack(sizes, count[0]), strict=True)
        return {path: pair for path, pair in enumerate(pairs) if pair[0]}

    def largest(self, type_id: int, most: int) -> list[int]:
        """The objects of a type that retain the most bytes, the largest first.

        Raises OnlookerError when memory runs out.
        """
        nodes, count = ffi.new("uint32_t[]", most), ffi.new("uint32_t *")
        _check(lib.owners_largest(self._owners, type_id, most, nodes, count))
        return list(ffi.unpack(nodes, count[0]))

    def close(self) -> None:
        """Free what was found. Nothing else may be called afterwards."""
        lib.owners_free(self._owners)
        self._owners = ffi.NULL

    def __enter__(self) -> Owners:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _checked(self, node: int) -> int:
        if not 0 <= node < self._graph.nodes:
            raise IndexError(f"the graph has no node {node}")
        return node


def _check(result: int) -> None:
    if result == lib.ONLOOKER_NO_MEMORY:
        raise OnlookerError(
            "out of memory while looking for the owners of objects",
            "Give Onlooker more memory, or ask for types instead: --by type needs less.",
        )
    if result != lib.ONLOOKER_OK:
        raise OnlookerError(f"the heap that was read is not a graph (result {result})")
