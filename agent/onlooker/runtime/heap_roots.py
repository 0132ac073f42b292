"""What holds a program's objects from outside of them: modules, tasks, the variables of frames."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Final, NamedTuple

from onlooker.errors import MemoryFault

from .layouts import NONE
from .locate import Runtime
from .names import ThreadNames
from .objects import Objects
from .states import frames, interpreters

_THREADS_LIMIT: Final = 1 << 15
_FRAMES_LIMIT: Final = 1 << 15  # of a thread
_LOCALS_LIMIT: Final = 1 << 12
_BASES_LIMIT: Final = 64
_NAME_LIMIT: Final = 4096  # characters

# A word of a frame is an address, with tags below it where frames have such.
_TAGS: Final = 3


class HeapRoot(NamedTuple):
    """An object that is held from outside, by something with these names, outermost first.

    What roots of a lower ``tier`` hold is theirs, even if those of higher ones hold it, too.
    """

    address: int
    names: tuple[str, ...]
    tier: int
    is_module: bool = False


PROGRAM, FRAMES, NATIVE = range(3)
"""The tiers: modules and tasks; variables of frames that run; what native code has."""


def heap_roots(runtime: Runtime, tasks: Iterable[tuple[int, str]]) -> Iterator[HeapRoot]:
    """Yield the roots in a process that stands still, in the order of their tiers.

    Structures that can't be read are left out. ``tasks`` are addresses and names.
    """
    objects = Objects(runtime.memory, runtime.layout)
    addresses = list(interpreters(runtime.memory, runtime.runtime_address, runtime.layout))
    several = len(addresses) > 1
    prefixes = [(f"interpreter {number}",) if several else () for number in range(len(addresses))]
    for address, prefix in zip(addresses, prefixes, strict=True):
        for module, name in _modules(runtime, objects, address):
            yield HeapRoot(module, (*prefix, f"module {name}"), PROGRAM, is_module=True)
    for task, name in tasks:
        yield HeapRoot(task, (f"task {name}",), PROGRAM)
    for address, prefix in zip(addresses, prefixes, strict=True):
        yield from _frames(runtime, objects, address, prefix)


def _modules(runtime: Runtime, objects: Objects, interpreter: int) -> Iterator[tuple[int, str]]:
    with suppress(MemoryFault):
        modules = objects.pointer(interpreter + runtime.layout.offsets["interpreter_modules"])
        for name, module in objects.dict_items(modules):
            with suppress(MemoryFault):
                if _is_module(runtime, objects, module):
                    yield module, objects.string(name, _NAME_LIMIT)


def _is_module(runtime: Runtime, objects: Objects, address: int) -> bool:
    """Whether the object is a module, and not something else that a program put in sys.modules."""
    kind = objects.pointer(address + runtime.layout.offsets["object_type"])
    for _ in range(_BASES_LIMIT):
        if not kind or objects.name_of_type(kind) == "module":
            return bool(kind)
        kind = objects.pointer(kind + runtime.layout.offsets["type_base"])
    return False


def _frames(
    runtime: Runtime, objects: Objects, interpreter: int, prefix: tuple[str, ...]
) -> Iterator[HeapRoot]:
    offsets = runtime.layout.offsets
    with suppress(MemoryFault):
        modules = objects.pointer(interpreter + offsets["interpreter_modules"])
        names = ThreadNames(objects).read(modules)
        tstate = objects.pointer(interpreter + offsets["interpreter_threads_head"])
        for _ in range(_THREADS_LIMIT):
            if not tstate:
                return
            ident = objects.pointer(tstate + offsets["thread_id"])
            thread = (*prefix, f"thread {names.get(ident) or f'{ident:#x}'}")
            with suppress(MemoryFault):
                yield from _FrameReader(runtime, objects).roots(tstate, thread)
            tstate = objects.pointer(tstate + offsets["thread_next"])


class _FrameReader:
    """Reads the variables of the frames of a thread, which are outside of the heap from 3.11 on."""

    def __init__(self, runtime: Runtime, objects: Objects) -> None:
        self._memory = runtime.memory
        self._layout = runtime.layout
        self._offsets = runtime.layout.offsets
        self._objects = objects
        self._code_type = runtime.code_type_address

    def roots(self, tstate: int, thread: tuple[str, ...]) -> Iterator[HeapRoot]:
        for frame in frames(self._memory, tstate, self._layout, _FRAMES_LIMIT):
            with suppress(MemoryFault):
                yield from self._variables(frame, thread)

    def _variables(self, frame: int, thread: tuple[str, ...]) -> Iterator[HeapRoot]:
        offsets, objects = self._offsets, self._objects
        tag = offsets["frame_executable_tag"]
        code = objects.pointer(frame + offsets["frame_executable"]) & ~tag
        if objects.pointer(code + offsets["object_type"]) != self._code_type:
            return  # the interpreter's own
        names = self._names(code)
        column = "code_qualname" if offsets["code_qualname"] != NONE else "code_name"
        function = objects.string(objects.pointer(code + offsets[column]), _NAME_LIMIT)
        inside = offsets["frame_localsplus"] != NONE
        locals_at = frame + offsets["frame_localsplus" if inside else "frameobject_localsplus"]
        for place, name in enumerate(names):
            value = objects.pointer(locals_at + 8 * place) & ~_TAGS
            if value:
                yield HeapRoot(value, (*thread, function, f"local {name}"), FRAMES)

    def _names(self, code: int) -> list[str]:
        objects, offsets = self._objects, self._offsets
        columns = ["code_localsplusnames"]
        if offsets["code_localsplusnames"] == NONE:
            columns = ["code_varnames", "code_cellvars", "code_freevars"]
        names: list[int] = []
        for column in columns:
            names += objects.sequence(objects.pointer(code + offsets[column]))
        return [objects.string(name, _NAME_LIMIT) for name in names[:_LOCALS_LIMIT]]
