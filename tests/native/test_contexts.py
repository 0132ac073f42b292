"""Values of context variables are read in time and in bounds, whatever a target's memory says."""

import struct
from pathlib import Path

from onlooker._native import ffi, lib
from onlooker.observe.contexts import ContextLabels
from onlooker.runtime.locate import Runtime, locate
from onlooker.runtime.states import interpreters, read_word

from tests.conftest import StartTarget
from tests.interpreters import Interpreter
from tests.native.programs import Programs, run_program
from tests.native.recordings import Recording, write_flat
from tests.native.replay import captured_pages

CASES = 3000
SOME = 11


def test_changed_words(
    interpreter: Interpreter, start_target: StartTarget, programs: Programs, tmp_path: Path
) -> None:
    target = start_target(interpreter, Path("context_values.py"))
    names, expected = target.read_json()
    runtime = locate(target.pid)
    try:
        some = [*names[:SOME], "default", "collides", "otel"]
        with ContextLabels(runtime, some) as labels:
            labels.look()
            labels.adopt()
            record(runtime, labels, len(some) + 1, tmp_path)
            found = labels.values()(1)
    finally:
        runtime.close()
    assert len(found) == len(some) + 1  # a span gives two
    assert all(expected[key] == value for key, value in found)
    program = programs.build(
        "contexts_fuzz.c", "hostile_memory.c", "session.c", "lies.c", "cases.c"
    )
    run_program(program, tmp_path / "recording", tmp_path / "wanted", str(CASES))


def record(runtime: Runtime, labels: ContextLabels, count: int, folder: Path) -> None:
    """Write what the C program wants: the pages that a reading needs, and what is read."""
    interpreter = next(iter(interpreters(runtime.memory, runtime.runtime_address, runtime.layout)))
    offsets = runtime.layout.offsets
    thread = read_word(runtime.memory, interpreter + offsets["interpreter_threads_head"])
    slot = thread + offsets["thread_context"]
    memory = lib.memory_open_process(runtime.pid)
    lib.memory_capture(memory)
    try:
        assert lib.contexts_read(labels.native, memory, slot, ffi.new("uint32_t *")) == 0
        pages = captured_pages(memory)
    finally:
        lib.memory_close(memory)
    code_type = runtime.code_type_address
    write_flat(
        folder / "recording",
        Recording(
            runtime.version, runtime.published, runtime.runtime_address, code_type, pages, ""
        ),
    )
    variables = labels.variables
    layout = bytes(ffi.buffer(labels.layout))
    # As C aligns it.
    head = layout + bytes(-len(layout) % 8) + struct.pack("=QII", slot, len(variables), count)
    array = ffi.new("context_variable[]", variables)
    (folder / "wanted").write_bytes(head + bytes(ffi.buffer(array)))
