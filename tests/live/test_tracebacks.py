"""The text of goroutine's debug=2, against what Python itself says of its threads and tasks."""

import io
import json
import re
import time
from pathlib import Path
from typing import Any

from onlooker import Target
from onlooker.profile.bootstrap import is_bootstrap
from onlooker.profile.model import Function

from tests.conftest import StartTarget
from tests.interpreters import DEADLINE_S, Interpreter

PROGRAM = Path("tracebacks.py")


def blocks_of(text: str) -> dict[str, list[str]]:
    """The frames by the line above them."""
    head, *blocks = text.removesuffix("\n").split("\n\n")
    assert head.startswith("process ")
    found = {}
    for block in blocks:
        title, *lines = block.split("\n")
        found[title] = lines
    return found


def lines_of(places: list[Any]) -> list[str]:
    return [f'  File "{file}", line {line}, in {name}' for file, line, name in places]


def without_root(places: list[Any]) -> list[Any]:
    """Without the frames that only start threads and event loops."""
    places = list(places)
    while is_bootstrap(Function(places[-1][2], "", places[-1][0], 0)):
        places.pop()
    return places


def shortened(lines: list[str]) -> list[str]:
    if len(lines) <= 100:
        return lines
    return [*lines[:50], f"  ...{len(lines) - 100} frames elided...", *lines[-50:]]


def expected(truth: Any) -> dict[str, list[str]]:
    """What the text should say of the threads and tasks that stand still."""
    (main,) = (tid for tid, one in truth["threads"].items() if one["name"] == "MainThread")
    blocks = {}
    for tid, thread in truth["threads"].items():
        name = json.dumps(thread["name"])
        task = ', task "Task-1"' if tid == main else ""
        title = f"thread {tid} {name} [waiting{task}]:"
        blocks[title] = shortened(lines_of(without_root(thread["stack"])))
    for name, stack in truth["tasks"].items():
        title = f'task {json.dumps(name)} of thread {main} "MainThread" [waiting for Future]:'
        blocks[title] = lines_of(stack)
    return blocks


def test_every_thread_and_task_is_there(
    interpreter: Interpreter, start_target: StartTarget
) -> None:
    process = start_target(interpreter, PROGRAM)
    truth = process.read_json()
    ends_at = time.monotonic() + DEADLINE_S
    with Target(process.pid) as target:
        goroutine = target.lookup("goroutine")
        assert goroutine is not None
        assert goroutine.count() == len(truth["threads"]) + len(truth["tasks"]) + 1
        while True:
            file = io.BytesIO()
            goroutine.write_to(file, debug=2)
            blocks = blocks_of(file.getvalue().decode())
            (spinner,) = (title for title in blocks if '"spinner"' in title)
            frames = blocks.pop(spinner)
            # A thread that has told its stack runs on for a moment until it stands still.
            is_running = re.fullmatch(
                r'thread \d+ "spinner" \[running(, holds the GIL)?\]:', spinner
            )
            if (is_running and blocks == expected(truth)) or time.monotonic() > ends_at:
                break
    assert blocks == expected(truth)
    assert is_running, spinner
    assert re.fullmatch(r'  File ".*/tracebacks\.py", line \d+, in spin', "\n".join(frames))
