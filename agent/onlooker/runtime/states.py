"""Walking the interpreter's own lists: its interpreters, and the frames of a thread."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from onlooker.memory import Memory

from .layouts import NONE, Layout

_INTERPRETERS_LIMIT: Final = 4096


def read_word(memory: Memory, address: int) -> int:
    """Return the 8-byte word at an address. Raises MemoryFault."""
    return int.from_bytes(memory.read(address, 8), "little")


def interpreters(memory: Memory, runtime_address: int, layout: Layout) -> Iterator[int]:
    """Yield the addresses of all PyInterpreterState, the newest first. Raises MemoryFault."""
    offsets = layout.offsets
    interpreter = read_word(memory, runtime_address + offsets["runtime_interpreters_head"])
    for _ in range(_INTERPRETERS_LIMIT):
        if not interpreter:
            return
        yield interpreter
        interpreter = read_word(memory, interpreter + offsets["interpreter_next"])


def current_frame(memory: Memory, thread: int, layout: Layout) -> int:
    """Return the address of a thread's innermost frame, 0 if it has none. Raises MemoryFault."""
    offsets = layout.offsets
    if offsets["thread_cframe"] == NONE:
        return read_word(memory, thread + offsets["thread_current_frame"])
    cframe = read_word(memory, thread + offsets["thread_cframe"])
    return read_word(memory, cframe + offsets["cframe_current_frame"]) if cframe else 0


def frames(memory: Memory, thread: int, layout: Layout, limit: int) -> Iterator[int]:
    """Yield the addresses of a thread's innermost frames. Raises MemoryFault."""
    frame = current_frame(memory, thread, layout)
    for _ in range(limit):
        if not frame:
            return
        yield frame
        frame = read_word(memory, frame + layout.offsets["frame_previous"])
