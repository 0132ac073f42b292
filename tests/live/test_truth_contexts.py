"""A label of a sample is what the variable was set to when the thread had the stack."""

import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from onlooker import Recording, Target
from onlooker.observe.contexts import LABELS_LIMIT, ContextLabels
from onlooker.observe.recorder import Pause
from onlooker.target import Progress

from tests.conftest import StartTarget
from tests.enough import MEASURES
from tests.interpreters import DEADLINE_S, Interpreter
from tests.packages import packages
from tests.soak import soak_seconds

pytestmark = MEASURES

PROGRAM = Path("truth_contexts.py")
NAMES = ("who", "otherwise")
READS = 40

#: What the functions may see.
WHO = {"in_a": "a", "in_b": "b", "in_unset": "", "in_default": "", "in_special": "a"}
OTHERWISE = {"in_default": "default", "in_special": "special"}


def seen(recording: Recording) -> Counter[tuple[str, str, str]]:
    """How often each function had which first letter of "who", and which value of "otherwise"."""
    found: Counter[tuple[str, str, str]] = Counter()
    for sample in recording.profile("wall").samples:
        labels = dict(sample.labels)
        who, otherwise = (str(labels.get(name, "")) for name in NAMES)
        for location in sample.stack:
            if location.function.system_name.startswith("in_"):
                found[location.function.system_name, who[:1], otherwise] += sample.values[0]
    return found


def record_reads(pid: int, pause: Pause) -> Recording:
    """A recording of at least some reads of threads, however long that takes."""
    enough = threading.Event()
    least_s = soak_seconds(0.3)

    def look(progress: Progress) -> None:
        reads = progress.counters.samples - progress.counters.reused
        if progress.elapsed_ns > least_s * 1e9 and reads > READS:
            enough.set()

    with Target(pid) as target:
        return target.record(
            ["wall"],
            DEADLINE_S,
            rate_hz=1000,
            pause=pause,
            context_vars=NAMES,
            stop=enough.is_set,
            progress=look,
        )


@pytest.mark.parametrize("mode", ["sets 1", "sets 3", "among_others 1", "tasks 1"])
@pytest.mark.parametrize("pause", ["auto", "never"])
def test_no_value_is_of_another_moment(
    interpreter: Interpreter, start_target: StartTarget, mode: str, pause: Pause
) -> None:
    target = start_target(interpreter, PROGRAM)
    target.send(mode)
    target.read_line()
    recording = record_reads(target.pid, pause)
    found = seen(recording)
    print(interpreter.name, mode, pause, found, recording.counters)
    for function, who, otherwise in found:
        assert who == WHO.get(function, who), found
        assert otherwise == OTHERWISE.get(function, otherwise), found
    assert recording.counters.samples > 3
    if pause == "auto":
        assert any(function in {"in_a", "in_b"} for function, *_ in found), found
        assert recording.counters.lost == recording.counters.contextless == 0


def test_values_of_each_kind(interpreter: Interpreter, start_target: StartTarget) -> None:
    target = start_target(interpreter, Path("context_values.py"))
    names, expected = target.read_json()
    found: dict[str, str] = {}
    with Target(target.pid) as opened:
        for some in (names[:LABELS_LIMIT], names[LABELS_LIMIT:]):
            recording = opened.record(["wall"], 0.2, rate_hz=50, context_vars=some)
            assert recording.caveats == ()
            (labels,) = {
                sample.labels
                for sample in recording.profile("wall").samples
                if sample.stack[0].function.system_name == "function_that_sleeps"
            }
            found.update((key, str(value)) for key, value in labels if "thread" not in key)
    assert found == expected


@pytest.mark.interpreters(since=(3, 9), kinds=("pyenv",))
def test_spans_of_opentelemetry(interpreter: Interpreter, start_target: StartTarget) -> None:
    folder = packages(interpreter, ("opentelemetry-sdk",))
    target = start_target(
        interpreter, Path("spans.py"), env={"PYTHONPATH": interpreter.path_in_target(folder)}
    )
    expected = target.read_json()
    with Target(target.pid) as opened:
        recording = opened.record(["wall"], 0.2, rate_hz=50, context_vars=["otel"])
    seen = {tuple(map(str, labels)) for labels in labels_by_thread(recording)}
    assert seen == {
        ("MainThread", "", ""),
        ("none", "", ""),
        *((thread, *ids) for thread, ids in expected.items()),
    }


def labels_by_thread(recording: Recording) -> Iterator[tuple[str | int, ...]]:
    for sample in recording.profile("wall").samples:
        labels = dict(sample.labels)
        yield labels["thread"], labels.get("trace_id", ""), labels.get("span_id", "")


TASKS = """
    import asyncio, contextvars, sys, threading

    who = contextvars.ContextVar("who")

    async def wait(name):
        if name:
            who.set(name)
        await asyncio.Event().wait()

    async def main():
        names = ["one", "two", ""]
        kept = [asyncio.create_task(wait(name), name=name or "unset") for name in names]
        kept.append(asyncio.tasks._PyTask(wait("python's"), name="of Python's"))
        await asyncio.sleep(0)
        print("ready", flush=True)
        who.set("loop")
        sys.stdin.read()

    def thread():
        who.set("thread")
        threading.Event().wait()

    threading.Thread(target=thread, name="other", daemon=True).start()
    asyncio.run(main())
"""


def test_threads_and_suspended_tasks(interpreter: Interpreter, start_target: StartTarget) -> None:
    target = start_target(interpreter, TASKS)
    target.read_line()
    with Target(target.pid) as opened:
        snapshot = opened.snapshot(context_vars=["who"])
        profile = opened.record(["goroutine"], context_vars=["who"]).profile("goroutine")
    tasks = {task.name: dict(task.labels) for task in snapshot.tasks if task.state != "running"}
    assert tasks == {"one": {"who": "one"}, "two": {"who": "two"}, "unset": {}, "of Python's": {}}
    (running,) = [task for task in snapshot.tasks if task.state == "running"]
    assert running.labels == (("who", "loop"),)
    threads = {thread.thread.name: dict(thread.labels) for thread in snapshot.threads}
    assert threads == {"MainThread": {"who": "loop"}, "other": {"who": "thread"}}
    assert not snapshot.caveats
    values = Counter(str(dict(sample.labels).get("who")) for sample in profile.samples)
    assert values == {"one": 1, "two": 1, "None": 2, "loop": 1, "thread": 1}


def test_memory_is_searched_again_when_there_may_be_other_variables(
    any_interpreter: Interpreter, start_target: StartTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = start_target(
        any_interpreter,
        """
        import contextvars, sys, types
        kept = []
        def new(name):
            kept.append(contextvars.ContextVar(name))
            kept[-1].set(name)
            print("ready", flush=True)
        new("one")
        for line in sys.stdin:
            sys.modules["another"] = types.ModuleType("another")
            new("two")
        """,
    )
    target.read_line()
    searches = []
    find = ContextLabels._find

    def counted(labels: ContextLabels) -> object:
        searches.append(labels)
        return find(labels)

    monkeypatch.setattr(ContextLabels, "_find", counted)
    with Target(target.pid) as opened:

        def labels(*names: str) -> dict[str, str | int]:
            (thread,) = opened.snapshot(context_vars=names).threads
            return dict(thread.labels)

        assert [labels("one") for _ in range(3)] == [{"one": "one"}] * 3
        assert len(searches) == 1
        target.send("")
        target.read_line()
        assert [labels("one", "two") for _ in range(3)] == [{"one": "one", "two": "two"}] * 3
        assert len(searches) == 2
