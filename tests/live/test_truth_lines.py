"""The frames of waiting threads are those that the target's own interpreter tells, to the line."""

from pathlib import Path

from onlooker import Target

from tests.conftest import StartTarget
from tests.interpreters import Interpreter

PROGRAM = Path("truth_lines.py")

Frames = list[tuple[str, str, int]]


def test_every_frame_has_the_line_that_python_gives_it(
    interpreter: Interpreter, start_target: StartTarget
) -> None:
    target = start_target(interpreter, PROGRAM)
    told: dict[int, Frames] = {
        thread: [(name, file, line) for name, file, line in frames]
        for thread, frames in target.read_json()
    }
    with Target(target.pid) as opened:
        seen: dict[int, Frames] = {
            found.thread.thread_id: [
                (frame.function.system_name, frame.function.filename, frame.line)
                for frame in found.stack
            ]
            for found in opened.stacks()
        }
    for thread, frames in told.items():
        assert seen.get(thread) == frames
    assert len(told) > 25
    assert max(len(frames) for frames in told.values()) > 7
