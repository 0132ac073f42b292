"""Recordings of all memory that a small program's objects are in, for C programs that walk it."""

import struct
from pathlib import Path
from typing import Any

from onlooker._native import ffi
from onlooker.errors import MemoryFault
from onlooker.memory import Memory
from onlooker.observe.heap_ranges import heap_ranges
from onlooker.runtime.collector import list_heads
from onlooker.runtime.heap_roots import heap_roots
from onlooker.runtime.locate import Runtime, locate
from onlooker.runtime.objects import Objects
from onlooker.runtime.states import interpreters

from tests.interpreters import PROGRAMS, Interpreter, Target
from tests.kernel import await_reading

PIECE_BYTES = 1 << 20
PAGE_BYTES = 4096


def record(interpreter: Interpreter, path: Path) -> None:
    """Write what tests/native/heap_recording.h reads, of a program that waits."""
    program = interpreter.path_in_target(PROGRAMS / "heap_recorded.py")
    with Target(interpreter.argv("-S", "-I", program)) as target:
        assert target.read_line() == "ready"
        await_reading(target.pid)
        runtime = locate(target.pid)
        try:
            _write(path, runtime)
        finally:
            runtime.close()


def _write(path: Path, runtime: Runtime) -> None:
    offsets = runtime.layout.offsets
    fields = (name for name, _ in ffi.typeof("heap_layout").fields)
    layout: Any = ffi.new("heap_layout *", {name: offsets[name] for name in fields})
    ranges = heap_ranges(runtime, runtime.pid)
    heads = list_heads(runtime)
    modules = [root.address for root in heap_roots(runtime, ()) if root.is_module]
    head = [_type_type(runtime), len(heads), len(modules), len(ranges)]
    with path.open("wb") as file:
        file.write(bytes(ffi.buffer(layout)))
        file.write(struct.pack(f"={len(head)}Q", *head))
        file.write(struct.pack(f"={len(heads) + len(modules)}Q", *heads, *modules))
        file.write(bytes(ffi.buffer(ffi.new("heap_range[]", ranges))))
        for start, end, _, _ in ranges:
            for at in range(start, end, PIECE_BYTES):
                file.write(_read(runtime.memory, at, min(PIECE_BYTES, end - at)))


def _read(memory: Memory, address: int, size: int) -> bytes:
    try:
        return memory.read(address, size)
    except MemoryFault:  # a page of an image that its file is too short for
        if size == PAGE_BYTES:
            return bytes(size)
        pages = range(address, address + size, PAGE_BYTES)
        return b"".join(_read(memory, page, PAGE_BYTES) for page in pages)


def _type_type(runtime: Runtime) -> int:
    """The type of types."""
    objects, offsets = Objects(runtime.memory, runtime.layout), runtime.layout.offsets
    interpreter = next(interpreters(runtime.memory, runtime.runtime_address, runtime.layout))
    modules = objects.pointer(interpreter + offsets["interpreter_modules"])
    kind = objects.pointer(modules + offsets["object_type"])
    return objects.pointer(kind + offsets["object_type"])
