"""The goroutine profile and `onlooker dump`: threads and tasks, counted by the target and by Go."""

import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from onlooker.target import Target

from tests.commands import go_pprof, onlooker
from tests.conftest import StartTarget
from tests.interpreters import Interpreter

TASKS = Path("tasks.py")


def suspended(told: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [task for task in told if task["state"] != "running"]


def threads_of(pid: int) -> int:
    """All of them are Python's."""
    return len(list(Path(f"/proc/{pid}/task").iterdir()))


def test_go_pprof_counts_what_the_target_counts(
    interpreter: Interpreter, start_target: StartTarget, tmp_path: Path
) -> None:
    target = start_target(interpreter, TASKS)
    told = target.read_json()
    arguments = ("--profile", "goroutine", "-o", "it.pb.gz", "--json")
    summary = onlooker("attach", "--pid", target.pid, *arguments, cwd=tmp_path).ok().json
    assert (summary["files"], summary["duration_seconds"]) == (["it.pb.gz"], 0)
    total = threads_of(target.pid) + len(suspended(told))
    top = go_pprof("-top", "it.pb.gz", cwd=tmp_path)
    assert "Type: goroutine\n" in top
    assert f"100% of {total} total" in top
    tags = go_pprof("-tags", "it.pb.gz", cwd=tmp_path)
    waiting = Counter(task["state"] for task in suspended(told))["waiting"]
    # Those threads wait, too: there is not one that runs.
    assert re.search(rf"^ +{waiting + threads_of(target.pid)}\.0 .*: waiting\n", tags, re.MULTILINE)
    assert re.search(r"^ +1\.0 .*: blocker\n", tags, re.MULTILINE)  # as its thread's label
    traces = go_pprof("-traces", "it.pb.gz", cwd=tmp_path)
    assert "awaited_by:  first waiter, second waiter\n" in traces


def test_with_other_kinds_it_is_taken_at_the_end(
    any_interpreter: Interpreter, start_target: StartTarget, tmp_path: Path
) -> None:
    target = start_target(any_interpreter, TASKS)
    told = target.read_json()
    with Target(target.pid) as opened:
        recording = opened.record(["wall", "goroutine"], 0.1)
    profile = recording.profile("goroutine")
    total = sum(sample.values[0] for sample in profile.samples)
    assert total == threads_of(target.pid) + len(suspended(told))
    assert profile.time_ns >= recording.start_ns + 100_000_000
    assert sum(sample.values[0] for sample in recording.profile("wall").samples) > 0


def test_target_that_ends_before_it_is_taken(
    any_interpreter: Interpreter, start_target: StartTarget
) -> None:
    target = start_target(any_interpreter, TASKS)
    target.read_line()
    asked = 0

    def end_it() -> bool:
        nonlocal asked
        asked += 1
        if asked == 3:
            target.close()
        return False

    with Target(target.pid) as opened:
        recording = opened.record(["wall", "goroutine"], stop=end_it)
    assert recording.profile("goroutine").samples == []
    assert "the target ended: goroutine is empty" in recording.caveats
    assert len(recording.profile("wall").samples) > 0


def test_dump_has_the_tasks(interpreter: Interpreter, start_target: StartTarget) -> None:
    target = start_target(interpreter, TASKS)
    told = {task["id"]: task for task in target.read_json()}
    dump = onlooker("dump", "--pid", target.pid, "--json").ok().json
    assert {task["task_id"]: task["name"] for task in dump["tasks"]} == {
        address: task["name"] for address, task in told.items()
    }
    for task in dump["tasks"]:
        of_it = told[task["task_id"]]
        for key in ("state", "waits_for", "awaited_by"):
            assert task[key] == of_it[key]
        assert task["thread_id"] == of_it["thread"]
        if of_it["stack"] is not None:
            assert [frame["line"] for frame in task["stack"]] == [
                line for _, line in of_it["stack"]
            ]
    running = {thread["thread_id"]: thread["task"] for thread in dump["threads"] if thread["task"]}
    assert running == {task["thread"]: task["name"] for task in told.values() if task["current"]}


def test_dump_as_text(any_interpreter: Interpreter, start_target: StartTarget) -> None:
    target = start_target(any_interpreter, TASKS)
    told = {task["name"]: task for task in target.read_json()}
    done = onlooker("dump", "--pid", target.pid).ok()
    assert done.stderr == ""
    parts = [part.splitlines() for part in done.text.split("\n\n")[1:]]
    by_head = {lines[0]: lines[1:] for lines in parts}
    thread = f'thread {told["shared"]["thread"]} "many"'
    waiters = '"first waiter", "second waiter"'
    head = f'task "shared", waiting for Future, awaited by {waiters}, of {thread}'
    assert [line.split()[0] for line in by_head[head]] == ["__main__.leaf", "__main__.middle"]
    assert f"task \"first waiter\", waiting for Task 'shared', of {thread}" in by_head
    held_up = f'thread {told["blocker"]["thread"]} "held_up"'
    assert f'task "never ran", created, of {held_up}' in by_head
    assert f'{held_up}, waiting, runs task "blocker"' in by_head
    # Of one thread's tasks Task-9 comes before Task-10.
    numbers = [int(n) for n in re.findall(rf'^task "Task-(\d+)".* of {thread}$', done.text, re.M)]
    assert numbers == sorted(numbers)
    assert len(numbers) > 1


@pytest.mark.parametrize("name", ["a\x1b[31m", "two\nlines", "\ud800", '"' * 5000])
def test_dump_of_names_that_a_terminal_must_not_see(
    any_interpreter: Interpreter, start_target: StartTarget, name: str
) -> None:
    target = start_target(
        any_interpreter,
        f"""
        import asyncio, threading
        async def main():
            asyncio.current_task().set_name({name!a})
            threading.current_thread().name = {name!a}
            loop = asyncio.get_running_loop()
            loop.call_soon(lambda: print("ready", flush=True))
            await loop.create_future()
        asyncio.run(main())
        """,
    )
    assert target.read_line() == "ready"
    done = onlooker("dump", "--pid", target.pid).ok()
    assert name not in done.stdout.decode(errors="surrogatepass")
    assert len(re.findall(r'^task ".*", waiting for Future', done.text, re.MULTILINE)) == 1
    seen = onlooker("dump", "--pid", target.pid, "--json").ok().json
    assert [task["name"] for task in seen["tasks"]] == [name[:4096]]
    assert [thread["name"] for thread in seen["threads"]] == [name[:4096]]
    assert seen["caveats"] == []


HOSTILE = r"""
import asyncio, contextvars, sys, threading, types
EVIL = "e\n\n1 @ 0x1\x1b[2J\x1b]0;owned\x07\"\\\r\u202e\u2028\x85\udcff\t;"
LONG = EVIL + "L" * 10000
who = contextvars.ContextVar(EVIL)
def work(argument):
    threading.Event().wait()
def run(name):
    who.set(name)
    exec(compile(f"def call(x):\n  {'y' * 999} = x\n  work(x)", f"/{name}.py", "exec"), globals())
    call.__code__ = call.__code__.replace(co_name=name)
    call(name)
work.__code__ = work.__code__.replace(co_name=LONG)
sys.modules["m" + LONG] = types.ModuleType("m" + LONG)
for name in (EVIL, LONG):
    threading.Thread(target=run, args=(name,), name=name, daemon=True).start()
async def wait(name):
    who.set(name)
    await asyncio.Event().wait()
async def main():
    tasks = [asyncio.create_task(wait(name), name=name) for name in (EVIL, LONG)]
    await asyncio.sleep(0)
    print("ready", flush=True)
    await asyncio.gather(*tasks)
asyncio.run(main())
"""


def test_nothing_from_a_target_is_obeyed(
    any_interpreter: Interpreter, start_target: StartTarget, tmp_path: Path
) -> None:
    """Neither by terminals nor by who reads texts line by line."""
    target = start_target(any_interpreter, HOSTILE, "an\nargument\x1b[2J")
    assert target.read_line() == "ready"
    label = ("--label-context-var", "e\n\n1 @ 0x1\x1b[2J")
    of_it = ("--pid", target.pid, *label)
    kinds = ("--profile", "wall,goroutine", "--seconds", 0.1, "-v")
    for command in (
        ("dump", *of_it, "--locals"),
        ("attach", *of_it, *kinds, "-o", "it.pb.gz"),
        ("attach", *of_it, *kinds, "--format", "text", "-o", "it.txt"),
        ("list",),
        ("heap", "--pid", target.pid, "-o", "heap.pb.gz"),
    ):
        done = onlooker(*command, cwd=tmp_path).ok()
        texts = [done.text, done.stderr, *(path.read_text() for path in tmp_path.glob("*.txt"))]
        for line in "\n".join(texts).split("\n"):
            assert line.replace("\t", "").isprintable()
            assert not line.startswith("1 @ 0x1\\")
    for name in ("it-wall.pb.gz", "it-goroutine.pb.gz"):
        go_pprof("-tags", name, cwd=tmp_path)
