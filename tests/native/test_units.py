"""The reader's modules, each tested by a C program: every test is a process of its own."""

import re

import pytest

from tests.native.programs import HERE, Programs, run_program

#: What a test program has to say when its functions of the C library take others' place.
LINK = {
    "arrays_test.c": ["-Wl,--wrap=mmap", "-Wl,--wrap=mremap"],
    "freeze_kill_test.c": ["-Wl,--wrap=ptrace", "-Wl,--wrap=process_vm_writev"],
    "moment_test.c": ["-Wl,--wrap=process_vm_readv"],
    "owners_test.c": [f"-Wl,--wrap={name}" for name in ("malloc", "calloc", "realloc")],
    "tasks_test.c": ["-Wl,--wrap=malloc"],
    "watch_kill_test.c": ["-Wl,--wrap=ptrace"],
}


def unit_tests() -> list[tuple[str, str]]:
    """Each test program's source, and the name of each of its tests."""
    return [
        (source.name, name)
        for source in sorted(HERE.glob("*_test.c"))
        for name in re.findall(r"^TEST\((\w+)\)$", source.read_text(), re.MULTILINE)
    ]


@pytest.mark.parametrize(("source", "test"), unit_tests())
def test_unit(programs: Programs, source: str, test: str) -> None:
    run_program(programs.build(source, link=LINK.get(source, ())), test)


#: What these write into a target has to be right as the optimizer makes it, too.
WRITERS = {"freeze_kill_test.c", "freeze_test.c", "freeze_waits_test.c"}


@pytest.mark.parametrize(("source", "test"), [unit for unit in unit_tests() if unit[0] in WRITERS])
def test_unit_as_shipped(optimized_programs: Programs, source: str, test: str) -> None:
    run_program(optimized_programs.build(source, link=LINK.get(source, ())), test)
