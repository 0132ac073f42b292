"""What values are, as repr would show them, without running anything.

Only objects of the builtin types themselves are shown: a subclass may have a repr of its own. What
is large is cut, and so is what is deep, which ends cycles too.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import Final

from onlooker.errors import MemoryFault
from onlooker.memory import Memory

from .layouts import Layout
from .objects import Objects
from .type_names import TypeNames

LENGTH_LIMIT: Final = 200
"""Characters of a value that are shown."""

_ITEMS_LIMIT: Final = 10
_DEPTH_LIMIT: Final = 3
_DIGITS_LIMIT: Final = 64  # of 30 bits
_SET_SLOTS_LIMIT: Final = 1 << 10


class Reprs:
    """Reads values of one process. ``memory`` may be one that remembers what was read of it."""

    def __init__(self, memory: Memory, layout: Layout) -> None:
        self._memory = memory
        self._offsets = layout.offsets
        self._objects = Objects(memory, layout, guess_bytes=0)
        self._types = TypeNames(self._objects, layout)
        self._names: dict[int, tuple[str, str]] = {}  # of types, by address

    def text(self, address: int) -> str:
        """Return what repr would show of the object at an address, in at most LENGTH_LIMIT
        characters. What can't be read is told by its address. Raises no MemoryFault.
        """
        text = self._text(address, 0)
        return text if len(text) <= LENGTH_LIMIT else f"{text[: LENGTH_LIMIT - 3]}..."

    def _text(self, address: int, depth: int) -> str:
        try:
            module, name = self._type(address)
            if module == "builtins":
                simple = self._builtin(address, name, depth)
                if simple is not None:
                    return simple
        except MemoryFault:
            return f"<unreadable object at {address:#x}>"
        return f"<{module}.{name} at {address:#x}>" if module else f"<{name} at {address:#x}>"

    def _type(self, address: int) -> tuple[str, str]:
        kind = self._objects.pointer(address + self._offsets["object_type"])
        if kind not in self._names:
            self._names[kind] = self._types.read(kind)
        return self._names[kind]

    def _builtin(self, address: int, name: str, depth: int) -> str | None:
        objects = self._objects
        match name:
            case "NoneType":
                return "None"
            case "bool":
                return str(bool(objects.integer(address)))
            case "ellipsis":
                return "Ellipsis"
            case "int":
                return self._integer(address)
            case "float":
                raw = self._memory.read(address + self._offsets["float_value"], 8)
                return repr(struct.unpack("<d", raw)[0])
            case "str":
                text, length = objects.string_start(address, LENGTH_LIMIT)
                return repr(text) + ("..." if length > len(text) else "")
            case "bytes":
                data, size = objects.bytes_start(address, LENGTH_LIMIT)
                return repr(data) + ("..." if size > len(data) else "")
            case "tuple" | "list":
                items, count = objects.sequence_start(address, _ITEMS_LIMIT)
                if depth == _DEPTH_LIMIT and count:
                    return f"<{name} of {count} items>"
                shown = self._joined(self._items(items, depth), count)
                if name == "list":
                    return f"[{shown}]"
                return f"({shown},)" if count == 1 else f"({shown})"
            case "dict":
                if depth == _DEPTH_LIMIT:
                    return "{...}"
                return f"{{{self._joined(self._pairs(address, depth))}}}"
            case "set" | "frozenset":
                return self._set(address, name, depth)
        return None

    def _integer(self, address: int) -> str:
        try:
            return str(self._objects.integer(address, _DIGITS_LIMIT))
        except MemoryFault:
            self._memory.read(address, 16)  # it is there
            return f"<int at {address:#x} of more than {30 * _DIGITS_LIMIT} bits>"

    def _set(self, address: int, name: str, depth: int) -> str:
        slots = self._objects.pointer(address + self._offsets["set_mask"]) + 1
        if slots > _SET_SLOTS_LIMIT or depth == _DEPTH_LIMIT:
            return f"<{name} at {address:#x}>"
        keys = [key for key in self._objects.set_items(address) if not self._is_dummy(key)]
        shown = f"{{{self._joined(self._items(keys[:_ITEMS_LIMIT], depth), len(keys))}}}"
        shown = shown if keys else ""
        return shown if name == "set" and keys else f"{name}({shown})"

    def _is_dummy(self, address: int) -> bool:
        """Whether it is what marks a deleted item: a bare object in the interpreter's own data."""
        return self._type(address) == ("builtins", "object")

    def _items(self, addresses: Iterable[int], depth: int) -> Iterator[str]:
        return (self._text(address, depth + 1) if address else "<unset>" for address in addresses)

    def _pairs(self, address: int, depth: int) -> Iterator[str]:
        for key, value in self._objects.dict_items(address):
            yield f"{self._text(key, depth + 1)}: {self._text(value, depth + 1)}"

    def _joined(self, items: Iterator[str], count: int = 0) -> str:
        shown: list[str] = []
        length = 0
        for item in items:
            length += len(item) + 2
            if len(shown) == _ITEMS_LIMIT or length > 2 * LENGTH_LIMIT:
                return ", ".join([*shown, "..."])
            shown.append(item)
        return ", ".join([*shown, "..."] if count > len(shown) else shown)
