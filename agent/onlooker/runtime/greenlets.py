"""Greenlets that don't run: where each has been when it switched to another one, or shall begin.

A greenlet of greenlet 2.0 and later is a small object that points to a C++ one (TGreenlet.hpp),
which points back; that proves that there is one. A greenlet that was switched away from keeps its
innermost frame, and its part of the thread's C stack if another has used that since: where the
interpreter keeps frames on it, they are in the copy.
"""

from __future__ import annotations

import struct
from collections.abc import Container, Iterator, Mapping
from contextlib import suppress
from typing import Final, NamedTuple

from onlooker.errors import MemoryFault
from onlooker.memory import Memory

from .frames import Frame, Frames
from .locate import Runtime
from .objects import Objects
from .states import interpreters
from .type_names import TypeNames

_TYPES_LIMIT: Final = 64
_FRAMES_LIMIT: Final = 1 << 15  # of one greenlet
_STACK_LIMIT_BYTES: Final = 1 << 30
_VERSION_LIMIT: Final = 64  # characters

# PyGreenlet: the object, its weak references, its dict and `pimpl`.
_PIMPL: Final = 32
_SIZE: Final = 40
# Greenlet: its virtual table, `_self`, an exception state that begins with a pointer and has a
# _PyErr_StackItem, and two arguments; then its StackState and its PythonState: a context and the
# innermost frame object.
_SELF: Final = 8
_BEFORE_STACK: Final = 16 + 8 + 16
_STATE: Final = struct.Struct("<QQQqQQQ")
_CONTEXT: Final = 5 * 8  # in these

# Where UserGreenlet's own fields are depends on both versions: `_main_greenlet`, which is null
# until it starts, `_run_callable` and `_parent`, in this order, so many words behind at most.
_OWN_WORDS: Final = 32


class GreenletTypes(NamedTuple):
    """The classes of greenlets: names, with their modules, by address.

    There are none where greenlet isn't loaded, or isn't ``known`` in this ``version``.
    """

    names: dict[int, str]
    version: str
    known: bool


class Greenlet(NamedTuple):
    """A suspended greenlet.

    ``stack_at`` is in the C stack of its thread, ``context_at`` is where the pointer to its context
    is. Of one that has not started yet ``stack_at`` is 0, and its frame, which is at address 0,
    that of the function that it shall run, if it is one of Python.
    """

    address: int
    stack_at: int
    context_at: int
    frames: tuple[Frame, ...]


class NoGreenlet(MemoryFault):
    """What is no greenlet, or none that is suspended."""


def greenlet_types(runtime: Runtime) -> GreenletTypes:
    """Return the classes of greenlets of a process. Raises TargetGone."""
    objects = Objects(runtime.memory, runtime.layout)
    offsets = runtime.layout.offsets
    names = TypeNames(objects, runtime.layout)
    found: dict[int, str] = {}
    version, known = "", True
    with suppress(MemoryFault):
        for interpreter in interpreters(runtime.memory, runtime.runtime_address, runtime.layout):
            modules = objects.pointer(interpreter + offsets["interpreter_modules"])
            module = objects.dict_get(modules, "greenlet") if modules else None
            base = objects.attribute(module, "greenlet") if module else None
            if not module or not base or not objects.is_type(base):
                continue
            with suppress(MemoryFault):
                text = objects.attribute(module, "__version__")
                version = objects.string(text, _VERSION_LIMIT) if text else ""
            if objects.pointer(base + offsets["type_basicsize"]) != _SIZE:
                known = False
                continue
            left = [base]
            while left and len(found) < _TYPES_LIMIT:
                kind = left.pop()
                if kind not in found:
                    found[kind] = ".".join(filter(None, names.read(kind)))
                    left += _subclasses(objects, offsets, kind)
    return GreenletTypes(found, version, known)


def _subclasses(objects: Objects, offsets: Mapping[str, int], kind: int) -> Iterator[int]:
    with suppress(MemoryFault):
        subclasses = objects.pointer(kind + offsets["type_subclasses"])
        for _, reference in objects.dict_items(subclasses) if subclasses else ():
            with suppress(MemoryFault):
                referent = objects.pointer(reference + offsets["weakref_object"])
                if objects.is_type(referent):
                    yield referent


class GreenletReader:
    """Reads greenlets of one process."""

    def __init__(self, runtime: Runtime, memory: Memory, kinds: Container[int]) -> None:
        self._runtime = runtime
        self._memory = memory
        self._kinds = kinds
        self._objects = Objects(memory, runtime.layout, guess_bytes=0)
        self._at_stack = _BEFORE_STACK + runtime.layout.offsets["errstackitem_size"]

    def read(self, address: int) -> Greenlet:
        """Return the suspended greenlet at an address; raises NoGreenlet or MemoryFault."""
        try:
            pimpl = self._objects.pointer(address + _PIMPL)
            own = self._objects.pointer(pimpl + _SELF)
        except MemoryFault:
            own = 0
        if own != address:
            raise NoGreenlet(f"there is no greenlet at {address:#x}")
        state = pimpl + self._at_stack
        raw = self._memory.read(state, _STATE.size)
        start, stop, copy, saved, _, _, top = _STATE.unpack(raw)
        if not start and not stop:
            return Greenlet(address, 0, state + _CONTEXT, self._to_run(address, pimpl))
        if not start or not top:
            raise NoGreenlet(f"the greenlet at {address:#x} is not suspended")
        if not 0 <= saved <= min(stop - start, _STACK_LIMIT_BYTES):
            raise MemoryFault(f"the greenlet at {address:#x} has saved {saved} bytes")
        frames = self._frames(_Moved(self._memory, start, saved, copy))
        found = tuple(frames.under(frames.of_object(top), _FRAMES_LIMIT))
        return Greenlet(address, start, state + _CONTEXT, found)

    def _to_run(self, address: int, pimpl: int) -> tuple[Frame, ...]:
        """What a greenlet that has not started shall run; raises NoGreenlet if it has ended."""
        at = pimpl + self._at_stack + _STATE.size
        main = run = 0
        for index in range(_OWN_WORDS):
            parent = self._objects.pointer(at + 8 * index)
            if parent and self._is_greenlet(parent):
                break
            main, run = run, parent
        else:
            run = 0
        if not run or main:
            raise NoGreenlet(f"the greenlet at {address:#x} is not to be run")
        objects, offsets = self._objects, self._runtime.layout.offsets
        if objects.type_name(run) == "method":
            run = objects.pointer(run + offsets["method_func"])
        if objects.type_name(run) != "function":
            return ()
        return (Frame(0, objects.pointer(run + offsets["function_code"]), -1),)

    def _is_greenlet(self, address: int) -> bool:
        try:
            kind = self._objects.pointer(address + self._runtime.layout.offsets["object_type"])
            if kind not in self._kinds:
                return False
            return self._objects.pointer(self._objects.pointer(address + _PIMPL) + _SELF) == address
        except MemoryFault:
            return False

    def _frames(self, memory: Memory) -> Frames:
        runtime = self._runtime
        return Frames(memory, runtime.layout, runtime.code_type_address, guess_bytes=0)


class _Moved:
    """Memory of which a part is now elsewhere."""

    def __init__(self, memory: Memory, start: int, length: int, copy: int) -> None:
        self._memory = memory
        self._start = start
        self._end = start + length
        self._distance = copy - start

    def read(self, address: int, length: int) -> bytes:
        """Return what was at an address. A piece that only begins in the part is its rest's."""
        if not self._start <= address < self._end:
            return self._memory.read(address, length)
        here = min(length, self._end - address)
        found = self._memory.read(address + self._distance, here)
        return found + self.read(address + here, length - here) if here < length else found
