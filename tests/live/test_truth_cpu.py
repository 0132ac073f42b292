"""A CPU profile's time is the time that the kernel charged the target, all of it and no more."""

import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from onlooker import Profile, Recording, Target

from tests.conftest import StartTarget
from tests.enough import MEASURES
from tests.interpreters import PROGRAMS, Interpreter
from tests.interpreters import Target as Program
from tests.kernel import children
from tests.stacks import short_name

pytestmark = MEASURES

PROGRAM = Path("truth_work.py")

#: The kernel charges a running thread at its timer's ticks, of which it has at least 100 a second.
UNCHARGED_NS = 10_000_000

#: What is asked for is 2 %.
TOLERANCE = 0.02

Read = Callable[[], int]


def process_ns(pid: int) -> int:
    """The CPU time of a process, threads that ended included (clock_getcpuclockid(3))."""
    return time.clock_gettime_ns(~pid << 3 | 2)


def thread_ns(pid: int, tid: int) -> int:
    """The CPU time of one thread."""
    return int(Path(f"/proc/{pid}/task/{tid}/schedstat").read_text().split()[0])


@dataclass
class Account:
    """A clock of the kernel's, read before and after a recording, each from outside and inside."""

    read: Read
    readings: list[int] = field(default_factory=list)

    def assert_is(self, found_ns: int, running: int = 1) -> None:
        """So much was charged while the recorder looked, for so many threads on CPU at a time."""
        before, first, last, after = (*self.readings[:2], *self.readings[-2:])
        uncharged_ns = UNCHARGED_NS * min(running, os.cpu_count() or 1)
        least = (last - first) * (1 - TOLERANCE) - uncharged_ns
        most = (after - before) * (1 + TOLERANCE) + uncharged_ns
        print(f"{found_ns / 1e6:.1f} ms; {[round(x / 1e6, 1) for x in self.readings]}")
        assert least <= found_ns <= most, (found_ns, least, most)


def record(pid: int, seconds: float, rate_hz: float, *accounts: Account) -> Recording:
    def read() -> bool:
        for account in accounts:
            account.readings.append(account.read())
        return False

    read()
    with Target(pid) as opened:
        recording = opened.record(["cpu"], seconds, rate_hz=rate_hz, stop=read)
    read()
    return recording


def cpu_ns(profile: Profile, *, thread_id: int | None = None, function: str = "") -> int:
    """The CPU time of what has this thread and this function on its stack."""
    return sum(
        sample.values[1]
        for sample in profile.samples
        if (thread_id is None or dict(sample.labels)["thread_id"] == str(thread_id))
        and (not function or function in map(short_name, sample.stack))
    )


def threads_of(profile: Profile) -> set[str]:
    return {str(dict(sample.labels)["thread_id"]) for sample in profile.samples}


def test_busy_beside_idle(interpreter: Interpreter, start_target: StartTarget) -> None:
    target = start_target(interpreter, PROGRAM, "busy")
    ids = target.read_json()
    (burner,) = ids["burn"]
    whole = Account(lambda: process_ns(target.pid))
    own = Account(partial(thread_ns, target.pid, burner))
    asleep = [target.pid, *ids["wait"], *ids["sleep"]]
    assert len(asleep) == 7
    others = [Account(partial(thread_ns, target.pid, tid)) for tid in asleep]
    profile = record(target.pid, 0.5, 100, whole, own, *others).profile("cpu")
    whole.assert_is(cpu_ns(profile))
    own.assert_is(cpu_ns(profile, thread_id=burner, function="burn"))
    for account, tid in zip(others, asleep, strict=True):
        # They may have been on the way to sleep when the recording began.
        assert cpu_ns(profile, thread_id=tid) <= account.readings[-1] - account.readings[0]


def test_more_threads_than_cores(interpreter: Interpreter, start_target: StartTarget) -> None:
    target = start_target(interpreter, PROGRAM, "crowd")
    ids = target.read_json()["compress"]
    assert len(ids) == 6
    whole = Account(lambda: process_ns(target.pid))
    own = [Account(partial(thread_ns, target.pid, tid)) for tid in ids]
    profile = record(target.pid, 0.8, 200, whole, *own).profile("cpu")
    whole.assert_is(cpu_ns(profile), running=6)
    for account, tid in zip(own, ids, strict=True):
        account.assert_is(cpu_ns(profile, thread_id=tid, function="compress"))


def test_short_lives(interpreter: Interpreter, start_target: StartTarget) -> None:
    """Most threads come and go between two samples; their time is there all the same.

    What is not theirs yet is nobody's, least of all the thread's that makes them.
    """
    target = start_target(interpreter, PROGRAM, "short_lives")
    (giver,) = target.read_json()["give_lives"]
    whole = Account(lambda: process_ns(target.pid))
    profile = record(target.pid, 0.5, 1000, whole).profile("cpu")
    whole.assert_is(cpu_ns(profile), running=2)
    for sample in profile.samples:
        functions = set(map(short_name, sample.stack))
        if dict(sample.labels)["thread_id"] == str(giver) and functions != {"<not sampled>"}:
            assert "give_lives" in functions and "short_life" not in functions


def test_native_thread(interpreter: Interpreter, start_target: StartTarget) -> None:
    target = start_target(interpreter, PROGRAM, "native")
    python = {target.pid, *target.read_json()["sleep"]}
    (sleeper,) = python - {target.pid}
    (tid,) = {int(task.name) for task in Path(f"/proc/{target.pid}/task").iterdir()} - python
    whole = Account(lambda: process_ns(target.pid))
    own = Account(partial(thread_ns, target.pid, tid))
    profile = record(target.pid, 0.5, 100, whole, own).profile("cpu")
    whole.assert_is(cpu_ns(profile))
    own.assert_is(cpu_ns(profile, thread_id=tid, function="<native thread>"))
    assert threads_of(profile) <= {str(target.pid), str(sleeper), str(tid)}


def test_pid_namespace(interpreter: Interpreter) -> None:
    """The labels are the ids that the target knows, the time is that of the right threads."""
    program = interpreter.path_in_target(PROGRAMS / PROGRAM)
    argv = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "--"]
    with ExitStack() as stack:
        namespace = stack.enter_context(Program([*argv, *interpreter.argv(program, "busy")]))
        ids = namespace.read_json()
        (pid,) = children(namespace.pid)
        assert pid not in ids["burn"]
        whole = Account(lambda: process_ns(pid))
        profile = record(pid, 0.5, 100, whole).profile("cpu")
    whole.assert_is(cpu_ns(profile))
    whole.assert_is(cpu_ns(profile, thread_id=ids["burn"][0], function="burn"))
    assert threads_of(profile) <= {str(tid) for tids in ids.values() for tid in (*tids, 1)}
