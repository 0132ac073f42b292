"""An agent that is killed while it freezes a process leaves it as if it had never been there."""

import os
import random
import signal
import sys
import threading
from collections.abc import Iterator

import pytest
from onlooker.frozen import frozen

from tests.commands import wait_until
from tests.conftest import StartTarget
from tests.interpreters import Interpreter, Target
from tests.kernel import children, status
from tests.live.test_frozen import PROGRAM, ask, assert_nothing_is_left

#: At random moments of freezes that follow each other, so many of a snapshot and of a stop.
KILLS = 10

# For each process id and way to freeze that it reads, forks an agent that freezes it for ever
# again, prints the agent's id once it has done so, and then how the agent ended.
AGENTS = """
import os, signal, sys
from onlooker.frozen import frozen
signal.signal(signal.SIGINT, signal.default_int_handler)
for line in sys.stdin:
    pid, how = line.split()
    reader, writer = os.pipe()
    agent = os.fork()
    if not agent:
        while True:
            with frozen(int(pid), how) as taken:
                assert not taken.notes
                os.write(writer, b"x")
    os.read(reader, 1)
    print(agent, flush=True)
    print(os.waitpid(agent, 0)[1], flush=True)
    os.close(reader); os.close(writer)
"""


@pytest.fixture
def agents() -> Iterator[Target]:
    with Target([sys.executable, "-c", AGENTS]) as started:
        yield started


def is_zombie(pid: int) -> bool:
    try:
        return status(pid, "State") == {"Z"}
    except FileNotFoundError:  # the agent was killed while the target reaped it
        return True


def is_freed_of_zombies(target: Target) -> bool:
    with frozen(target.pid) as taken:
        pass
    # On a busy machine a thread may come too late to reap it: the next snapshot's does, then.
    return taken.notes == () and children(target.pid) == []


@pytest.mark.parametrize("how", ["snapshot", "stop"])
@pytest.mark.parametrize("mode", ["busy", "waits"])
def test_killed_at_any_moment(
    interpreter: Interpreter, start_target: StartTarget, agents: Target, mode: str, how: str
) -> None:
    target = start_target(interpreter, PROGRAM, mode, "12")
    assert target.read_line() == "ready"
    moments = random.Random(f"{interpreter.name} {mode} {how}")
    for _ in range(KILLS):
        agents.send(f"{target.pid} {how}")
        agent = int(agents.read_line())
        threading.Event().wait(moments.uniform(0, 0.02))
        os.kill(agent, signal.SIGKILL)
        assert agents.read_line() == str(int(signal.SIGKILL))
        assert status(target.pid, "TracerPid") == {"0"}
        # No clone ever runs: what is left is dead, and is nobody's to wait for.
        wait_until(lambda: all(map(is_zombie, children(target.pid))))
        assert len(children(target.pid)) <= 1
        told = ask(target)
        wait_until(lambda told=told: ask(target)["turns"] != told["turns"])  # type: ignore[misc]
        assert (told["errors"], told["sigchlds"], told["waited"]) == ([], 0, None)
        # A thread that was about to make the clone may come to it only now, on a busy machine.
        wait_until(lambda: is_freed_of_zombies(target))
        assert_nothing_is_left(target)


@pytest.mark.parametrize("how", ["snapshot", "stop"])
def test_interrupted_at_any_moment(
    any_interpreter: Interpreter, start_target: StartTarget, agents: Target, how: str
) -> None:
    """Ctrl-C leaves no zombie either."""
    target = start_target(any_interpreter, PROGRAM, "busy", "50")
    assert target.read_line() == "ready"
    moments = random.Random(how)
    for _ in range(3 * KILLS):
        agents.send(f"{target.pid} {how}")
        agent = int(agents.read_line())
        threading.Event().wait(moments.uniform(0, 0.02))
        os.kill(agent, signal.SIGINT)
        assert agents.read_line() == str(int(signal.SIGINT))
        assert_nothing_is_left(target)
    told = ask(target)
    assert (told["errors"], told["sigchlds"], told["waited"]) == ([], 0, None)


def test_only_our_own_zombies_are_removed(
    any_interpreter: Interpreter, start_target: StartTarget
) -> None:
    """Of a program's own children none is taken away, however like ours they end."""
    source = """
    import ctypes, os, signal, sys
    libc = ctypes.CDLL(None)
    def forked():
        pid = os.fork()
        if not pid:
            signal.pause()
        return pid
    def cloned():  # its end sends no signal, as that of our clones, and it may never have run
        pid = libc.syscall(56, 0, 0, 0, 0, 0)
        if not pid:
            signal.pause()
        return pid
    own = [forked(), cloned(), cloned()]
    for pid in own:
        os.kill(pid, signal.SIGKILL)
    for pid in own:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | 0x40000000)
    print(*own, flush=True)
    input()
    print(*[os.waitpid(pid, 0x40000000) == (pid, 9) for pid in own], flush=True)
    input()
    """
    target = start_target(any_interpreter, source)
    own = [*map(int, target.read_line().split())]
    assert all(map(is_zombie, own))
    with frozen(target.pid) as taken:
        assert sorted(children(target.pid)) == sorted([*own, taken.pid])
    assert sorted(children(target.pid)) == sorted(own)
    target.send("")
    assert target.read_line() == "True True True"
