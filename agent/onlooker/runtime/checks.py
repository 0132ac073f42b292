"""Whether an interpreter is ready to be looked into, and whether its layout fits what is there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from onlooker.errors import MemoryFault, NotReady, UnsupportedPython
from onlooker.memory import Memory

from .elf import read_c_string
from .layouts import Layout
from .states import frames, interpreters, read_word
from .version import version_text

_THREADS_LIMIT: Final = 16
_FRAMES_LIMIT: Final = 16
_ATTEMPTS: Final = 50


def check_ready(memory: Memory, runtime_address: int, layout: Layout) -> None:
    """Raise NotReady unless the interpreter is initialised and isn't being finalised."""
    offsets = layout.offsets
    name = f"Python {version_text(layout.version)}"
    if read_word(memory, runtime_address + offsets["runtime_finalizing"]):
        raise NotReady(f"{name} is shutting down in this process")
    # One that runs nothing now may have no threads; the main one, the last, always has.
    for interpreter in interpreters(memory, runtime_address, layout):
        if read_word(memory, interpreter + offsets["interpreter_threads_head"]):
            return
    raise NotReady(
        f"{name} hasn't been initialised yet in this process, or has been finalised",
        "Try again when the program has started.",
    )


def self_check(memory: Memory, runtime_address: int, layout: Layout) -> int:
    """Check that what `layout` says is where it says it.

    The thread states must point back to their interpreters, and running frames must have code
    objects. Returns the address of PyCode_Type as a running frame shows it, or 0 if no thread runs
    Python code. Raises UnsupportedPython if nothing fits, as for a debug or a patched build.
    """
    problem = ""
    # The threads run on while we look, so one contradiction proves nothing.
    for _ in range(_ATTEMPTS):
        try:
            return _code_type(memory, runtime_address, layout)
        except (ValueError, MemoryFault) as error:
            problem = str(error)
    raise UnsupportedPython(
        f"the structures of this Python {version_text(layout.version)} are not those of a regular"
        f" build: {problem}",
        "Debug builds and builds with patched structures are not supported.",
    )


def _code_type(memory: Memory, runtime_address: int, layout: Layout) -> int:
    """Walk what self_check checks. Raises ValueError for a contradiction."""
    found = 0
    strange = b""
    for thread in _threads(memory, runtime_address, layout):
        executables = _executables(memory, thread, layout) if not found else ()
        for executable in executables:
            object_type = read_word(memory, executable + layout.offsets["object_type"])
            name = read_c_string(
                memory, read_word(memory, object_type + layout.offsets["type_name"])
            )
            if name == b"code":
                found = object_type
                break
            # The frames by which C code enters the interpreter have None in place of the code.
            if name != b"NoneType":
                strange = name
    if strange and not found:
        raise ValueError(f"a frame executes an object of type {strange.decode(errors='replace')!r}")
    return found


def _threads(memory: Memory, runtime_address: int, layout: Layout) -> Iterator[int]:
    offsets = layout.offsets
    for interpreter in interpreters(memory, runtime_address, layout):
        thread = read_word(memory, interpreter + offsets["interpreter_threads_head"])
        for _ in range(_THREADS_LIMIT):
            if not thread:
                break
            if read_word(memory, thread + offsets["thread_interp"]) != interpreter:
                raise ValueError("a thread state doesn't point to its interpreter")
            yield thread
            thread = read_word(memory, thread + offsets["thread_next"])


def _executables(memory: Memory, thread: int, layout: Layout) -> Iterator[int]:
    """Yield what the innermost frames of a thread execute."""
    offsets = layout.offsets
    for frame in frames(memory, thread, layout, _FRAMES_LIMIT):
        executable = read_word(memory, frame + offsets["frame_executable"])
        if executable := executable & ~offsets["frame_executable_tag"]:
            yield executable
