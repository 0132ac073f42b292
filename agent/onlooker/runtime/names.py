"""The names that a program gave to its threads and modules, read from its sys.modules."""

from __future__ import annotations

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


def thread_names(objects: Objects, modules_dict: int) -> dict[int, str]:
    """Thread._name by pthread identifier, for the threads in threading._active.

    `modules_dict` is the address of an interpreter's sys.modules. What can't be read is left out:
    nothing is found until the program imports threading. Raises TargetGone.
    """
    names: dict[int, str] = {}
    try:
        threading = objects.dict_get(modules_dict, "threading")
        active = threading and objects.attribute(threading, "_active")
        threads = _items(objects, active, _THREADS_LIMIT) if active else []
    except MemoryFault:
        return names
    for identifier, thread in threads:
        try:
            name = objects.attribute(thread, "_name")
            if name:
                names[objects.integer(identifier)] = objects.string(name, _NAME_LIMIT)
        except MemoryFault:
            continue  # it has just ended, or the name is no str
    return names


def module_names(objects: Objects, modules_dict: int) -> dict[str, str]:
    """Module.__name__ by Module.__file__, for the modules in sys.modules that have both.

    Of modules that share a file the one that runs as __main__ has it, then the one that is called
    like the file, then the first. `modules_dict` is the address of an interpreter's sys.modules.
    What can't be read is left out. Raises TargetGone.
    """
    reader = _ModuleReader(objects)
    names: dict[str, str] = {}
    try:
        modules = _items(objects, modules_dict, _MODULES_LIMIT)
    except MemoryFault:
        return names
    for _, module in modules:
        try:
            file, name = reader.file_and_name(module)
        except MemoryFault:
            continue  # being imported, or not a module
        if file and name and (file not in names or _rank(file, name) > _rank(file, names[file])):
            names[file] = name
    return names


class _ModuleReader:
    """Reads __file__ and __name__ of many modules.

    Attribute names are interned, so that each is read once and then known by its address.
    """

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._keys: dict[int, str] = {}

    def file_and_name(self, module: int) -> tuple[str, str]:
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
                    return self._string(found["__file__"]), self._string(found["__name__"])
        return "", ""

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
