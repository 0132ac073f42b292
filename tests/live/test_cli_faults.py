"""What happens to a target, to the agent or to the output while a profile is recorded."""

import os
import random
import re
import select
import shutil
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

from tests.commands import Command, go_pprof, onlooker, wait_until
from tests.conftest import StartTarget
from tests.interpreters import DEADLINE_S, PROGRAMS, Interpreter, Target
from tests.kernel import children, status

BUSY = Path("busy.py")
WALL = ("--profile", "wall", "-v", "-o", "it.pb.gz")


@pytest.fixture
def busy(any_interpreter: Interpreter, start_target: StartTarget) -> Target:
    target = start_target(any_interpreter, BUSY)
    assert target.read_line() == "ready"
    return target


# What the target does when it is told to, each with its line in the target.
CHANGES = {
    "exits": "sys.exit()",
    "exits at once": "os._exit(3)",
    "dies": "os.kill(os.getpid(), signal.SIGKILL)",
    "executes another program": "os.execvp('sleep', ['sleep', '1000'])",
    "executes another Python": "os.execv(sys.executable, [sys.executable, '-c', 'input()'])",
}
CHANGES_WHEN_TOLD = """
import os, signal, sys, threading
def work_before():
    while True:
        sum(range(100))
threading.Thread(target=work_before, daemon=True).start()
print(flush=True)
sys.stdin.readline()
"""


@pytest.mark.parametrize("what", CHANGES)
def test_target_that_ends(
    any_interpreter: Interpreter, start_target: StartTarget, tmp_path: Path, what: str
) -> None:
    target = start_target(any_interpreter, CHANGES_WHEN_TOLD + CHANGES[what])
    target.read_line()
    arguments = ("attach", "--pid", target.pid, *WALL)
    with Command(*arguments, cwd=tmp_path, terminal=True) as command:
        command.wait_until_it_records()
        target.send("")
        done = command.finish().ok()
    why = "the target executed another program" if "executes" in what else "the target ended"
    assert f"it ended because {why}" in done.stderr
    assert "__main__.work_before" in go_pprof("-top", "it.pb.gz", cwd=tmp_path)
    assert f"ended: {why}" in go_pprof("-comments", "it.pb.gz", cwd=tmp_path)
    if "executes" in what:
        assert target.process.poll() is None
        assert status(target.pid, "TracerPid") == {"0"}
    else:
        target.process.wait()


def test_target_that_is_stopped(busy: Target, tmp_path: Path) -> None:
    os.kill(busy.pid, signal.SIGSTOP)
    wait_until(lambda: status(busy.pid, "State") == {"T"})
    arguments = ("attach", "--pid", busy.pid, *WALL)
    with Command(*arguments, cwd=tmp_path, terminal=True) as command:
        command.wait_until_it_records()
        command.process.send_signal(signal.SIGINT)
        done = command.finish().ok()
    assert "note: the target is stopped" in done.stderr
    assert "__main__.wait_here" in go_pprof("-top", "-cum", "it.pb.gz", cwd=tmp_path)
    assert status(busy.pid, "State") == {"T"}
    os.kill(busy.pid, signal.SIGCONT)
    wait_until(lambda: "T" not in status(busy.pid, "State"))


@pytest.mark.parametrize("pause", ["auto", "always"])
def test_target_that_is_stopped_meanwhile(busy: Target, tmp_path: Path, pause: str) -> None:
    arguments = ("attach", "--pid", busy.pid, "--rate", 1000, "--pause", pause, *WALL)
    with Command(*arguments, cwd=tmp_path) as command:
        command.wait_until_it_records()
        for _ in range(20):
            os.kill(busy.pid, signal.SIGSTOP)
            wait_until(lambda: status(busy.pid, "State") <= {"T", "t"})
            os.kill(busy.pid, signal.SIGCONT)
            wait_until(lambda: "T" not in status(busy.pid, "State"))
        os.kill(busy.pid, signal.SIGSTOP)
        command.process.send_signal(signal.SIGINT)
        command.finish().ok()
    # The stop was the user's: it is neither lost nor ended.
    wait_until(lambda: status(busy.pid, "State") == {"T"})
    assert status(busy.pid, "TracerPid") == {"0"}


def test_target_that_forks(
    any_interpreter: Interpreter, start_target: StartTarget, tmp_path: Path
) -> None:
    target = start_target(
        any_interpreter,
        """
        import os, sys
        def fork():
            pid = os.fork()
            if not pid:
                os._exit(7)
            return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        def work():
            codes = set()
            while not stop:
                codes.add(fork())
            return codes
        import threading
        stop = []
        threading.Thread(target=lambda: (sys.stdin.readline(), stop.append(1)), daemon=True).start()
        print("ready", flush=True)
        print(work(), flush=True)
        sys.stdin.read()
        """,
    )
    target.read_line()
    arguments = ("attach", "--pid", target.pid, "--rate", 1000, "--pause", "always", *WALL)
    with Command(*arguments, cwd=tmp_path, terminal=True) as command:
        command.wait_until_it_records()
        target.send("")
        # Not one of its children was held, traced or lost.
        assert target.read_line() == "{7}"
        command.process.send_signal(signal.SIGINT)
        command.finish().ok()
    assert "__main__.fork" in go_pprof("-top", "-cum", "it.pb.gz", cwd=tmp_path)


@pytest.mark.parametrize("pause", ["auto", "always"])
def test_another_tracer(
    any_interpreter: Interpreter, busy: Target, tmp_path: Path, pause: str
) -> None:
    tracer = any_interpreter.argv(str(PROGRAMS / "tracer.py"), str(busy.pid))
    with Target(tracer) as other:
        assert other.read_line() == "ready"
        with Command(
            *("attach", "--pid", busy.pid, "--seconds", 1, "--pause", pause, *WALL), cwd=tmp_path
        ) as command:
            done = command.finish().ok()
        assert re.search(rf"note: another tracer is attached .*pid {other.pid}\)", done.stderr)
        assert status(busy.pid, "TracerPid") == {str(other.pid)}
    assert "another tracer" in go_pprof("-comments", "it.pb.gz", cwd=tmp_path)
    assert "__main__.spin_left" in go_pprof("-top", "it.pb.gz", cwd=tmp_path)


SHORT_THREADS = """
import contextlib, os, sys, threading
def short_life():
    sum(range(20_000))
print("ready", flush=True)
if sys.argv[1:] == ["wait"]:
    sys.stdin.readline()
for _ in range(500):
    thread = threading.Thread(target=short_life)
    thread.start()
    thread.join()
# The kernel lets a thread go some moments after Python has joined it.
states = "Z"
while "Z" in states and threading.active_count() == 1:
    states = set()
    for tid in os.listdir("/proc/self/task"):
        with contextlib.suppress(OSError), open(f"/proc/self/task/{tid}/stat") as stat:
            states.add(stat.read().rpartition(")")[2].split()[0])
print("no zombies", flush=True)
"""


def test_threads_that_end_while_they_are_looked_at(
    any_interpreter: Interpreter, start_target: StartTarget, tmp_path: Path
) -> None:
    """A thread that ends while it is traced stays a zombie until its tracer has waited for it."""
    target = start_target(any_interpreter, SHORT_THREADS, "wait")
    target.read_line()
    always = ("--rate", 20_000, "--pause", "always", *WALL)
    with Command("attach", "--pid", target.pid, *always, cwd=tmp_path) as command:
        command.wait_until_it_records()
        target.send("")
        assert target.read_line() == "no zombies"
        command.finish().ok()
    program = any_interpreter.argv(target.argv[-2])
    done = onlooker("run", *always, "--", *program, cwd=tmp_path).ok()
    assert done.text == "ready\nno zombies\n"


def test_program_outlives_the_agent_that_runs_it(
    any_interpreter: Interpreter, tmp_path: Path
) -> None:
    program = any_interpreter.argv(str(PROGRAMS / BUSY))
    always = ("--rate", 20_000, "--pause", "always", *WALL)
    with Command("run", *always, "--", *program, cwd=tmp_path, stdin=subprocess.PIPE) as command:
        command.wait_until_it_records()
        (pid,) = children(command.pid)
        busy = os.pidfd_open(pid)
        command.process.kill()
        command.process.wait()
        assert status(pid, "TracerPid") == {"0"}
        wait_until(lambda: status(pid, "State") <= {"R", "S"})
        assert command.process.stdin
        command.process.stdin.close()  # which is what ends it
        readable, _, _ = select.select([busy], [], [], DEADLINE_S)
        os.close(busy)
        assert readable


def rescued(stderr: str) -> Path:
    found = re.search(r"the data is in (\S+)", stderr)
    assert found, stderr
    return Path(found[1])


def test_folder_that_vanishes(busy: Target, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    output = folder / "it.pb.gz"
    arguments = ("attach", "--pid", busy.pid, "--profile", "wall", "-o", output)
    with Command(*arguments, terminal=True) as command:
        command.wait_until_it_records()
        folder.rmdir()
        command.process.send_signal(signal.SIGINT)
        done = command.finish()
    assert done.exit_code == 7
    assert f"can't write {output}" in done.stderr
    file = rescued(done.stderr)
    assert "__main__.spin_left" in go_pprof("-top", file, cwd=tmp_path)
    shutil.rmtree(file.parent)


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("attach --seconds 0.5 --profile wall", "__main__.spin_left"),
        ("heap", "module __main__"),
    ],
)
def test_full_device(busy: Target, tmp_path: Path, command: str, name: str) -> None:
    done = onlooker(*command.split(), "--pid", busy.pid, "-o", "/dev/full", cwd=tmp_path)
    assert done.exit_code == 7
    assert "No space left on device" in done.stderr
    assert "wrote" not in done.stderr
    file = rescued(done.stderr)
    assert name in go_pprof("-top", "-nodefraction=0", file, cwd=tmp_path)
    shutil.rmtree(file.parent)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount a disk")
def test_full_disk(busy: Target, tmp_path: Path) -> None:
    mount = (
        'mount -t tmpfs -o size=4k none "$1" && cd "$1" && echo full >full && shift && exec "$@"'
    )
    enter = ("unshare", "--mount", "sh", "-c", mount, "sh", str(tmp_path))
    arguments = ("attach", "--pid", busy.pid, "--seconds", 0.5, "--profile", "wall")
    with Command(*arguments, enter=enter) as command:
        done = command.finish()
    assert done.exit_code == 7
    assert "No space left on device" in done.stderr
    file = rescued(done.stderr)
    assert "__main__.spin_left" in go_pprof("-top", file, cwd=tmp_path)
    shutil.rmtree(file.parent)


CALLS = """
import itertools, sys, threading
def leaf(): return 1
def middle(): return leaf()
def work():
    for turn in itertools.count():
        middle()
        turns[0] = turn
turns = [0]
for _ in range(3):
    threading.Thread(target=work, daemon=True).start()
print("ready", flush=True)
for line in sys.stdin:
    print(turns[0], flush=True)
"""


@pytest.mark.parametrize("pause", ["auto", "always"])
def test_agent_that_is_killed(
    any_interpreter: Interpreter, start_target: StartTarget, tmp_path: Path, pause: str
) -> None:
    """At any moment: the target goes on, and nobody traces it."""
    target = start_target(any_interpreter, CALLS)
    assert target.read_line() == "ready"
    folder = tmp_path / "folder"
    folder.mkdir()
    moments = random.Random(1)
    turns = -1
    for _ in range(25):
        arguments = ("attach", "--pid", target.pid, "--rate", 1_000_000, "--pause", pause, *WALL)
        with Command(*arguments, cwd=folder) as command:
            if moments.random() < 0.8:  # else while it starts
                command.wait_until_it_records()
            with suppress(subprocess.TimeoutExpired):
                command.process.wait(moments.uniform(0, 0.2))
            command.process.kill()
            command.process.wait()
        assert status(target.pid, "TracerPid") == {"0"}
        wait_until(lambda: status(target.pid, "State") <= {"R", "S", "D"})
        target.send("")
        before, turns = turns, int(target.read_line())
        assert turns != before
    assert children(target.pid) == []
    assert list(folder.iterdir()) == []
