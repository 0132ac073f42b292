"""Whatever a target's memory says, the reader ends in time, in bounds and without a leak."""

from pathlib import Path

import pytest

from tests.native.programs import Programs, run_program
from tests.native.recordings import load, paths, write_flat

#: Cases of changed memory for each version, and how many of them one test runs.
CASES = 2000
CASES_A_TEST = 500

LYING = ("hostile_memory.c", "session.c")
FAILING = [f"-Wl,--wrap={function}" for function in ("malloc", "calloc", "realloc")]


@pytest.fixture(params=paths(), ids=lambda path: path.stem)
def flat(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A recording as the C programs read it."""
    path: Path = request.param
    write_flat(tmp_path / "recording", load(path))
    return tmp_path / "recording"


@pytest.mark.parametrize("first", range(0, CASES, CASES_A_TEST))
def test_changed_words(programs: Programs, flat: Path, first: int) -> None:
    program = programs.build("fuzz_replay.c", *LYING, "lies.c", "cases.c")
    run_program(program, flat, str(first), str(CASES_A_TEST))


def test_every_read_fails(programs: Programs, flat: Path) -> None:
    program = programs.build("faults.c", *LYING, "allocations.c", link=FAILING)
    assert int(run_program(program, flat, "reads")) > 500


def test_every_allocation_fails(programs: Programs, flat: Path) -> None:
    program = programs.build("faults.c", *LYING, "allocations.c", link=FAILING)
    assert int(run_program(program, flat, "allocations")) > 50
