"""The names of types, with their modules, and of their members."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Final

from onlooker.errors import MemoryFault

from .layouts import Layout
from .objects import Objects

_HEAPTYPE: Final = 1 << 9
_NAME_LIMIT: Final = 1024  # characters
_BASES_LIMIT: Final = 64
_MEMBERS_LIMIT: Final = 4096

# struct PyMemberDef of Include/structmember.h: name, type, offset, flags, doc. It is part of the
# stable ABI.
_MEMBER_BYTES: Final = 40
_MEMBER_OFFSET: Final = 16

UNKNOWN: Final = "<unknown type>"


class TypeNames:
    """Reads them: the names that classes have had when they were made, or were given since."""

    def __init__(self, objects: Objects, layout: Layout) -> None:
        self._objects = objects
        self._offsets = layout.offsets
        self._module_key = 0  # address of the interned str "__module__", once met

    def read(self, address: int) -> tuple[str, str]:
        """Return the module, ``builtins`` too, and the qualified name of the type at an address.

        The module is empty where the type doesn't say it; UNKNOWN is the name of what can't be
        read.
        """
        with suppress(MemoryFault):
            flags = self._objects.pointer(address + self._offsets["type_flags"])
            if not flags & _HEAPTYPE:
                module, _, name = self._objects.name_of_type(address).rpartition(".")
                return module or "builtins", name
            qualname = self._objects.pointer(address + self._offsets["type_ht_qualname"])
            name = self._objects.string(qualname, _NAME_LIMIT)
            with suppress(MemoryFault):
                return self._module(address), name
            return "", name
        return "", UNKNOWN

    def _module(self, address: int) -> str:
        dictionary = self._objects.pointer(address + self._offsets["type_dict"])
        for key, value in self._objects.dict_items(dictionary):
            if key == self._module_key:
                return self._objects.string(value, _NAME_LIMIT)
            if not self._module_key and self._objects.string(key, _NAME_LIMIT) == "__module__":
                self._module_key = key
                return self._objects.string(value, _NAME_LIMIT)
        # A type in C whose name says it (type_module of Objects/typeobject.c).
        return self._objects.name_of_type(address).rpartition(".")[0] or "builtins"


class MemberNames:
    """Reads the names of the fields that Python knows in objects of a type, by their offsets.

    They are PyMemberDefs: ``__slots__`` of classes, and what types in C declare. What can't be
    read is left out.
    """

    def __init__(self, objects: Objects, layout: Layout) -> None:
        self._objects = objects
        self._offsets = layout.offsets
        self._known: dict[int, dict[int, str]] = {0: {}}

    def read(self, address: int, depth: int = 0) -> dict[int, str]:
        """Return those of the type at an address, its bases' with them."""
        known = self._known.get(address)
        if known is None:
            base, own = 0, {}
            with suppress(MemoryFault):
                base = self._objects.pointer(address + self._offsets["type_base"])
                own = dict(self._own(address))
            inherited = self.read(base, depth + 1) if depth < _BASES_LIMIT else {}
            known = self._known[address] = {**inherited, **own} if own else inherited
        return known

    def _own(self, address: int) -> Iterator[tuple[int, str]]:
        at = self._objects.pointer(address + self._offsets["type_members"])
        for place in range(at, at + _MEMBERS_LIMIT * _MEMBER_BYTES, _MEMBER_BYTES):
            name = self._objects.pointer(place) if at else 0
            if not name:
                return
            yield self._objects.pointer(place + _MEMBER_OFFSET), self._objects.c_string(name)
