"""The names of types, with their modules."""

from __future__ import annotations

from contextlib import suppress
from typing import Final

from onlooker.errors import MemoryFault

from .layouts import Layout
from .objects import Objects

_HEAPTYPE: Final = 1 << 9
_NAME_LIMIT: Final = 1024  # characters
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
