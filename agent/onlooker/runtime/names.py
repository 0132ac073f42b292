"""The names that a program gave to its threads and modules, read from its sys.modules."""

from __future__ import annotations

from contextlib import suppress
from itertools import islice
from pathlib import PurePosixPath
from typing import Final

from onlooker.errors import MemoryFault

from .objects import Objects

_THREADS_LIMIT: Final = 1 << 16
_MODULES_LIMIT: Final = 1 << 16
_NAME_LIMIT: Final = 4096  # characters; also what the kernel takes as a path (PATH_MAX)
# Attribute names that are read: in a module without __file__, all until then unknown ones are.
_MODULE_KEYS_LIMIT: Final = 512
_KEYS_LIMIT: Final = 20_000
_ATTEMPTS: Final = 3  # at a dict that the target is changing
_READS_OF_A_MODULE: Final = 3  # that has no __file__: it may get one, but most are built in


class ThreadNames:
    """Thread._name by pthread identifier, for the threads in threading._active.

    ``active`` is where that is found, by sys.modules: the search for it looks at every module, but
    threading never replaces it.
    """

    def __init__(self, objects: Objects, active: dict[int, int] | None = None) -> None:
        self._objects = objects
        self._active = {} if active is None else active

    def read(self, modules_dict: int) -> dict[int, str]:
        """Return the names as of now.

        `modules_dict` is the address of an interpreter's sys.modules. What can't be read is left
        out: nothing is found until the program imports threading. Raises TargetGone.
        """
        names: dict[int, str] = {}
        for identifier, thread in self._threads(modules_dict):
            try:
                name = self._objects.attribute(thread, "_name")
                if name:
                    text, _ = self._objects.string_start(name, _NAME_LIMIT)
                    names[self._objects.integer(identifier)] = text
            except MemoryFault:
                continue  # it has just ended, or the name is no str
        return names

    def _threads(self, modules_dict: int) -> list[tuple[int, int]]:
        with suppress(MemoryFault):
            active = self._active.get(modules_dict)
            if active:
                return _items(self._objects, active, _THREADS_LIMIT)
        self._active.pop(modules_dict, None)
        with suppress(MemoryFault):
            threading = self._objects.dict_get(modules_dict, "threading")
            active = threading and self._objects.attribute(threading, "_active")
            if active:
                threads = _items(self._objects, active, _THREADS_LIMIT)
                self._active[modules_dict] = active
                return threads
        return []


class ModuleNames:
    """Module.__name__ by Module.__file__, for the modules in sys.modules that have both.

    Of modules that share a file the one that runs as __main__ has it, then the one that is called
    like the file, then the first.
    """

    def __init__(self, objects: Objects) -> None:
        self.by_file: dict[str, str] = {}
        self._objects = objects
        # Attribute names are interned, so that each is read once and then known by its address.
        self._keys: dict[int, str] = {}
        # How often the modules have been read, by the addresses of their names and themselves.
        self._reads: dict[tuple[int, int], int] = {}

    def learn(self, modules_dict: int) -> None:
        """Read the modules that have come since the last call. What can't be read is left out.

        `modules_dict` is the address of an interpreter's sys.modules. Raises TargetGone.
        """
        try:
            modules = _items(self._objects, modules_dict, _MODULES_LIMIT)
        except MemoryFault:
            return
        if len(self._reads) > 2 * _MODULES_LIMIT:
            self._reads.clear()  # a program that makes modules for ever
        for key, module in modules:
            reads = self._reads.get((key, module), 0)
            if reads < _READS_OF_A_MODULE:
                with suppress(MemoryFault):  # being imported, or not a module: read it again
                    file, name = self._file_and_name(module)
                    if file and name:
                        self._add(file, name)
                        reads = _READS_OF_A_MODULE
                    # The one that runs as the program may get its __file__ long after its name.
                    elif name != "__main__":
                        reads += 1
                    self._reads[key, module] = reads

    def _add(self, file: str, name: str) -> None:
        known = self.by_file.get(file)
        if known is None or _rank(file, name) > _rank(file, known):
            self.by_file[file] = name

    def _file_and_name(self, module: int) -> tuple[str, str]:
        """Each is empty if there is none or it is no str."""
        found: dict[str, int] = {}
        unknown = 0
        for key, value in self._objects.attributes(module):
            text = self._keys.get(key)
            if text is None:
                unknown += 1
                if unknown > _MODULE_KEYS_LIMIT or len(self._keys) > _KEYS_LIMIT:
                    continue
                text = self._keys[key] = self._string(key)
            if text in ("__file__", "__name__"):
                found[text] = value
                if len(found) == 2:
                    break
        return (
            self._string(found["__file__"]) if "__file__" in found else "",
            self._string(found["__name__"]) if "__name__" in found else "",
        )

    def _string(self, address: int) -> str:
        try:
            return self._objects.string(address, _NAME_LIMIT)
        except MemoryFault:
            return ""


def _items(objects: Objects, dictionary: int, limit: int) -> list[tuple[int, int]]:
    """At most `limit` items of a dict, as of one moment as far as a few attempts get that."""
    items: list[tuple[int, int]] | None = None
    for attempt in range(_ATTEMPTS):
        before = items
        try:
            items = list(islice(objects.dict_items(dictionary), limit))
        except MemoryFault:
            if attempt == _ATTEMPTS - 1:
                raise
            items = None
        if items == before:
            break
    return items or []


def _rank(file: str, name: str) -> int:
    path = PurePosixPath(file)
    stem = path.parent.name if path.name.startswith("__init__.") else path.name.partition(".")[0]
    return 2 if name == "__main__" else int(name.rpartition(".")[2] == stem)
