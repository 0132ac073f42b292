"""Tasks read from outside are what the target itself says that they are."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from onlooker import Snapshot, Target, TaskStack
from onlooker.recording import DEFAULT_DEPTH

from tests.conftest import StartTarget
from tests.interpreters import Interpreter
from tests.packages import packages
from tests.stacks import short_name

TASKS = Path("tasks.py")
BUSY = Path("busy_tasks.py")


def snapshot_of(pid: int, depth: int = DEFAULT_DEPTH) -> Snapshot:
    with Target(pid) as target:
        return target.snapshot(depth=depth)


def functions(task: TaskStack) -> list[str]:
    return [location.function.system_name for location in task.stack]


def as_told(snapshot: Snapshot) -> dict[int, Any]:
    """In the words of tests/programs/tasks.py."""
    runs = {(thread.thread.thread_id, thread.task) for thread in snapshot.threads}
    return {
        task.task_id: {
            "id": task.task_id,
            "name": task.name,
            "state": task.state,
            "waits_for": task.waits_for,
            "awaited_by": list(task.awaited_by),
            "stack": None
            if task.state == "running"
            else [[where.function.system_name, where.line] for where in task.stack],
            "thread": task.thread.thread_id,
            "thread_name": task.thread.name,
            "current": (task.thread.thread_id, task.name) in runs,
        }
        for task in snapshot.tasks
    }


@pytest.mark.parametrize("arguments", [(), ("python-tasks",)], ids=["tasks", "python-tasks"])
def test_tasks_are_what_the_target_says(
    interpreter: Interpreter, start_target: StartTarget, arguments: tuple[str, ...]
) -> None:
    target = start_target(interpreter, TASKS, *arguments)
    told = {task["id"]: task for task in target.read_json()}
    states = Counter(task["state"] for task in told.values())
    assert {"waiting", "runnable", "created", "running"} == set(states)
    snapshot = snapshot_of(target.pid)
    assert as_told(snapshot) == told
    assert snapshot.caveats == ()
    # What runs is shown with what it calls.
    running = {task.name: functions(task) for task in snapshot.tasks if task.state == "running"}
    assert running["blocker"][-2:] == ["blocks", "running"]
    for task in told.values():
        if task["thread_name"] == "eager" and task["state"] == "running":
            expected = "running" if task["current"] else "eager"
            assert running[task["name"]][-1] == expected
    main, *_ = [thread for thread in snapshot.threads if thread.thread.name == "MainThread"]
    assert main.task == ""


def test_tasks_of_uvloop_are_what_the_target_says(
    interpreter: Interpreter, start_target: StartTarget
) -> None:
    folder = interpreter.path_in_target(packages(interpreter, ("uvloop",)))
    target = start_target(interpreter, TASKS, "uvloop", folder)
    told = {task["id"]: task for task in target.read_json()}
    with Target(target.pid) as opened:
        assert as_told(opened.snapshot()) == told
        recording = opened.record(["cpu", "block"], 0.5)
    waits = {
        labels["thread"]: (labels["wait"], short_name(sample.stack[0]))
        for sample in recording.profile("block").samples
        if (labels := {key: str(value) for key, value in sample.labels}).get("thread")
    }
    # uvloop itself has no Python functions.
    assert waits["many"] == ("epoll", "<lambda>")
    assert waits["held_up"][0] == "condition"
    cpu_ns = sum(sample.values[1] for sample in recording.profile("cpu").samples)
    assert cpu_ns < 0.1 * recording.duration_ns  # they all wait


def test_deep_chain_is_cut_at_its_root(
    any_interpreter: Interpreter, start_target: StartTarget
) -> None:
    target = start_target(any_interpreter, TASKS)
    (told,) = [task for task in target.read_json() if task["name"] == "deep"]
    (deep,) = [task for task in snapshot_of(target.pid, depth=20).tasks if task.name == "deep"]
    left_out = len(told["stack"]) - 20
    assert left_out > 100
    assert functions(deep)[:20] == [name for name, _ in told["stack"][:20]]
    assert [location.function.name for location in deep.stack[20:]] == [
        f"<{left_out} frames omitted>"
    ]


def objection(task: TaskStack) -> str:
    """Why tests/programs/busy_tasks.py can't have this task; empty if it can."""
    if task.name not in {"left", "right", "up", "down"}:
        return "" if task.name.startswith("Task-") else "there is no such name"
    allowed = {f"{task.name}_{part}" for part in ("inner", "middle", "outer", "brief", "renewed")}
    found = functions(task)
    if not set(found) <= allowed | {"sleep", "__sleep0", "__await__"} and task.state != "running":
        return "it has functions of others"
    if found and found[-1] not in allowed:
        return "it begins in a function that is not its own"
    inner = found.count(f"{task.name}_inner")
    if inner and inner > 8:
        return "it is deeper than it can be"
    if task.waits_for not in {"", f"Task {task.name!r}"}:
        return "it waits for another"
    if not set(task.awaited_by) <= {task.name, "Task-1"}:
        return "another waits for it"
    return ""


def test_nothing_is_made_up_of_tasks_that_take_turns(
    interpreter: Interpreter, start_target: StartTarget
) -> None:
    target = start_target(interpreter, BUSY)
    assert target.read_line() == "ready"
    seen: Counter[str] = Counter()
    objections: list[object] = []
    with Target(target.pid) as opened:
        for _ in range(3):
            snapshot = opened.snapshot()
            objections += [(objection(task), task) for task in snapshot.tasks if objection(task)]
            objections += [
                (thread.task, thread)
                for thread in snapshot.threads
                if thread.task and (thread.thread.name, thread.task[:4]) == ("loop", "Task")
            ]
            seen.update(task.state for task in snapshot.tasks if task.stack)
            seen["left out"] += sum(int(text.split()[0]) for text in snapshot.caveats)
    print(interpreter.name, seen)
    assert objections == []
    assert target.process.poll() is None
    assert seen["waiting"] + seen["runnable"] > 0


AWAITED = """
import asyncio, json, sys
PYTHON_TASKS = "python-tasks" in sys.argv

async def child():
    await asyncio.get_running_loop().create_future()

async def by_gather(one):
    await asyncio.gather(one, asyncio.gather(start("deep", child())))

async def by_wait(one):
    await asyncio.wait({one})

async def by_wait_for(one):
    await asyncio.wait_for(one, 10_000)

async def by_shield(one):
    await asyncio.shield(one)

async def by_as_completed(one):
    for first in asyncio.as_completed([one]):
        await first

async def by_group(one):
    async with asyncio.TaskGroup() as group:
        group.create_task(child()).set_name("grouped")
        await one

async def directly(one):
    await one

def start(name, coroutine):
    task = asyncio.get_running_loop().create_task(coroutine)
    task.set_name(name)
    kept.append(task)
    return task

kept = []
ways = [by_gather, by_wait, by_shield, directly, by_as_completed]
if not PYTHON_TASKS:  # these ask asyncio for the current task
    ways += [by_wait_for, by_group] if hasattr(asyncio, "TaskGroup") else [by_wait_for]

async def main():
    if PYTHON_TASKS:
        asyncio.get_running_loop().set_task_factory(
            lambda loop, coroutine, **more: asyncio.tasks._PyTask(coroutine, loop=loop, **more)
        )
    told = {"main": [], "alone": [], "shared": []}
    start("alone", child()).add_done_callback(print)
    shared = start("shared", child())
    for way in ways:
        awaited = start(f"of {way.__name__}", child())
        start(way.__name__, way(awaited))
        told[awaited.get_name()] = [way.__name__]
        told[way.__name__] = []
    told["deep"] = ["by_gather"]
    if by_group in ways:
        told["grouped"] = ["by_group"]
    for name, way in [("second", by_wait), ("third", directly), ("first", by_shield)]:
        start(name, way(shared))
        told[name] = []
        told["shared"].append(name)
    kept[-1].get_loop().call_later(10_000, print)
    asyncio.current_task().set_name("main")
    for _ in range(10):
        await asyncio.sleep(0)
    told["shared"].sort()
    print(json.dumps(told), flush=True)
    await asyncio.sleep(10_000)

asyncio.run(main())
"""


@pytest.mark.parametrize("arguments", [(), ("python-tasks",)], ids=["tasks", "python-tasks"])
def test_who_awaits_a_task(
    interpreter: Interpreter, start_target: StartTarget, arguments: tuple[str, ...]
) -> None:
    target = start_target(interpreter, AWAITED, *arguments)
    told = target.read_json()
    snapshot = snapshot_of(target.pid)
    found = {task.name: list(task.awaited_by) for task in snapshot.tasks if task.name in told}
    assert found == told


IN_SECOND_INTERPRETER = """
import sys, threading
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters
source = '''
import asyncio, functools
async def in_second():
    loop = asyncio.get_running_loop()
    loop.call_soon(functools.partial(print, "ready", flush=True))
    await loop.create_future()
asyncio.run(in_second())
'''
interpreters.run_string(interpreters.create(), source)
"""


@pytest.mark.interpreters(since=(3, 12))
def test_tasks_of_another_interpreter(interpreter: Interpreter, start_target: StartTarget) -> None:
    target = start_target(interpreter, IN_SECOND_INTERPRETER)
    assert target.read_line() == "ready"
    (task,) = snapshot_of(target.pid).tasks
    assert (task.thread.interpreter, functions(task)) == (1, ["in_second"])


def test_process_without_asyncio(interpreter: Interpreter, start_target: StartTarget) -> None:
    target = start_target(interpreter, "import sys; print('ready', flush=True); sys.stdin.read()")
    assert target.read_line() == "ready"
    snapshot = snapshot_of(target.pid)
    assert (len(snapshot.threads), snapshot.tasks, snapshot.greenlets) == (1, (), ())
