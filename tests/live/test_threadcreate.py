"""Who creates threads: all creations are seen with their stacks, and nobody minds."""

import io
import os
import random
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from onlooker import Target as Onlooker
from onlooker.errors import NotPermitted, UsageError
from onlooker.profile.model import Profile
from onlooker.recording import TARGET_ENDED, TARGET_REPLACED

from tests.background import Background
from tests.commands import Command, go_pprof, onlooker, wait_until
from tests.conftest import StartTarget
from tests.interpreters import Interpreter, Target
from tests.kernel import children, status
from tests.live.test_safety_calls import COUNTS_SIGNALS, INTERRUPTIBLE, MAKES_CHILDREN
from tests.server import Server

EACH = 70

# Creates threads in three ways at once; each line asks for EACH in each of them.
CREATES = """
import ctypes, sys, threading, _thread
EACH = 70
libc = ctypes.CDLL(None)
def pointer(function): return ctypes.cast(function, ctypes.c_void_p)
def nothing(): pass
def by_threading():
    for _ in range(EACH):
        thread = threading.Thread(target=nothing)
        thread.start()
        thread.join()
def by_thread():
    for _ in range(EACH):
        ended = _thread.allocate_lock()
        ended.acquire()
        _thread.start_new_thread(ended.release, ())
        ended.acquire()
def by_c():  # without the GIL
    for _ in range(EACH):
        thread = ctypes.c_ulong()
        assert not libc.pthread_create(ctypes.byref(thread), None, pointer(libc.getpid), None)
        libc.pthread_join(thread, None)
def creator(function):
    while True:
        wanted[function].acquire()
        function()
        done.release()
done = threading.Semaphore(0)
functions = by_threading, by_thread, by_c
wanted = {function: threading.Semaphore(0) for function in functions}
for function in functions:
    threading.Thread(target=creator, args=(function,), name=function.__name__, daemon=True).start()
libc.pthread_create(ctypes.byref(ctypes.c_ulong()), None, pointer(libc.pause), None)
print("ready", flush=True)
for line in sys.stdin:
    for function in functions:
        wanted[function].release()
    for function in functions:
        done.acquire()
    print("done", flush=True)
"""

# Creates threads in two threads and a task, each with its own values, of which it tells how often.
LABELLED = """
import asyncio, collections, contextvars, ctypes, json, sys, threading
who = contextvars.ContextVar("who")
libc = ctypes.CDLL(None)
def pointer(function): return ctypes.cast(function, ctypes.c_void_p)
told = collections.Counter()
def by_threading(value):
    threading.Thread(target=who.set, args=("not yet",)).start()
def by_c(value):  # without the GIL
    libc.pthread_create(ctypes.byref(ctypes.c_ulong()), None, pointer(libc.getpid), None)
def create(function, name):
    for number in range(60):
        value = number % 5 or None
        who.set(f"{name} {value}" if value else "")
        function(value)
        told[f"{name} {value}" if value else '""'] += 1
def others():
    while not ended.is_set():
        who.set("other")
async def create_in_tasks():
    async def create_one(number):
        who.set(f"task {number % 3}")
        await asyncio.sleep(0)
        by_threading(number)
        told[f"task {number % 3}"] += 1
    await asyncio.gather(*(create_one(number) for number in range(30)))
print("ready", flush=True)
sys.stdin.readline()
ended = threading.Event()
contextvars.copy_context().run(threading.Thread(target=others).start)
ways = (by_threading, "a"), (by_c, "c")
threads = [threading.Thread(target=create, args=way) for way in ways]
for thread in threads: thread.start()
asyncio.run(create_in_tasks())
for thread in threads: thread.join()
ended.set()
print(json.dumps(told), flush=True)
sys.stdin.readline()
"""

BEFORE = Counter({("", "creator"): 3, ("", "<module>"): 1, ("", "<native thread>"): 1})

CREATED = Counter(
    {
        ("by_threading", "start by_threading"): EACH,
        ("by_thread", "by_thread creator"): EACH,
        ("by_c", "by_c creator"): EACH,
    }
)


def counts(profile: Profile, created: str) -> Counter[tuple[str, str]]:
    """How many, by the creator's name and its innermost two functions (without their modules)."""
    found: Counter[tuple[str, str]] = Counter()
    for sample in profile.samples:
        labels = dict(sample.labels)
        if labels["created"] == created:
            names = [location.function.name.rpartition(".")[2] for location in sample.stack]
            found[str(labels.get("thread", "")), " ".join(names[:2])] += sample.values[0]
    return found


@pytest.mark.parametrize("kinds", [("threadcreate",), ("wall", "threadcreate")])
def test_every_creation(
    interpreter: Interpreter, start_target: StartTarget, kinds: tuple[str, ...]
) -> None:
    target = start_target(interpreter, CREATES)
    assert target.read_line() == "ready"
    with Background(target.pid, *kinds, rate_hz=1000, own_child=True) as background:
        target.send("")
        assert target.read_line() == "done"
    recording = background.recording
    assert recording.caveats == ()
    profile = recording.profile("threadcreate")
    assert [str(shown.type) for shown in profile.sample_types] == ["threadcreate"]
    assert counts(profile, "while watched") == CREATED
    assert counts(profile, "before") == BEFORE
    for kind in kinds[:-1]:
        assert recording.counters.lost == 0
        assert len(recording.profile(kind).samples)
    assert status(target.pid, "TracerPid") == {"0"}


@pytest.mark.parametrize("kinds", [("threadcreate",), ("wall", "threadcreate")])
def test_the_creators_context(
    interpreter: Interpreter, start_target: StartTarget, kinds: tuple[str, ...]
) -> None:
    target = start_target(interpreter, LABELLED)
    assert target.read_line() == "ready"
    names = ["who", "nobody's"]
    with Background(target.pid, *kinds, own_child=True, context_vars=names) as background:
        target.send("")
        told = Counter(target.read_json())
    recording = background.recording
    assert recording.caveats == ('no ContextVar is named "nobody\'s": no sample has its label',)
    found: Counter[str] = Counter()
    for sample in recording.profile("threadcreate").samples:
        labels = dict(sample.labels)
        if "who" in labels:
            assert labels["created"] == "while watched"
            found[str(labels["who"])] += sample.values[0]
    assert found == told


# What tests/live/test_safety_calls.py does with a recorder, whose programs these are.


def test_no_signal_is_lost_or_doubled(interpreter: Interpreter, start_target: StartTarget) -> None:
    target = start_target(interpreter, COUNTS_SIGNALS)
    assert target.read_line() == "ready"

    def alarms(sent: int) -> int:
        os.kill(target.pid, signal.SIGUSR1)
        received, alarms = map(int, target.read_line().split())
        assert received == sent
        return alarms

    for watch in range(4):
        with Background(target.pid, "threadcreate", own_child=True):
            for number in range(50):
                before = alarms(51 * watch + number + 1)
        assert alarms(51 * (watch + 1)) >= before


def test_no_system_call_is_interrupted(interpreter: Interpreter, start_target: StartTarget) -> None:
    target = start_target(interpreter, INTERRUPTIBLE)
    assert target.read_line() == "ready"
    for _ in range(8):
        with Background(target.pid, "threadcreate", own_child=True):
            target.send("")
            before, _ = target.read_json()
            now: dict[str, int] = before
            while any(now[name] < before[name] + 10 for name in before):
                target.send("")
                now, interrupted = target.read_json()
                assert set(interrupted.values()) == {0}


def test_children_are_unharmed(interpreter: Interpreter, start_target: StartTarget) -> None:
    target = start_target(interpreter, MAKES_CHILDREN)
    assert target.read_line() == "ready"
    with Background(target.pid, "threadcreate", own_child=True) as background:
        for _ in range(3):
            target.send("")
            assert target.read_line() == "7 8 9"
    # None of them is a thread.
    assert not counts(background.recording.profile("threadcreate"), "while watched")
    assert children(target.pid) == []


# Creates threads all the time, until it ends, or executes a program, as a line says.
ENDS = """
import os, sys, threading
def nothing(): pass
def create():
    while True:
        thread = threading.Thread(target=nothing)
        try:
            thread.start()
        except RuntimeError:  # another thread executes a program (copy_fs in kernel/fork.c)
            continue
        thread.join()
for _ in range(2):
    threading.Thread(target=create, daemon=True).start()
print("ready", flush=True)
for line in sys.stdin:
    if line.strip() == "exec":
        os.execv(sys.executable, [sys.executable, "-c", "input()"])
    os._exit(3)
"""


@pytest.mark.parametrize(("word", "end"), [("exit", TARGET_ENDED), ("exec", TARGET_REPLACED)])
def test_a_target_that_ends(
    interpreter: Interpreter, start_target: StartTarget, word: str, end: str
) -> None:
    target = start_target(interpreter, ENDS)
    assert target.read_line() == "ready"
    with Background(target.pid, "threadcreate", own_child=True) as background:
        target.send(word)
        background.wait()
    recording = background.recording
    assert recording.end == end
    assert recording.profile("threadcreate").samples
    if word == "exit":
        assert target.process.wait() == 3
    else:
        assert status(target.pid, "TracerPid") == {"0"}


# As in tests/live/test_safety_kill.py.
AGENTS = """
import os, sys
from onlooker import Target
for line in sys.stdin:
    agent = os.fork()
    if not agent:
        Target(int(line)).record(["threadcreate"])
        os._exit(1)
    print(agent, flush=True)
    print(os.waitpid(agent, 0)[1], flush=True)
"""


@pytest.fixture
def agents() -> Iterator[Target]:
    with Target([sys.executable, "-c", AGENTS]) as started:
        yield started


def test_kills(interpreter: Interpreter, start_target: StartTarget, agents: Target) -> None:
    target = start_target(interpreter, ENDS)
    assert target.read_line() == "ready"
    moments = random.Random(interpreter.name)
    for kill in range(6):
        agents.send(str(target.pid))
        agent = int(agents.read_line())
        if kill % 2:
            wait_until(lambda agent=agent: _watches(agent, target.pid))  # type: ignore[misc]
        threading.Event().wait(moments.uniform(0, 0.05))
        os.kill(agent, signal.SIGKILL)
        assert agents.read_line() == str(int(signal.SIGKILL))
        assert status(target.pid, "TracerPid") == {"0"}
        before = _newest(target.pid)
        wait_until(lambda before=before: _newest(target.pid) != before)  # type: ignore[misc]


def _watches(agent: int, pid: int) -> bool:
    return any(Path(f"/proc/{agent}/task/{tracer}").exists() for tracer in status(pid, "TracerPid"))


def _newest(pid: int) -> int:
    return max(int(thread.name) for thread in Path(f"/proc/{pid}/task").iterdir())


def test_refusals(any_interpreter: Interpreter, start_target: StartTarget) -> None:
    target = start_target(any_interpreter, CREATES)
    assert target.read_line() == "ready"
    with Onlooker(target.pid) as looker:
        with pytest.raises(UsageError, match="needs to stop"):
            looker.record(["cpu", "threadcreate"], 0.1, pause="never")
        with Background(target.pid, "threadcreate", own_child=True):
            with pytest.raises(UsageError, match="watched already"):
                looker.record(["threadcreate"], 0.1)
            attach = (
                "attach",
                "--pid",
                target.pid,
                "--seconds",
                0.1,
                "--format",
                "text",
                "-o",
                "-",
            )
            refused = onlooker(*attach, "--profile", "threadcreate")
            assert refused.exit_code == NotPermitted.exit_code
            assert "another tracer is attached" in refused.stderr
            both = looker.record(["wall", "threadcreate"], 0.1)
            assert len(both.profile("wall").samples)
            assert ["watched already" in caveat for caveat in both.caveats] == [True]
            assert counts(both.profile("threadcreate"), "before") == BEFORE
            assert not counts(both.profile("threadcreate"), "while watched")


def test_lookup(any_interpreter: Interpreter, start_target: StartTarget) -> None:
    target = start_target(any_interpreter, CREATES)
    assert target.read_line() == "ready"
    with Onlooker(target.pid) as looker:
        named = looker.lookup("threadcreate")
        assert named
        assert named.count() == 5
        text = io.BytesIO()
        named.write_to(text, debug=1)
        assert text.getvalue().startswith(b"threadcreate profile: total 5\n3 @ 0x")
        assert status(target.pid, "TracerPid") == {"0"}


def test_over_http(any_interpreter: Interpreter, start_target: StartTarget, tmp_path: Path) -> None:
    target = start_target(any_interpreter, CREATES)
    assert target.read_line() == "ready"
    path = "/debug/pprof/threadcreate"
    with Server("--pid", target.pid) as server, ThreadPoolExecutor(1) as asking:
        delta = asking.submit(server.get, f"{path}?seconds=1")
        while not delta.done():
            target.send("")
            assert target.read_line() == "done"
        (tmp_path / "it.pb.gz").write_bytes(delta.result().body)
        traces = go_pprof("-traces", "it.pb.gz", cwd=tmp_path)
        assert "__main__.by_thread\n" in traces
        assert "while watched" in traces
        assert "before" not in traces.partition("------")[2]
        assert server.get(f"{path}?debug=1").text.startswith("threadcreate profile: total 5\n")


RUNS = """
import os, signal, sys, threading
got = []
signal.signal(signal.SIGUSR1, lambda number, frame: got.append(number))
print(os.getppid(), flush=True)
sys.stdin.readline()
def nothing(): pass
for number in range(40):
    thread = threading.Thread(target=nothing)
    thread.start()
    thread.join()
    if number % 2:
        os.kill(os.getppid(), signal.SIGUSR1)  # which passes it on
        while len(got) < (number + 1) // 2:
            pass
sys.exit(3)
"""


def test_run(any_interpreter: Interpreter, tmp_path: Path) -> None:
    program = tmp_path / "runs.py"
    program.write_text(RUNS)
    output = tmp_path / "threads.txt"
    options = ("--profile", "threadcreate", "--format", "text", "-o", output)
    argv = any_interpreter.argv(str(program))
    with Command("run", "-v", *options, "--", *argv, stdin=subprocess.PIPE) as command:
        command.wait_until_it_records()
        assert command.process.stdin
        command.process.stdin.write(b"\n")
        command.process.stdin.flush()
        finished = command.finish()
    assert finished.exit_code == 3, finished.stderr
    assert output.read_text().startswith("threadcreate profile: total 41\n40 @ ")


def test_ctrl_z_makes_nobody_wait(any_interpreter: Interpreter, start_target: StartTarget) -> None:
    target = start_target(any_interpreter, CREATES)
    assert target.read_line() == "ready"
    attach = ("attach", "-v", "--pid", target.pid, "--profile", "threadcreate")
    with Command(*attach, "--format", "text", "-o", "-") as command:
        command.wait_until_it_records()
        os.kill(command.pid, signal.SIGTSTP)
        target.send("")
        assert target.read_line() == "done"
        os.kill(command.pid, signal.SIGINT)
        assert f"threadcreate profile: total {3 * EACH + 5}\n" in command.finish().ok().text
