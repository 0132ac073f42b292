"""The name, file and line of a frame are those of the code that was there, whatever came after."""

import itertools
import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest
from onlooker import Recording, Target
from onlooker.observe.recorder import Pause
from onlooker.profile.model import Location
from onlooker.runtime.names import ThreadNames
from onlooker.target import Progress

from tests.conftest import StartTarget
from tests.interpreters import DEADLINE_S, Interpreter
from tests.soak import soak_seconds
from tests.stacks import text

PROGRAM = Path("truth_names.py")

#: As the program has it.
LINES = 97

#: The lines that each of its functions has, counted from the first one of its number, and its own
#: first one.
FUNCTION_LINES = {"f": range(4), "g": range(4, 6)}

FULL_SPEED_HZ = 1e6


def number_of(location: Location) -> str:
    """The number that the frame's name tells of; empty if it is none of the generated ones."""
    match = re.fullmatch(r"[fg](\d{6})", location.function.system_name)
    return match[1] if match else ""


def objection(stack: Sequence[Location]) -> str:
    """Why the program can't have this stack, leaf first; empty if it can."""
    for callee, caller in pairwise(stack):
        number, name = number_of(callee), callee.function.system_name
        if name == f"f{number}" and caller.function.system_name != f"g{number}":
            return "a function of one number is called by another's"
    for location in stack:
        number = number_of(location)
        if not number:
            continue
        if location.function.filename != number:
            return f"{number} is in the file {location.function.filename}"
        kind = location.function.system_name[0]
        lines = FUNCTION_LINES[kind]
        first = 1 + int(number) % LINES
        if location.function.start_line != first + lines[0]:
            return f"{number} begins at line {location.function.start_line}"
        if location.line - first not in lines:
            return f"{number} is at line {location.line}"
        if kind == "g" and location is not stack[0] and location.line - first != lines[1]:
            return f"{number} calls from line {location.line}"
    return ""


def objections(recording: Recording) -> list[str]:
    samples = recording.profile("wall", all_frames=True).samples
    found = [(objection(sample.stack), text(sample.stack)) for sample in samples]
    return [f"{why}: {stack}" for why, stack in found if why]


def numbers(recording: Recording) -> set[str]:
    samples = recording.profile("wall", all_frames=True).samples
    return {number_of(location) for sample in samples for location in sample.stack} - {""}


SAMPLES = 50


@pytest.mark.parametrize(
    ("how", "rate_hz", "pause"),
    [
        ("compiled", FULL_SPEED_HZ, "auto"),
        ("compiled", FULL_SPEED_HZ, "never"),
        ("compiled", 1000, "auto"),
        ("replaced", FULL_SPEED_HZ, "auto"),
    ],
)
def test_names_are_of_the_code_that_ran(
    interpreter: Interpreter, start_target: StartTarget, how: str, rate_hz: float, pause: Pause
) -> None:
    target = start_target(interpreter, PROGRAM, how)
    assert target.read_line() == "ready"
    seen: list[Progress] = []

    def enough() -> bool:
        return (
            bool(seen)
            and seen[-1].counters.samples >= SAMPLES
            and seen[-1].elapsed_ns >= soak_seconds(0.2) * 1e9
            # Many samples may be of one moment, if something else has the target's CPU.
            and len(numbers(seen[-1].recording())) > 1
        )

    with Target(target.pid) as opened:
        recording = opened.record(
            ["wall"], DEADLINE_S, rate_hz=rate_hz, pause=pause, stop=enough, progress=seen.append
        )
    print(interpreter.name, how, pause, rate_hz, recording.counters, len(numbers(recording)))
    assert objections(recording) == []
    assert len(numbers(recording)) > 1


def test_name_of_a_thread_is_read_twice(
    any_interpreter: Interpreter, start_target: StartTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one reading of many a thread has another's name, in a program with short-lived threads."""
    read, readings = ThreadNames.read, itertools.count()

    def read_wrongly(names: ThreadNames, modules: int) -> dict[int, str]:
        found = read(names, modules)
        return found if wrong < 0 or next(readings) % 2 != wrong else dict.fromkeys(found, "x")

    monkeypatch.setattr(ThreadNames, "read", read_wrongly)
    target = start_target(any_interpreter, Path("busy.py"))
    target.read_line()
    for wrong in (-1, 0, 1):  # in none, in the first or in the second of two
        with Target(target.pid) as it:
            (name,) = {found.thread.name for found in it.stacks()} - {"left", "right", "waiter"}
        assert name == ("MainThread" if wrong < 0 else "")
