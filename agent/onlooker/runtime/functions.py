"""Which functions the lines of a program's files are in, found from its modules.

What is found are the functions that modules, classes and decorators hold, and those defined in
them. Lines of no function are those that run when a module is imported, and those of functions that
only exist while another one runs, such as the closures of a decorator.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import islice
from typing import Final, NamedTuple

from onlooker.errors import MemoryFault
from onlooker.memory import Memory

from .blocks import Blocks
from .layouts import NONE, Layout
from .lines import LineTable
from .objects import Objects

_MODULES_LIMIT: Final = 1 << 16
_ITEMS_LIMIT: Final = 1 << 14  # of one module or class
_VISITS_LIMIT: Final = 1 << 18  # of modules, classes, functions and code objects
_NAME_LIMIT: Final = 4096
_LINE_TABLE_LIMIT_BYTES: Final = 1 << 20
_WRAPPER_WORDS: Final = {"classmethod": 1, "staticmethod": 1, "property": 3}
"""How many functions such an object has after its head (Objects/funcobject.c, descrobject.c)."""


class FunctionLines(NamedTuple):
    """A function as its code object has it: ``name`` is co_qualname, before 3.11 co_name."""

    name: str
    firstlineno: int


class FunctionFinder:
    """Finds functions in the memory of a target, or in a snapshot of it."""

    def __init__(self, memory: Memory, layout: Layout) -> None:
        self._layout = layout
        self._offsets = layout.offsets
        self._memory = Blocks(memory)
        self._objects = Objects(self._memory, layout)
        self._visited: set[int] = set()
        self._found: dict[str, dict[int, FunctionLines]] = {}
        self._names: dict[int, str] = {}

    def find(
        self, modules_dicts: Iterable[int], files: set[str]
    ) -> dict[str, dict[int, FunctionLines]]:
        """Return the function of each line, by the file's name.

        Only of these files, and as far as a module of the interpreters' sys.modules has them as its
        __file__. Raises TargetGone; what can't be read is left out.
        """
        self._found = {file: {} for file in files}
        for modules in modules_dicts:
            for _, module in self._items(modules, _MODULES_LIMIT):
                with suppress(MemoryFault):
                    file = self._objects.attribute(module, "__file__")
                    if file and self._text(file) in files:
                        self._visit_all(self._objects.attributes(module))
        return self._found

    def _visit_all(self, attributes: Iterator[tuple[int, int]]) -> None:
        """Visit what a module or a class has, and the classes in it."""
        waiting = [value for _, value in islice(attributes, _ITEMS_LIMIT)]
        while waiting:
            value = waiting.pop()
            if value in self._visited or len(self._visited) >= _VISITS_LIMIT:
                continue
            self._visited.add(value)
            with suppress(MemoryFault):
                waiting += self._visit(value)

    def _visit(self, address: int) -> list[int]:
        """Take what is at this address; return what it leads to."""
        objects, offsets = self._objects, self._offsets
        if objects.is_type(address):
            attributes = objects.pointer(address + offsets["type_dict"])
            return [value for _, value in self._items(attributes, _ITEMS_LIMIT)]
        kind = objects.type_name(address)
        if kind in _WRAPPER_WORDS:
            start = address + offsets["object_type"] + 8
            words = (objects.pointer(start + 8 * at) for at in range(_WRAPPER_WORDS[kind]))
            return [word for word in words if word]
        if kind == "function":
            self._take(objects.pointer(address + offsets["function_code"]))
        elif kind != "functools._lru_cache_wrapper":
            return []
        wrapped = objects.attribute(address, "__wrapped__")
        return [wrapped] if wrapped else []

    def _take(self, code: int) -> None:
        """Take the lines of a code object and, where these leave some, of those defined in it."""
        objects, offsets = self._objects, self._offsets
        waiting = [code]
        while waiting:
            address = waiting.pop(0)
            if address in self._visited or len(self._visited) >= _VISITS_LIMIT:
                continue
            self._visited.add(address)
            with suppress(MemoryFault):
                if objects.type_name(address) != "code":
                    continue
                file = self._text(objects.pointer(address + offsets["code_filename"]))
                lines = self._found.get(file)
                if lines is None:
                    continue
                function, own = self._function(address)
                for line in own:
                    lines.setdefault(line, function)
                waiting += objects.sequence(objects.pointer(address + offsets["code_consts"]))

    def _function(self, code: int) -> tuple[FunctionLines, frozenset[int]]:
        objects, offsets = self._objects, self._offsets
        name = "code_qualname" if offsets["code_qualname"] != NONE else "code_name"
        raw = self._memory.read(code + offsets["code_firstlineno"], 4)
        first = int.from_bytes(raw, "little", signed=True)
        table = objects.bytes_(
            objects.pointer(code + offsets["code_linetable"]), _LINE_TABLE_LIMIT_BYTES
        )
        lines = LineTable(self._layout.line_table, table, first).lines
        return FunctionLines(self._text(objects.pointer(code + offsets[name])), first), lines

    def _items(self, dictionary: int, limit: int) -> list[tuple[int, int]]:
        try:
            return list(islice(self._objects.dict_items(dictionary), limit))
        except MemoryFault:
            return []  # it is being changed

    def _text(self, address: int) -> str:
        text = self._names.get(address)
        if text is None:
            text = self._names[address] = self._objects.string(address, _NAME_LIMIT)
        return text
