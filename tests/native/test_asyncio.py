"""Whatever memory says of tasks, a look at them ends in time, in bounds and without a leak."""

from pathlib import Path

import pytest

from tests.interpreters import Interpreter
from tests.native.asyncio_recordings import record
from tests.native.programs import Programs, run_program

#: Cases of changed memory for each interpreter.
CASES = 150

LOOKING = ("asyncio_recording.c", "hostile_memory.c", "session.c")
FAILING = [f"-Wl,--wrap={function}" for function in ("malloc", "calloc", "realloc")]


@pytest.fixture
def recording(interpreter: Interpreter, tmp_path: Path) -> tuple[Path, Path]:
    return record(interpreter, tmp_path)


@pytest.fixture
def any_recording(any_interpreter: Interpreter, tmp_path: Path) -> tuple[Path, Path]:
    return record(any_interpreter, tmp_path)


def test_changed_words(programs: Programs, recording: tuple[Path, Path]) -> None:
    program = programs.build("asyncio_fuzz.c", *LOOKING, "lies.c", "cases.c")
    run_program(program, *recording, "0", str(CASES))


@pytest.mark.parametrize("what", ["reads", "allocations"])
def test_every_one_fails(programs: Programs, any_recording: tuple[Path, Path], what: str) -> None:
    program = programs.build("asyncio_faults.c", *LOOKING, "allocations.c", link=FAILING)
    assert int(run_program(program, *any_recording, what)) > 50
