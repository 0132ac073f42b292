"""Signals, system calls and children of a target are what they would be without the agent."""

import os
import signal

import pytest
from onlooker.observe.recorder import Pause

from tests.background import Background
from tests.commands import wait_until
from tests.conftest import StartTarget
from tests.interpreters import Interpreter
from tests.kernel import children

SIGNALS = 400

# Answers each SIGUSR1 with its number. Every SIGALRM asks for the next: if one is lost, none comes
# any more, and if one is doubled, there are more of them than their time allows.
COUNTS_SIGNALS = """
import os, signal, sys, threading, time
INTERVAL_S = 0.0001
counts = {signal.SIGALRM: 0, signal.SIGUSR1: 0}
def on_alarm(number, frame):
    counts[number] += 1
    signal.setitimer(signal.ITIMER_REAL, INTERVAL_S)
def on_user(number, frame):  # print may not be called in the midst of itself
    counts[number] += 1
    os.write(1, b"%d %d\\n" % (counts[number], counts[signal.SIGALRM]))
def leaf(): return 1
def work():
    while True:
        leaf()
signal.signal(signal.SIGALRM, on_alarm)
signal.signal(signal.SIGUSR1, on_user)
threading.Thread(target=work, daemon=True).start()
began = time.monotonic()
on_alarm(signal.SIGALRM, None)
print("ready", flush=True)
while True:
    alarms = counts[signal.SIGALRM]
    while counts[signal.SIGALRM] == alarms:
        leaf()
    at_most = (time.monotonic() - began) / INTERVAL_S + 1
    if counts[signal.SIGALRM] > at_most:
        print("too many", counts, at_most, flush=True)
"""


def test_no_signal_is_lost_or_doubled(interpreter: Interpreter, start_target: StartTarget) -> None:
    target = start_target(interpreter, COUNTS_SIGNALS)
    assert target.read_line() == "ready"
    sent = 0

    def alarms() -> int:
        nonlocal sent
        os.kill(target.pid, signal.SIGUSR1)
        sent += 1
        received, alarms = map(int, target.read_line().split())
        assert received == sent
        return alarms

    with Background(target.pid, pause="always") as background:
        while sent < SIGNALS:
            alarms()
    assert background.recording.counters.paused > 0
    before = alarms()
    wait_until(lambda: alarms() > before)


# Threads in the system calls that a stop could interrupt, all with an end of their own. Whoever
# reads a line is told how many calls each has made and how many of them returned EINTR.
INTERRUPTIBLE = """
import ctypes, errno, json, os, select, sys, threading
libc = ctypes.CDLL(None, use_errno=True)
reader, writer = os.pipe()
silent, _ = os.pipe()
epoll = select.epoll()
epoll.register(silent, select.EPOLLIN)
events = ctypes.create_string_buffer(64)
one_ms = (ctypes.c_long * 2)(0, 1_000_000)
poll_fd = ctypes.create_string_buffer(silent.to_bytes(4, "little") + b"\\1\\0\\0\\0", 8)
def poll(): return libc.poll(poll_fd, 1, 2)
def nanosleep(): return libc.nanosleep(ctypes.byref(one_ms), None)
def epoll_wait(): return libc.epoll_wait(epoll.fileno(), events, 1, 2)
def read(): return libc.read(reader, ctypes.create_string_buffer(1), 1)
def write():
    nanosleep()
    return libc.write(writer, b"x", 1)
calls, interrupted = {}, {}
def work(call):
    while True:
        ctypes.set_errno(0)
        result = call()
        calls[call.__name__] += 1
        if result < 0:
            assert ctypes.get_errno() == errno.EINTR, ctypes.get_errno()
            interrupted[call.__name__] += 1
for call in (poll, nanosleep, epoll_wait, read, write):
    calls[call.__name__] = interrupted[call.__name__] = 0
    threading.Thread(target=work, args=(call,), daemon=True).start()
print("ready", flush=True)
for line in sys.stdin:
    print(json.dumps([calls, interrupted]), flush=True)
"""

#: Calls of each kind that take place while the target is recorded.
CALLS = 150


@pytest.mark.parametrize("pause", ["auto", "never"])
def test_no_system_call_is_interrupted(
    interpreter: Interpreter, start_target: StartTarget, pause: Pause
) -> None:
    target = start_target(interpreter, INTERRUPTIBLE)
    assert target.read_line() == "ready"
    with Background(target.pid, pause=pause) as background:
        target.send("")
        before, _ = target.read_json()
        calls: dict[str, int] = before
        while any(calls[name] < before[name] + CALLS for name in before):
            target.send("")
            calls, interrupted = target.read_json()
            assert set(interrupted.values()) == {0}, (interrupted, background)
    assert background.recording.counters.samples > 0


# Children by every way there is; all have to end as they would.
MAKES_CHILDREN = """
import os, subprocess, sys, threading
PYTHON = [sys.executable, "-I", "-S", "-c"]
def work(): return sum(range(2000))
def forked():
    pid = os.fork()
    if not pid:
        os._exit(7 if work() == 1999000 else 1)
    status = os.waitpid(pid, 0)[1]
    return os.WEXITSTATUS(status) if os.WIFEXITED(status) else -os.WTERMSIG(status)
def spawned():
    pid = os.posix_spawn(sys.executable, [*PYTHON, "import os; os._exit(8)"], os.environ)
    status = os.waitpid(pid, 0)[1]
    return os.WEXITSTATUS(status) if os.WIFEXITED(status) else -os.WTERMSIG(status)
def called():
    return subprocess.call([*PYTHON, "import os; os._exit(9)"])  # by vfork, since 3.10
def busy():
    while True:
        work()
threading.Thread(target=busy, daemon=True).start()
print("ready", flush=True)
for line in sys.stdin:
    print(forked(), spawned(), called(), flush=True)
"""

CHILDREN = 8


def test_children_are_unharmed(interpreter: Interpreter, start_target: StartTarget) -> None:
    target = start_target(interpreter, MAKES_CHILDREN)
    assert target.read_line() == "ready"
    with Background(target.pid, pause="always") as background:
        for _ in range(CHILDREN):
            target.send("")
            assert target.read_line() == "7 8 9"
    assert background.recording.counters.paused > 0
    assert children(target.pid) == []
