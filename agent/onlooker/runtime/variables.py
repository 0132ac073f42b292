"""The variables of functions that are under way: arguments, locals, cells and free variables."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Final

from onlooker.memory import Memory

from .frames import Frame
from .layouts import NONE, Layout
from .objects import Objects
from .reprs import Reprs

VARIABLES_LIMIT: Final = 100
"""Variables of a frame that are read."""

_NAME_LIMIT: Final = 256  # characters
_TAGS: Final = 3  # bits of a word of a frame that are no part of the address, where there are any


class Variables:
    """Reads them. ``memory`` may be one that remembers what was read of it."""

    def __init__(self, memory: Memory, layout: Layout) -> None:
        self._memory = memory
        self._offsets = layout.offsets
        self._objects = Objects(memory, layout, guess_bytes=0)
        self._reprs = Reprs(memory, layout)

    def of(self, frame: Frame) -> dict[str, str]:
        """Return the variables that are set, by name. Raises MemoryFault."""
        offsets, objects = self._offsets, self._objects
        inside = offsets["frame_localsplus"] != NONE
        at = frame.address + offsets["frame_localsplus" if inside else "frameobject_localsplus"]
        found = {}
        for place, (name, is_cell) in enumerate(islice(self._names(frame.code), VARIABLES_LIMIT)):
            value = objects.pointer(at + 8 * place) & ~_TAGS
            # A cell is made only when the function begins; up to then its argument is there.
            if value and is_cell and objects.type_name(value) == "cell":
                value = objects.pointer(value + offsets["cell_ref"])
            if value:
                found[objects.string(name, _NAME_LIMIT)] = self._reprs.text(value)
        return found

    def _names(self, code: int) -> Iterator[tuple[int, bool]]:
        """Yield the names as they lie in a frame, and whether a cell has the value."""
        offsets, objects = self._offsets, self._objects
        if offsets["code_localsplusnames"] == NONE:
            for column, is_cell in (("varnames", False), ("cellvars", True), ("freevars", True)):
                names = objects.pointer(code + offsets[f"code_{column}"])
                items, count = objects.sequence_start(names, VARIABLES_LIMIT)
                yield from ((name, is_cell) for name in items)
                if count > len(items):
                    return
            return
        names = objects.pointer(code + offsets["code_localsplusnames"])
        items, _ = objects.sequence_start(names, VARIABLES_LIMIT)
        kinds = objects.pointer(code + offsets["code_localspluskinds"])
        bits, _ = objects.bytes_start(kinds, len(items))
        for name, kind in zip(items, bits, strict=False):
            yield name, bool(kind & offsets["localkind_cell"])
