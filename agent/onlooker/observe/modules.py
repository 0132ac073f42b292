"""Which modules the files of a target's code are, by its sys.modules."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Final

from onlooker.errors import MemoryFault
from onlooker.runtime.locate import Runtime
from onlooker.runtime.names import ModuleNames
from onlooker.runtime.objects import Objects

_INTERPRETERS_LIMIT: Final = 64
_FROZEN: Final = re.compile(r"<frozen (.+)>")


class Modules:
    """Names of modules by their files. They are read when new files are learnt."""

    def __init__(self, runtime: Runtime, objects: Objects) -> None:
        self._runtime = runtime
        self._objects = objects
        self._names = ModuleNames(objects)
        self._files_without_module: set[str] = set()

    def learn(self, files: set[str]) -> None:
        """Read the modules of these files. Raises TargetGone."""
        files = {name for name in files if name[:1] != "<"}
        files -= self._names.by_file.keys() | self._files_without_module
        if files:
            for modules in self.dicts():
                self._names.learn(modules)
            self._files_without_module |= files

    def name(self, filename: str) -> str:
        """The name of the module that this file is, or is likely to be."""
        module = self._names.by_file.get(filename)
        if module:
            return module
        frozen = _FROZEN.fullmatch(filename)
        if frozen:
            return frozen[1]
        if filename.startswith("<"):
            return filename
        path = PurePosixPath(filename)
        name = path.parent.name if path.name == "__init__.py" else path.stem
        return name or filename or "<no file>"

    def dicts(self) -> list[int]:
        """Each interpreter's sys.modules, the main interpreter's first."""
        offsets, objects = self._runtime.layout.offsets, self._objects
        found: list[int] = []
        try:
            interpreter = objects.pointer(
                self._runtime.runtime_address + offsets["runtime_interpreters_head"]
            )
            while interpreter and len(found) < _INTERPRETERS_LIMIT:
                found.append(objects.pointer(interpreter + offsets["interpreter_modules"]))
                interpreter = objects.pointer(interpreter + offsets["interpreter_next"])
        except MemoryFault:
            pass  # an interpreter is just being deleted
        return [modules for modules in reversed(found) if modules]
