"""What stands in the way of a snapshot, and what is done instead."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import onlooker.frozen
import pytest
from onlooker.errors import NoSuchProcess, NotPermitted, OnlookerError, TargetGone, UsageError
from onlooker.frozen import Frozen, frozen
from onlooker.memory import Freeze

from tests.background import Background
from tests.commands import wait_until
from tests.conftest import StartTarget
from tests.interpreters import PROGRAMS, Interpreter, Target
from tests.kernel import children, status
from tests.live.test_frozen import PROGRAM, ask, assert_nothing_is_left

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture
def busy(any_interpreter: Interpreter, start_target: StartTarget) -> Target:
    target = start_target(any_interpreter, PROGRAM, "busy", "1")
    assert target.read_line() == "ready"
    return target


def assert_stopped_instead(pid: int, why: str) -> Frozen:
    with frozen(pid) as taken:
        assert (taken.how, taken.pid) == ("stop", pid)
        (note,) = taken.notes
        assert note.startswith("no snapshot: ")
        assert why in note
        assert note.endswith("; stopped the target instead")
        assert "State:\tt" in Path(f"/proc/{pid}/status").read_text()
    return taken


FILTERED = """
import ctypes, struct
allow = ctypes.create_string_buffer(struct.pack("HBBI", 6, 0, 0, 0x7fff0000))
program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", 1, ctypes.addressof(allow)))
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0  # PR_SET_NO_NEW_PRIVS
assert libc.prctl(22, 2, program) == 0, ctypes.get_errno()  # PR_SET_SECCOMP, SECCOMP_MODE_FILTER
"""

AS_NOBODY = """
import ctypes, os, resource
resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))
os.setgroups([]); os.setgid(65534); os.setuid(65534)
ctypes.CDLL(None).prctl(4, 1)  # PR_SET_DUMPABLE, which changing the user has cleared
"""

NEW_PID_NAMESPACE = "import ctypes; assert ctypes.CDLL(None).unshare(0x20000000) == 0"

WAIT = """
import sys
print("ready", flush=True)
for line in sys.stdin: print("here", flush=True)
"""


@pytest.mark.parametrize(
    ("setup", "why"),
    [
        pytest.param(FILTERED, "a seccomp filter", id="seccomp"),
        pytest.param(AS_NOBODY, "RLIMIT_NPROC", id="processes", marks=needs_root),
        pytest.param(NEW_PID_NAMESPACE, "pid namespace", id="namespace", marks=needs_root),
    ],
)
def test_no_snapshot_of_these(
    any_interpreter: Interpreter, start_target: StartTarget, setup: str, why: str
) -> None:
    target = start_target(any_interpreter, setup + WAIT)
    assert target.read_line() == "ready"
    assert_stopped_instead(target.pid, why)
    target.send("")
    assert target.read_line() == "here"
    assert_nothing_is_left(target)


#: The kernel has no memory for a child of a pid namespace whose first process has ended.
NO_MEMORY = f"""
import os
{NEW_PID_NAMESPACE}
first = os.fork()
if not first: os._exit(0)
os.waitpid(first, 0)
"""


@needs_root
def test_no_memory_for_the_clone(
    any_interpreter: Interpreter,
    start_target: StartTarget,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    target = start_target(any_interpreter, NO_MEMORY + WAIT)
    assert target.read_line() == "ready"
    monkeypatch.setattr(onlooker.frozen, "_starts_a_namespace", lambda pid: False)
    assert_stopped_instead(target.pid, "the kernel has no memory for it")
    # A machine that does not overcommit, as far as the agent can see.
    (tmp_path / "two").write_text("2\n")
    agent = f"""
import onlooker.frozen
onlooker.frozen._starts_a_namespace = lambda pid: False
with onlooker.frozen.frozen({target.pid}) as taken: print(taken.how, taken.notes[0])
"""
    mount = 'mount --bind "$1" /proc/sys/vm/overcommit_memory && exec "$2" -c "$3"'
    argv = ("unshare", "--mount", "sh", "-c", mount, "sh", tmp_path / "two", sys.executable, agent)
    told = subprocess.run(argv, check=True, stdout=subprocess.PIPE, text=True).stdout
    assert told.startswith("stop no snapshot: vm.overcommit_memory is 2")
    target.send("")
    assert target.read_line() == "here"
    assert_nothing_is_left(target)


@needs_root
def test_no_process_left_in_the_cgroup(busy: Target) -> None:
    controllers = (Path("/sys/fs/cgroup/pids"), Path("/sys/fs/cgroup"))
    folder = next(each for each in controllers if each.is_dir()) / f"onlooker-test-{busy.pid}"
    try:
        folder.mkdir()
        (folder / "pids.max").write_text("1")
    except OSError as error:
        if folder.exists():
            folder.rmdir()
        pytest.skip(f"no cgroup with a limit of processes can be made: {error}")
    try:
        (folder / "cgroup.procs").write_text(str(busy.pid))
        assert_stopped_instead(busy.pid, "pids.max")
        assert ask(busy)["errors"] == []
        assert_nothing_is_left(busy)
    finally:
        busy.close()
        folder.rmdir()


def test_no_snapshot_without_memory(busy: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onlooker.frozen, "room_bytes", lambda pid: 1000)
    assert_stopped_instead(busy.pid, "and only 0 MiB are free")


def test_no_snapshot_on_another_processor(busy: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.uname", lambda: SimpleNamespace(machine="riscv64"))
    assert_stopped_instead(busy.pid, "riscv64")


def test_a_stop_has_an_end(busy: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onlooker.frozen, "HOLD_LIMIT_S", 0.02)

    def read_on() -> None:
        with frozen(busy.pid, "stop") as taken:
            text = Path(f"/proc/{busy.pid}/maps").read_text()
            start = int(text.partition("-")[0], 16)
            while taken.memory.read(start, 8):
                pass

    with pytest.raises(OnlookerError, match=r"stopped for 0\.02 s, and let go before all was read"):
        read_on()
    assert ask(busy)["errors"] == []
    # Also if all reads were in time, but the block did not end: who knows what it looked at.
    with pytest.raises(OnlookerError, match="let go before"), frozen(busy.pid, "stop") as taken:
        while not taken.notes:
            pass
        assert taken.notes == ("the stop was ended after 0.02 s",)
    assert_nothing_is_left(busy)


def test_a_snapshot_that_is_killed(busy: Target) -> None:
    def read_on() -> None:
        with frozen(busy.pid) as taken:
            start = int(Path(f"/proc/{taken.pid}/maps").read_text().partition("-")[0], 16)
            assert Path(f"/proc/{taken.pid}/oom_score_adj").read_text() == "1000\n"
            os.kill(taken.pid, signal.SIGKILL)
            while taken.memory.read(start, 8):
                pass

    with pytest.raises(OnlookerError, match=f"snapshot of process {busy.pid} was killed"):
        read_on()
    assert_nothing_is_left(busy)


@pytest.mark.parametrize("how", ["snapshot", "stop"])
def test_another_tracer(busy: Target, how: Freeze) -> None:
    with Target([sys.executable, str(PROGRAMS / "tracer.py"), str(busy.pid)]) as tracer:
        assert tracer.read_line() == "ready"
        named = rf"another tracer.*\(python.*, pid {tracer.pid}\)"
        with pytest.raises(NotPermitted, match=named), frozen(busy.pid, how):
            pass
        with frozen(busy.pid, "none") as taken:
            assert taken.notes == ()
    with frozen(busy.pid, how) as taken:
        assert taken.notes == ()


def test_beside_a_recording(busy: Target) -> None:
    with Background(busy.pid, pause="always") as background:
        for _ in range(30):
            with frozen(busy.pid) as taken:
                assert (taken.how, taken.notes) == ("snapshot", ())
    assert background.recording.counters.samples > 0
    assert_nothing_is_left(busy)


def test_one_stop_at_a_time(busy: Target) -> None:
    traced = pytest.raises(OnlookerError, match="we trace thread")
    with frozen(busy.pid, "stop"), traced, frozen(busy.pid):
        pass
    with frozen(busy.pid) as one, frozen(busy.pid) as other:
        assert one.pid != other.pid
    assert_nothing_is_left(busy)


def test_released_twice(busy: Target) -> None:
    with frozen(busy.pid) as taken:
        taken.release()
        assert not Path(f"/proc/{taken.pid}").exists()
        taken.release()
        assert taken.phases_ns["reap"] > 0


def test_processes_that_are_not_there(start_target: StartTarget) -> None:
    with pytest.raises(UsageError, match="itself"), frozen(os.getpid()):
        pass
    ended = subprocess.Popen(["true"])
    os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
    with pytest.raises(NoSuchProcess, match="zombie"), frozen(ended.pid):
        pass
    ended.wait()
    with pytest.raises(NoSuchProcess), frozen(ended.pid):
        pass


def test_a_target_that_ends_while_it_is_read(busy: Target) -> None:
    def read_on() -> None:
        with frozen(busy.pid, "none") as taken:
            start = int(Path(f"/proc/{taken.pid}/maps").read_text().partition("-")[0], 16)
            busy.process.kill()
            while taken.memory.read(start, 8):
                pass

    with pytest.raises(TargetGone):
        read_on()


def test_the_snapshot_outlives_the_target(busy: Target) -> None:
    with frozen(busy.pid) as taken:
        start = int(Path(f"/proc/{taken.pid}/maps").read_text().partition("-")[0], 16)
        before = taken.memory.read(start, 4096)
        busy.process.kill()
        busy.process.wait()
        assert taken.memory.read(start, 4096) == before
    assert taken.notes == ()


def test_a_stuck_thread_is_named(
    any_interpreter: Interpreter, start_target: StartTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onlooker.frozen, "STOP_LIMIT_S", 0.05)
    # Its child, made by vfork, never ends, so it waits in the kernel.
    source = """
    import ctypes, time
    libc = ctypes.PyDLL(None)
    print("ready", flush=True)
    if not libc.vfork():
        while True:
            libc.pause()
    """
    target = start_target(any_interpreter, source)
    assert target.read_line() == "ready"
    wait_until(lambda: status(target.pid, "State") == {"D"})
    named = f"thread {target.pid} .* did not stop within"
    with pytest.raises(OnlookerError, match=named) as info, frozen(target.pid):
        pass
    assert "vfork" in info.value.hint
    wait_until(lambda: status(target.pid, "TracerPid") == {"0"})
    (child,) = children(target.pid)
    os.kill(int(child), signal.SIGKILL)


@needs_root
def test_without_root(any_interpreter: Interpreter, start_target: StartTarget) -> None:
    nobody = AS_NOBODY.replace("(1, 1)", "(500, 500)")
    target = start_target(any_interpreter, nobody + WAIT)
    assert target.read_line() == "ready"
    agent = f"""
import os, sys
from onlooker.frozen import frozen
from onlooker.runtime import locate
os.setgroups([]); os.setgid(65534); os.setuid(65534)
with frozen({target.pid}) as taken:
    start = int(open(f"/proc/{{taken.pid}}/maps").read().partition("-")[0], 16)
    assert taken.memory.read(start, 64) == taken.memory.read(start, 64)
print(taken.how, taken.notes)
"""
    done = subprocess.run(
        [sys.executable, "-c", agent], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("snapshot ()\n", "")
    assert_nothing_is_left(target)
