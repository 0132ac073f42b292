"""The goroutine profile as tracebacks."""

from collections.abc import Callable

import pytest
from onlooker import tracebacks
from onlooker.profile.model import Function, Location
from onlooker.profile.rows import Thread
from onlooker.profile.snapshot import GreenletStack, Snapshot, TaskStack, ThreadStack

from tests import profiles

AT_WORK = '  File "/srv/app.py", line 12, in Box.work'
AT_START = '  File "/srv/app.py", line 40, in <module>'

MAIN = Thread(7, "MainThread")
WORK = Location(Function("app.Box.work", "Box.work", "/srv/app.py", 10), 12)
START = Location(Function("app.<module>", "<module>", "/srv/app.py", 1), 40)
BOOTSTRAP = Location(
    Function("threading.Thread._bootstrap", "Thread._bootstrap", "/usr/lib/threading.py", 1), 2
)


def shown(
    *threads: ThreadStack,
    tasks: tuple[TaskStack, ...] = (),
    greenlets: tuple[GreenletStack, ...] = (),
) -> list[str]:
    """The blocks behind the first line."""
    snapshot = Snapshot(threads, tasks, greenlets, 1, (), profiles.PYTHON)
    text = tracebacks.as_text("process 7: app.py", snapshot)
    head, *blocks = text.removesuffix("\n").split("\n\n")
    assert head == "process 7: app.py; the most recent call comes first"
    return blocks


def test_threads() -> None:
    worker = Thread(9, "Worker-1")
    assert shown(
        ThreadStack(MAIN, (WORK, START), on_cpu=True, holds_gil=True),
        ThreadStack(worker, (WORK, BOOTSTRAP), on_cpu=False, holds_gil=False),
        ThreadStack(Thread(11), (), on_cpu=False, holds_gil=False, read=False),
        ThreadStack(worker, (WORK,), on_cpu=True, holds_gil=False, task="Task-1"),
    ) == [
        f'thread 7 "MainThread" [running, holds the GIL]:\n{AT_WORK}\n{AT_START}',
        f'thread 9 "Worker-1" [waiting]:\n{AT_WORK}',
        "thread 11 [unknown]:\n  (its stack could not be read: it kept moving)",
        f'thread 9 "Worker-1" [running, task "Task-1"]:\n{AT_WORK}',
    ]


def test_interpreters_are_told_apart_where_there_are_several() -> None:
    blocks = shown(
        ThreadStack(MAIN, (), on_cpu=False, holds_gil=False),
        ThreadStack(Thread(8, "", 1), (), on_cpu=False, holds_gil=False),
    )
    assert blocks == [
        'thread 7 "MainThread" [waiting, interpreter 0]:',
        "thread 8 [waiting, interpreter 1]:",
    ]


def test_tasks() -> None:
    tasks = (
        TaskStack("main", 16, MAIN, "running", "", (WORK,), ()),
        TaskStack("Task-2", 32, MAIN, "waiting", "Task 'Task-3'", (WORK, START), ()),
        TaskStack("Task-3", 48, MAIN, "waiting", "Future", (WORK,), ("Task-2", 'a "b"\n')),
        TaskStack("Task-4", 64, Thread(0), "created", "", (), ()),
    )
    of_main = 'of thread 7 "MainThread"'
    awaited = r'awaited by "Task-2", "a \"b\"\n"'
    assert shown(tasks=tasks) == [
        f"task \"Task-2\" {of_main} [waiting for Task 'Task-3']:\n{AT_WORK}\n{AT_START}",
        f'task "Task-3" {of_main} [waiting for Future, {awaited}]:\n{AT_WORK}',
        'task "Task-4" [created]:\n  (no Python function)',
    ]


def test_greenlets() -> None:
    assert shown(greenlets=(GreenletStack(255, "gevent.Greenlet", MAIN, (WORK,)),)) == [
        f'greenlet 0xff (gevent.Greenlet) of thread 7 "MainThread" [waiting]:\n{AT_WORK}'
    ]


def test_labels() -> None:
    labels = (("tenant", 'a "b"\n'), ("n", 5))
    shown_labels = r' {"tenant": "a \"b\"\n", "n": "5"}:'
    thread = ThreadStack(MAIN, (WORK,), on_cpu=True, holds_gil=False, labels=labels)
    task = TaskStack("a", 64, Thread(0), "created", "", (WORK,), (), labels)
    greenlet = GreenletStack(255, "g", MAIN, (WORK,), labels)
    blocks = shown(thread, tasks=(task,), greenlets=(greenlet,))
    assert [block.partition("]")[2] for block in blocks] == [f"{shown_labels}\n{AT_WORK}"] * 3


def stack_of(depth: int) -> tuple[Location, ...]:
    return tuple(Location(WORK.function, line) for line in range(depth))


def frames(block: str) -> list[str]:
    return block.splitlines()[1:]


def of_thread(stack: tuple[Location, ...]) -> str:
    (block,) = shown(ThreadStack(MAIN, stack, on_cpu=True, holds_gil=False))
    return block


def of_task(stack: tuple[Location, ...]) -> str:
    (block,) = shown(tasks=(TaskStack("a", 32, MAIN, "waiting", "Future", stack, ()),))
    return block


def of_greenlet(stack: tuple[Location, ...]) -> str:
    (block,) = shown(greenlets=(GreenletStack(255, "greenlet.greenlet", MAIN, stack),))
    return block


@pytest.mark.parametrize("block_of", [of_thread, of_task, of_greenlet])
def test_frames_in_the_middle_of_a_deep_stack_are_left_out(
    block_of: Callable[[tuple[Location, ...]], str],
) -> None:
    whole, long, deep = (frames(block_of(stack_of(depth))) for depth in (100, 101, 5000))
    lines = [f'  File "/srv/app.py", line {line}, in Box.work' for line in range(101)]
    assert whole == lines[:100]
    assert long == [*lines[:50], "  ...1 frames elided...", *lines[51:]]
    assert deep[50] == "  ...4900 frames elided..."
    assert len(deep) == 101


def test_nothing_from_a_target_breaks_a_line() -> None:
    odd = Location(Function("a.f\n", "f\n\x1b[2J", "/a\n\udcff.py", 1), 2)
    pseudo = Location(Function("<17 frames omitted>", "", "", 0), 0)
    (block,) = shown(
        ThreadStack(Thread(9, "a\n\nb"), (odd, pseudo), on_cpu=False, holds_gil=False, task="\n\n")
    )
    assert block.splitlines() == [
        'thread 9 "a\\n\\nb" [waiting, task "\\n\\n"]:',
        '  File "/a\\n\\udcff.py", line 2, in f\\n\\x1b[2J',
        "  <17 frames omitted>",
    ]
