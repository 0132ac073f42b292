"""A frozen process stands still for us, and notices nothing itself but a short pause."""

import itertools
from pathlib import Path
from typing import Any

from onlooker.frozen import Frozen, frozen
from onlooker.memory import Freeze
from onlooker.runtime.maps import read_maps

from tests.commands import wait_until
from tests.conftest import StartTarget
from tests.enough import MEASURES
from tests.interpreters import PROGRAMS, Interpreter, Target
from tests.kernel import children, status

pytestmark = MEASURES

PROGRAM = Path("frozen.py")
MIB = 24
FREEZES = 6

#: The kernel charges time at its timer's ticks, of which it has at least 100 a second.
UNCHARGED_NS = 10_000_000


def ask(target: Target) -> Any:
    target.send("")
    return target.read_json()


def private_memory(taken: Frozen) -> dict[int, bytes]:
    """All that a process could write and nobody else: what a snapshot has to keep."""
    return {
        region.start: taken.memory.read(region.start, region.end - region.start)
        for region in read_maps(taken.pid)
        if region.permissions.startswith("rw-p")
    }


def assert_nothing_is_left(target: Target) -> None:
    assert children(target.pid) == []
    assert status(target.pid, "TracerPid") == {"0"}


def test_a_snapshot_is_of_one_moment(interpreter: Interpreter, start_target: StartTarget) -> None:
    target = start_target(interpreter, PROGRAM, "busy", str(MIB))
    assert target.read_line() == "ready"
    for _ in range(2):
        with frozen(target.pid) as taken:
            assert (taken.how, taken.notes) == ("snapshot", ())
            assert taken.pid != target.pid
            before = private_memory(taken)
            turns = ask(target)["turns"]
            wait_until(lambda turns=turns: ask(target)["turns"] > turns + 1000)  # type: ignore[misc]
            assert private_memory(taken) == before
            assert sum(map(len, before.values())) > MIB << 20
        assert_nothing_is_left(target)
    with frozen(target.pid, "none") as taken:
        assert (taken.how, taken.pid, taken.pause_ns) == ("none", target.pid, 0)
        moving = private_memory(taken)
        ask(target)
        assert private_memory(taken) != moving


def test_the_target_stands_still_as_long_as_we_say(
    interpreter: Interpreter, start_target: StartTarget
) -> None:
    target = start_target(interpreter, PROGRAM, "busy", str(MIB))
    assert target.read_line() == "ready"
    how: Freeze
    for how in ("snapshot", "stop"):
        stood_still_ns = pause_ns = 0
        for _ in range(FREEZES):
            ask(target)
            with frozen(target.pid, how) as taken:
                if how == "stop":
                    private_memory(taken)
            stood_still_ns += ask(target)["stood_still_ns"]
            pause_ns += taken.pause_ns + taken.phases_ns["reap"]
        assert taken.pause_ns > 0
        assert taken.phases_ns["stop"] > 0
        assert (taken.phases_ns["clone"] > taken.phases_ns["hold"]) == (how == "snapshot")
        print(f"{how}: {stood_still_ns} of {pause_ns}")
        assert stood_still_ns <= pause_ns + UNCHARGED_NS
        if how == "stop":  # this one is long enough to be seen
            assert stood_still_ns >= pause_ns / 2 - UNCHARGED_NS


def test_nothing_is_seen_by_the_target(interpreter: Interpreter, start_target: StartTarget) -> None:
    target = start_target(interpreter, PROGRAM, "waits", str(MIB))
    assert target.read_line() == "ready"
    hows: tuple[Freeze, ...] = ("snapshot", "stop")
    for how, _ in itertools.product(hows, range(FREEZES)):
        before = ask(target)["turns"]
        with frozen(target.pid, how) as taken:
            assert (taken.how, taken.notes) == (how, ())
        wait_until(
            lambda before=before: all(  # type: ignore[misc]
                turns > before[name] for name, turns in ask(target)["turns"].items()
            )
        )
        assert_nothing_is_left(target)
    told = ask(target)
    assert (told["errors"], told["sigchlds"], told["waited"]) == ([], 0, None)


def private_kib(pid: int) -> int:
    """The pages that a process wrote to and shares with nobody."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    (line,) = (line for line in rollup.splitlines() if line.startswith("Private_Dirty:"))
    return int(line.split()[1])


def is_reading(pid: int) -> bool:
    return Path(f"/proc/{pid}/syscall").read_text().startswith("0 ")


def test_workers_go_on_sharing_their_memory(
    interpreter: Interpreter, start_target: StartTarget
) -> None:
    target = start_target(interpreter, PROGRAM, "prefork", str(MIB))
    workers = target.read_json()
    processes = [target.pid, *workers]
    wait_until(lambda: all(map(is_reading, processes)))
    before = [private_kib(pid) for pid in processes]
    for worker in workers:
        with frozen(worker) as taken:
            assert taken.notes == ()
            private_memory(taken)
            # Of a snapshot, reading makes no copies either.
            assert private_kib(taken.pid) < 1024
    assert [private_kib(pid) for pid in processes] == before


def test_pid_namespace(interpreter: Interpreter) -> None:
    program = interpreter.path_in_target(PROGRAMS / PROGRAM)
    argv = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "--"]
    with Target([*argv, *interpreter.argv(program, "busy", "1")]) as namespace:
        assert namespace.read_line() == "ready"
        (pid,) = children(namespace.pid)
        for _ in range(3):
            with frozen(pid) as taken:
                assert (taken.how, taken.notes) == ("snapshot", ())
                assert children(pid) == [taken.pid]
                assert private_memory(taken) == private_memory(taken)
            assert taken.notes == ()
            assert children(pid) == []
        assert ask(namespace)["sigchlds"] == 0
