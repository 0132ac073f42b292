"""What context variables are set to where a process is: labels of samples."""

from __future__ import annotations

import struct
import time
from collections.abc import Sequence
from typing import Any, Final, NamedTuple
from weakref import WeakKeyDictionary

from onlooker._native import ffi, lib
from onlooker.errors import MemoryFault, UsageError
from onlooker.memory import ProcessMemory
from onlooker.observe.heap_ranges import heap_ranges
from onlooker.observe.modules import Modules
from onlooker.profile.model import Labels
from onlooker.runtime.locate import Runtime
from onlooker.runtime.objects import Objects

OPENTELEMETRY: Final = "otel"
"""Asks for the ids of OpenTelemetry's current span instead of the variable of this name."""


class Label(NamedTuple):
    """A label's key. Its value is an int to be shown with so many hexadecimal digits; 0: is not."""

    key: str
    digits: int = 0


_SPAN: Final = (Label("trace_id", 32), Label("span_id", 16))
_SPAN_VARIABLE: Final = "current_context"
_CONTEXTS: Final = ("Context", "_contextvars.Context")  # as versions call them

LABELS_LIMIT: Final[int] = lib.ONLOOKER_LABELS_LIMIT
_NAME_LIMIT: Final = 256  # characters
_CANDIDATES_LIMIT: Final = 1 << 16

# Looking for variables anew takes at most this part of the time.
_SHARE: Final = 1 / 100
_LEAST_REST_S: Final = 1.0

_VALUE: Final = struct.Struct("=IIII")
_DIGIT_BITS: Final = 30  # PYLONG_BITS_IN_DIGIT of 64-bit builds
_ENCODINGS: Final = {1: "latin-1", 2: "utf-16-le", 4: "utf-32-le"}


class _Wanted(NamedTuple):
    """A variable's name, and the first label that it gives."""

    name: str
    label: int
    is_span: bool


class _Variable(NamedTuple):
    name: str
    address: int
    hash: int


class _Search(NamedTuple):
    """All variables of a process, found when it had imported so many modules."""

    modules: int
    variables: list[_Variable]


# Whoever asks a process again, as a server does, need not search all its memory again.
_LAST: Final[WeakKeyDictionary[ProcessMemory, _Search]] = WeakKeyDictionary()


class ContextLabels:
    """The labels that were asked for, and the variables that give them their values.

    ``names`` are those of ContextVar objects, or OPENTELEMETRY. Raises UsageError if they are too
    many.
    """

    def __init__(self, runtime: Runtime, names: Sequence[str]) -> None:
        self.native = self._memory = ffi.NULL
        self._runtime = runtime
        self._objects = Objects(runtime.memory, runtime.layout)
        self._modules = Modules(runtime, self._objects)
        self._wanted: list[_Wanted] = []
        self._labels: list[Label] = []
        for name in dict.fromkeys(names):
            is_span = name == OPENTELEMETRY
            variable = _SPAN_VARIABLE if is_span else name
            self._wanted.append(_Wanted(variable, len(self._labels), is_span))
            self._labels += _SPAN if is_span else (Label(name),)
        if len(self._labels) > LABELS_LIMIT:
            raise UsageError(f"{len(self._labels)} labels are more than {LABELS_LIMIT}")
        self._search = _Search(-1, [])
        self._next_s = 0.0
        self.variables: list[dict[str, int]] = []
        if self._labels:
            offsets = runtime.layout.offsets
            fields = (name for name, _ in ffi.typeof("context_layout").fields)
            self.layout = ffi.new("context_layout *", {name: offsets[name] for name in fields})
            self.native = lib.contexts_open(self.layout)
            self._memory = lib.memory_open_process(runtime.pid)

    def look(self) -> bool:
        """Look for the variables if there may be others by now; return whether it did."""
        now_s = time.monotonic()
        if not self.native or now_s < self._next_s:
            return False
        count, last = self._count_modules(), _LAST.get(self._runtime.memory, _Search(-1, []))
        if count != last.modules or not self._has_all(last):
            last = _LAST[self._runtime.memory] = _Search(count, self._find())
        elif last is self._search:
            return False
        self._search = last
        self.variables = [
            {"address": address, "hash": known, "label": want.label, "is_span": want.is_span}
            for name, address, known in last.variables
            for want in self._wanted
            if want.name == name
        ][: lib.ONLOOKER_VARIABLES_LIMIT]
        took_s = time.monotonic() - now_s
        self._next_s = now_s + max(_LEAST_REST_S, took_s / _SHARE)
        return True

    def adopt(self) -> None:
        """From now on read what was found; not while anybody reads."""
        found = self.variables
        lib.contexts_watch(self.native, found, len(found), len(self._labels))

    def _count_modules(self) -> int:
        offsets, objects = self._runtime.layout.offsets, self._objects
        try:
            return sum(
                objects.pointer(
                    objects.pointer(modules + offsets["dict_keys"]) + offsets["dictkeys_nentries"]
                )
                for modules in self._modules.dicts()
            )
        except MemoryFault:
            return -1

    def _has_all(self, search: _Search) -> bool:
        return {want.name for want in self._wanted} <= {found.name for found in search.variables}

    def _find(self) -> list[_Variable]:
        """All ContextVar objects, wherever they are."""
        kind = self._type()
        candidates = self._objects_of(kind) if kind else ()
        return [found for found in map(self._variable, candidates) if found.name]

    def _type(self) -> int:
        """The address of ContextVar, 0 while nobody has imported it."""
        for modules in self._modules.dicts():
            try:
                module = self._objects.dict_get(modules, "_contextvars")
                found = module and self._objects.attribute(module, "ContextVar")
            except MemoryFault:
                continue
            if found:
                return found
        return 0

    def _objects_of(self, kind: int) -> list[int]:
        """Where there may be objects of a type: all words that point to it tell."""
        words, places = ffi.new("uint64_t[]", [kind]), ffi.new("uint64_t[]", _CANDIDATES_LIMIT)
        at = self._runtime.layout.offsets["object_type"]
        memory = self._memory
        found: list[int] = []
        try:
            for start, end, in_image, _ in heap_ranges(self._runtime, self._runtime.pid):
                if memory and not in_image:
                    count = lib.words_find(memory, start, end, words, 1, places, _CANDIDATES_LIMIT)
                    found += (place - at for place in places[0:count])
        except MemoryFault:
            pass  # it is just ending
        return found

    def _variable(self, address: int) -> _Variable:
        """The ContextVar at an address; one without a name if there is none (any more).

        A freed object keeps its bytes for some time, but no references.
        """
        offsets, objects = self._runtime.layout.offsets, self._objects
        try:
            references = self._runtime.memory.read(address, 4)
            name = objects.pointer(address + offsets["contextvar_name"])
            known = objects.pointer(address + offsets["contextvar_hash"])
            text = objects.string(name, _NAME_LIMIT) if any(references) else ""
            return _Variable(text, address, known)
        except MemoryFault:
            return _Variable("", address, 0)

    @property
    def asked(self) -> bool:
        """Whether there are any labels."""
        return bool(self._labels)

    def read(self, slot: int) -> int:
        """The set of values in the context that the pointer at an address leads to."""
        number = ffi.new("uint32_t *")
        if self._memory and self._is_context(slot):
            lib.contexts_read(self.native, self._memory, slot, number)
        return int(number[0])

    def _is_context(self, slot: int) -> bool:
        """Whether there is a pointer to a context: tasks that are not asyncio's own have none."""
        try:
            return self._objects.type_name(self._objects.pointer(slot)) in _CONTEXTS
        except MemoryFault:
            return False

    def values(self) -> Values:
        """What was seen until now."""
        return Values(self.native, self._labels)

    def caveats(self, contextless: int) -> tuple[str, ...]:
        """Return sentences about what the labels lack; of so many samples nothing is known."""
        names = {found.name for found in self._search.variables}
        found = [
            f"no ContextVar is named {want.name!r}: no sample has its label"
            for want in self._wanted
            if want.name not in names
        ]
        if contextless:
            found.append(
                f"the context of {contextless} samples changed too fast to be read:"
                " they have no labels of it"
            )
        overflow = lib.contexts_overflow(self.native) if self.native else 0
        if overflow:
            found.append(
                f"{overflow} samples came after the table of context variables' values was"
                " full: they have no labels of them"
            )
        return tuple(found)

    def close(self) -> None:
        """Free what was seen."""
        lib.contexts_close(self.native)
        lib.memory_close(self._memory)
        self.native = self._memory = ffi.NULL

    def __enter__(self) -> ContextLabels:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Values:
    """Labels by the number of a set of values, which takes less memory than the labels do."""

    def __init__(self, native: Any, labels: Sequence[Label]) -> None:
        self._labels = labels
        if native:
            self._sets = memoryview(_array(lib.contexts_sets, native, 4 * len(labels))).cast("I")
            self._values = _array(lib.contexts_values, native, _VALUE.size)
            self._bytes = _array(lib.contexts_bytes, native, 1)

    def __call__(self, number: int) -> Labels:
        """The labels of a set."""
        if not number:
            return ()
        width = len(self._labels)
        values = self._sets[width * number : width * (number + 1)]
        return tuple(
            (label.key, self._text(value, label.digits))
            for label, value in zip(self._labels, values, strict=True)
            if value
        )

    def _text(self, number: int, digits: int) -> str:
        at, size, kind, cut = _VALUE.unpack_from(self._values, number * _VALUE.size)
        raw, more = self._bytes[at : at + size], "…" if cut else ""
        if kind > lib.ONLOOKER_VALUE_STR:
            text = raw.decode(_ENCODINGS[kind - lib.ONLOOKER_VALUE_STR], "surrogatepass")
            return text + more or '""'  # a label of no text at all would be none
        if kind == lib.ONLOOKER_VALUE_BYTES:
            return repr(raw) + more
        if kind == lib.ONLOOKER_VALUE_BOOL:
            return str(_integer(raw) != 0)
        if kind == lib.ONLOOKER_VALUE_INT:
            return f"{_integer(raw):0{digits}x}" if digits else str(_integer(raw))
        if kind == lib.ONLOOKER_VALUE_NONE:
            return "None"
        return f"<{raw.decode('utf-8', 'replace')}{more}>"


def _integer(raw: bytes) -> int:
    negative, *digits = struct.unpack(f"={len(raw) // 4}I", raw)
    value: int = sum(digit << place * _DIGIT_BITS for place, digit in enumerate(digits))
    return -value if negative else value


def _array(function: Any, native: Any, size: int) -> bytes:
    count = ffi.new("uint32_t *")
    items = function(native, count)
    return bytes(ffi.buffer(items, count[0] * size)) if count[0] else b""
