"""Whatever memory says, a walk of its heap ends in time, in bounds and without a leak."""

from pathlib import Path

import pytest

from tests.interpreters import Interpreter
from tests.native.heap_recordings import record
from tests.native.programs import Programs, run_program

#: Cases for each interpreter, of up to a thousand changed words each. scripts/fuzz has more.
CASES = 20

WALKS = ("heap_recording.c", "session.c")
FAILING = [
    f"-Wl,--wrap={function}" for function in ("malloc", "calloc", "realloc", "mmap", "pread")
]


@pytest.fixture
def recording(interpreter: Interpreter, tmp_path: Path) -> Path:
    """A recorded heap of some 15 MB."""
    record(interpreter, tmp_path / "recording")
    return tmp_path / "recording"


@pytest.fixture
def any_recording(any_interpreter: Interpreter, tmp_path: Path) -> Path:
    record(any_interpreter, tmp_path / "recording")
    return tmp_path / "recording"


def test_changed_words(programs: Programs, recording: Path) -> None:
    program = programs.build("heap_fuzz.c", *WALKS, "cases.c")
    run_program(program, recording, "0", str(CASES))


@pytest.mark.parametrize("walkers", ["alone", "paired"])
def test_every_allocation_fails(programs: Programs, any_recording: Path, walkers: str) -> None:
    program = programs.build("heap_faults.c", *WALKS, "allocations.c", link=FAILING)
    assert int(run_program(program, any_recording, "allocations", walkers)) > 50


@pytest.mark.parametrize("walkers", ["alone", "paired"])
def test_reads_fail(programs: Programs, any_recording: Path, walkers: str) -> None:
    program = programs.build("heap_faults.c", *WALKS, "allocations.c", link=FAILING)
    assert int(run_program(program, any_recording, "reads", walkers)) > 10
