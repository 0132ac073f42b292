"""Where the cycle collector keeps its lists of objects, and whether it is at work."""

from __future__ import annotations

import struct
from typing import Final

from onlooker.errors import MemoryFault, NotReady
from onlooker.memory import Memory

from .layouts import NONE
from .locate import Runtime
from .states import interpreters

_GENERATIONS: Final = 3
_STATE_LIMIT_BYTES: Final = 1 << 12
_MARKS: Final = ~3
_HEAD: Final = struct.Struct("<QQ")


class Collector:
    """The state of one collector: one an interpreter has, or up to 3.8 one for all of them."""

    def __init__(self, runtime: Runtime, memory: Memory, address: int) -> None:
        self._offsets = runtime.layout.offsets
        self._memory = memory
        self._address = address

    @property
    def is_collecting(self) -> bool:
        """Whether a collection is going on: the lists are not whole then."""
        raw = self._memory.read(self._address + self._offsets["gc_collecting"], 4)
        return raw != bytes(4)

    def heads(self) -> list[int]:
        """Return the addresses of the heads of all lists, gc.freeze()'s with them.

        Where they lie differs between patch releases of one version, and what the lists look like
        tells: each head's neighbours lead back to it. Raises MemoryFault.
        """
        size = min(self._offsets["gc_size"], _STATE_LIMIT_BYTES)
        step = self._offsets["gc_generation_size"]
        for first in range(0, size - step * _GENERATIONS, 4):
            generations = [first + step * index for index in range(_GENERATIONS)]
            if all(map(self._is_head, generations)):
                rest = range(generations[-1] + step, size - _HEAD.size, 4)
                permanent = next(filter(self._is_head, rest), None)
                heads = generations if permanent is None else [*generations, permanent]
                return [self._address + at for at in heads]
        raise MemoryFault(f"there are no lists of a collector at {self._address:#x}")

    def _is_head(self, at: int) -> bool:
        head = self._address + at
        try:
            following, previous = self._links(head)
            return (
                bool(following and previous)
                and self._links(following)[1] == head
                and self._links(previous)[0] == head
            )
        except MemoryFault:
            return False

    def _links(self, address: int) -> tuple[int, int]:
        following, previous = _HEAD.unpack(self._memory.read(address, _HEAD.size))
        return following & _MARKS, previous & _MARKS


def collectors(runtime: Runtime) -> list[Collector]:
    """Return the collectors of all interpreters. Raises MemoryFault."""
    memory, offsets = runtime.memory, runtime.layout.offsets
    if offsets["runtime_gc"] != NONE:
        return [Collector(runtime, memory, runtime.runtime_address + offsets["runtime_gc"])]
    return [
        Collector(runtime, memory, address + offsets["interpreter_gc"])
        for address in interpreters(memory, runtime.runtime_address, runtime.layout)
    ]


def list_heads(runtime: Runtime) -> list[int]:
    """Return the addresses of the heads of all collectors' lists.

    Raises NotReady if one is at work, and MemoryFault also while an object is put on a list.
    """
    heads: list[int] = []
    for collector in collectors(runtime):
        if collector.is_collecting:
            raise NotReady(
                f"process {runtime.pid} is collecting garbage, and its objects are on no list"
                " meanwhile",
                "Try again.",
            )
        heads += collector.heads()
    return heads
