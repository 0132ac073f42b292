"""Recordings of all memory that is read of a program's asyncio tasks, for C programs."""

from pathlib import Path

from onlooker._native import ffi, lib
from onlooker.observe.recorder import native_layout
from onlooker.observe.tasks import native_roots, tasks_layout
from onlooker.runtime.asyncio_roots import TaskRoots
from onlooker.runtime.locate import Runtime, locate

from tests.interpreters import PROGRAMS, Interpreter, Target
from tests.kernel import await_reading
from tests.native.recordings import Recording, write_flat
from tests.native.replay import captured_pages


def record(interpreter: Interpreter, folder: Path) -> tuple[Path, Path]:
    """Write what tests/native/asyncio_recording.h reads, of a program that waits."""
    program = interpreter.path_in_target(PROGRAMS / "tasks.py")
    with Target(interpreter.argv(program)) as target:
        target.read_line()
        await_reading(target.pid)
        runtime = locate(target.pid)
        try:
            return _write(folder, runtime)
        finally:
            runtime.close()


def _write(folder: Path, runtime: Runtime) -> tuple[Path, Path]:
    found = TaskRoots(runtime)
    roots, layout = native_roots(found), tasks_layout(runtime, found.offsets)
    memory = lib.memory_open_process(runtime.pid)
    lib.memory_capture(memory)
    look = lib.asyncio_open(
        memory, native_layout(runtime.layout), layout, runtime.code_type_address
    )
    try:
        assert lib.asyncio_read(look, roots, len(roots)) == lib.ONLOOKER_OK
        pages = captured_pages(memory)
    finally:
        lib.asyncio_close(look)
        lib.memory_close(memory)
    recording = Recording(
        runtime.version,
        runtime.published,
        runtime.runtime_address,
        runtime.code_type_address,
        pages,
        stacks="",
    )
    write_flat(folder / "recording", recording)
    (folder / "roots").write_bytes(bytes(ffi.buffer(layout)) + bytes(ffi.buffer(roots)))
    return folder / "recording", folder / "roots"
