"""The bootstrap frames of real interpreters: what is left begins with the program's own code."""

from pathlib import PurePosixPath

from onlooker.profile.bootstrap import is_bootstrap, without_bootstrap
from onlooker.profile.model import Function, Location

from tests.interpreters import PROGRAMS, Interpreter, Target

#: The functions of the program that the standard library calls, where it isn't ``started`` itself.
FIRST = {
    "python -m": "<module>",
    "thread": "in_thread.<locals>.<lambda>",
    "thread with its own run": "Overridden.run",
    "asyncio.run in a thread": "report",
    "callback of a thread's event loop": "in_loop.<locals>.<lambda>",
    "task of a thread's event loop": "started_coroutine",
    "process by spawn": "send",
    "process by forkserver": "send",
}


def test_ways_to_start(interpreter: Interpreter) -> None:
    folder = interpreter.path_in_target(PROGRAMS)
    argv = interpreter.argv("-m", "ways_to_start")
    with Target(argv, {"PYTHONPATH": folder}) as target:
        ways = target.read_json()
        assert target.wait() == 0, target.stderr
    assert FIRST.keys() < ways.keys()
    for way, frames in ways.items():
        stack = [
            Location(Function(name, name, filename, first_line), line)
            for name, filename, first_line, line in frames
        ]
        shown = without_bootstrap(stack)
        assert is_bootstrap(stack[-1].function) or stack[-1].function.filename == "<string>", way
        first = shown[-1].function
        assert PurePosixPath(first.filename).name == "ways_to_start.py", way
        # Before 3.11 a code object doesn't know in what it is defined.
        expected = FIRST.get(way, "started")
        assert first.name.endswith((f".{expected}", f".{expected.rpartition('.')[2]}")), way
