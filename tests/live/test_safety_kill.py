"""An agent that is killed leaves the target as if it had never been there."""

import os
import random
import signal
import sys
import threading
from collections.abc import Iterator

import pytest

from tests.commands import wait_until
from tests.conftest import StartTarget
from tests.interpreters import Interpreter, Target
from tests.kernel import children, status

#: At random moments and in the middle of a stop, so many each: a hundred on ten interpreters.
KILLS = 5

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

# For each process id that it reads, forks an agent that records it, prints the agent's, and then
# how the agent ended. Starting a Python for each would take much longer.
AGENTS = """
import os, sys
from onlooker import Target
for line in sys.stdin:
    agent = os.fork()
    if not agent:
        Target(int(line)).record(["wall"], rate_hz=1e6, pause="always")
        os._exit(1)
    print(agent, flush=True)
    print(os.waitpid(agent, 0)[1], flush=True)
"""


@pytest.fixture
def agents() -> Iterator[Target]:
    with Target([sys.executable, "-c", AGENTS]) as started:
        yield started


def is_held(agent: int, target: int) -> bool:
    """Stops the agent; whether it holds a thread of the target now. If not, lets it go on."""
    os.kill(agent, signal.SIGSTOP)
    wait_until(lambda: status(agent, "State") == {"T"})
    if str(agent) in status(target, "TracerPid"):
        return True
    os.kill(agent, signal.SIGCONT)
    return False


def turns_of(target: Target) -> int:
    target.send("")
    return int(target.read_line())


def test_a_hundred_kills(
    interpreter: Interpreter, start_target: StartTarget, agents: Target
) -> None:
    target = start_target(interpreter, CALLS)
    assert target.read_line() == "ready"
    moments = random.Random(interpreter.name)
    for kill in range(2 * KILLS):
        agents.send(str(target.pid))
        agent = int(agents.read_line())
        if kill % 2:
            wait_until(lambda agent=agent: is_held(agent, target.pid))  # type: ignore[misc]
        else:
            threading.Event().wait(
                moments.uniform(0, 0.1)
            )  # while it starts, looks around or records
        os.kill(agent, signal.SIGKILL)
        assert agents.read_line() == str(int(signal.SIGKILL))
        assert status(target.pid, "TracerPid") == {"0"}
        wait_until(lambda: status(target.pid, "State") <= {"R", "S", "D"})
        before = turns_of(target)
        wait_until(lambda before=before: turns_of(target) != before)  # type: ignore[misc]
    assert children(target.pid) == []
