"""What can't be looked into is refused with the reason."""

import ctypes
import json
import os
import signal
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from onlooker.errors import (
    NoSuchProcess,
    NotPermitted,
    NotPython,
    NotReady,
    UnsupportedPython,
)
from onlooker.runtime.locate import locate

from tests.conftest import StartTarget
from tests.interpreters import Interpreter, Target, TargetError

FACTS = Path("facts.py")
PTRACE_TRACEME, PTRACE_CONT, PTRACE_DETACH = 0, 7, 17

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")


def test_no_such_process() -> None:
    with subprocess.Popen(["true"]) as ended:
        pass
    for pid in (ended.pid, 0, -1, 1 << 40):
        with pytest.raises(NoSuchProcess, match=f"no process with pid {pid}"):
            locate(pid)


def test_zombie() -> None:
    with subprocess.Popen(["true"]) as zombie:
        os.waitid(os.P_PID, zombie.pid, os.WEXITED | os.WNOWAIT)
        with pytest.raises(NoSuchProcess, match=rf"zombie.*parent, {os.getpid()},"):
            locate(zombie.pid)


def test_thread_of_a_process(any_interpreter: Interpreter, start_target: StartTarget) -> None:
    target = start_target(any_interpreter, FACTS)
    tids = set(target.read_json()["native_ids"].values()) - {target.pid}
    for tid in tids:
        with pytest.raises(NoSuchProcess, match=f"thread of process {target.pid}") as error:
            locate(tid)
        assert f"--pid {target.pid}" in error.value.hint


def test_thread_of_the_kernel() -> None:
    names = Path("/proc").glob("[0-9]*/comm")
    kernel = next((name.parent.name for name in names if name.read_text() == "kthreadd\n"), None)
    if kernel is None:
        pytest.skip("no thread of the kernel is in this pid namespace")
    with pytest.raises(NotPython, match="thread of the kernel"):
        locate(int(kernel))


def test_program_that_is_not_python() -> None:
    with subprocess.Popen(["sleep", "1000"]) as sleep:
        with pytest.raises(NotPython, match=r"sleep\) is not a Python process"):
            locate(sleep.pid)
        sleep.kill()


def elf_32(path: Path) -> None:
    """Write a 32-bit x86 program that only waits: pause(), forever."""
    code = bytes.fromhex("b81d000000 cd80 ebf7")  # mov eax, 29; int 0x80; jmp to the start
    start, at = 0x08048000, 52 + 32
    header = b"\x7fELF\1\1\1" + bytes(9)
    header += struct.pack("<HHIIIIIHHHHHH", 2, 3, 1, start + at, 52, 0, 0, 52, 32, 1, 0, 0, 0)
    size = at + len(code)
    path.write_bytes(header + struct.pack("<8I", 1, 0, start, start, size, size, 5, 4096) + code)
    path.chmod(0o755)


@pytest.mark.parametrize("name", ["python3", "myapp"])
def test_32_bit_program(tmp_path: Path, name: str) -> None:
    elf_32(tmp_path / name)
    try:
        process = subprocess.Popen([tmp_path / name])
    except OSError as error:
        pytest.skip(f"this kernel runs no 32-bit programs: {error}")
    expected = UnsupportedPython if name == "python3" else NotPython
    with process:
        with pytest.raises(expected, match="32-bit"):
            locate(process.pid)
        process.kill()


def test_other_implementation(tmp_path: Path) -> None:
    # Enough of it: the name of a mapped program is what tells.
    program = tmp_path / "pypy3.10-c"
    program.write_bytes(Path("/bin/sleep").read_bytes())
    program.chmod(0o755)
    with subprocess.Popen([program, "1000"]) as process:
        with pytest.raises(UnsupportedPython, match="PyPy"):
            locate(process.pid)
        process.kill()


@pytest.mark.parametrize("minor", ["2.7", "3.6", "3.7"])
def test_old_python(minor: str) -> None:
    program = next(Path(sys.base_prefix).parent.glob(f"{minor}.*/bin/python{minor}"), None)
    if program is None:
        pytest.skip(f"no Python {minor} is here")
    code = "import sys; print('%d.%d.%d' % sys.version_info[:3]); sys.stdout.flush(); input()"
    with Target([str(program), "-c", code]) as target:
        version = target.read_line()
        with pytest.raises(UnsupportedPython, match=f"Python {version}; CPython 3.8 to 3"):
            locate(target.pid)


def ptrace(request: int, pid: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)
    libc.ptrace.restype = ctypes.c_long
    if libc.ptrace(request, pid, None, None) < 0:
        raise OSError(ctypes.get_errno(), "ptrace")


@contextmanager
def stopped_at_start(interpreter: Interpreter) -> Iterator[int]:
    """Start an interpreter and stop it before its first instruction; yields the pid."""
    process = subprocess.Popen(
        interpreter.argv("-c", "input()"),
        stdin=subprocess.PIPE,
        preexec_fn=lambda: ptrace(PTRACE_TRACEME, 0),
    )
    try:
        while True:
            _, status = os.waitpid(process.pid, 0)
            assert os.WIFSTOPPED(status), status
            assert os.WSTOPSIG(status) == signal.SIGTRAP
            if Path(f"/proc/{process.pid}/exe").readlink().name.startswith("python"):
                break
            ptrace(PTRACE_CONT, process.pid)  # it was unshare, which executes Python next
        yield process.pid
    finally:
        process.kill()
        process.wait()
        assert process.stdin is not None
        process.stdin.close()


def test_python_before_its_first_instruction(interpreter: Interpreter) -> None:
    with stopped_at_start(interpreter) as pid, pytest.raises(NotReady):
        locate(pid)


def test_python_that_starts_is_not_ready_until_it_is(interpreter: Interpreter) -> None:
    for _ in range(5):
        with stopped_at_start(interpreter) as pid:
            ptrace(PTRACE_DETACH, pid)
            runtime = None
            while runtime is None:
                with suppress(NotReady):  # and nothing else, at no moment
                    runtime = locate(pid)
            assert runtime.version >> 16 == 0x300 | interpreter.version[1]
            runtime.close()


def test_python_that_shuts_down(interpreter: Interpreter, start_target: StartTarget) -> None:
    target = start_target(
        interpreter,
        """
        import os
        class Late:
            def __del__(self, write=os.write, read=os.read):
                write(1, b"finalising\\n")
                read(0, 1)
        late = Late()
        """,
    )
    assert target.read_line() == "finalising"
    with pytest.raises(NotReady, match="shutting down"):
        locate(target.pid)


LOOK = """
import json, os, sys, ctypes, subprocess
from onlooker.errors import OnlookerError
from onlooker.runtime.locate import locate
from onlooker.runtime.processes import python_processes
pid = int(sys.argv[1])
exec(sys.argv[2])
try:
    version = locate(pid).version
    said = {"version": version}
except OnlookerError as error:
    said = {"error": type(error).__name__, "reason": str(error), "hint": error.hint}
said["listed"] = [str(p.problem) for p in python_processes() if p.pid == pid]
print(json.dumps(said))
"""
BECOME_NOBODY = "os.setgroups([]); os.setgid(65534); os.setuid(65534)"


def look(pid: int, before: str = "", enter: tuple[str, ...] = ()) -> dict[str, Any]:
    """Look for `pid` from another process, which does something `before`; return what it says."""
    argv = [*enter, sys.executable, "-c", LOOK, str(pid), before]
    said: dict[str, Any] = json.loads(subprocess.run(argv, check=True, capture_output=True).stdout)
    return said


@needs_root
def test_process_of_another_user(interpreter: Interpreter, start_target: StartTarget) -> None:
    target = start_target(interpreter, FACTS)
    target.read_json()
    said = look(target.pid, BECOME_NOBODY)
    assert said["error"] == NotPermitted.__name__
    assert "belongs to user root, we run as nobody" in said["reason"]
    assert "sudo" in said["hint"]
    assert said["listed"] == [said["reason"]]


OF_NOBODY = f"""
import ctypes, os, sys
{BECOME_NOBODY}
if sys.argv[1:] == ["dumpable"]:
    ctypes.CDLL(None).prctl(4, 1)  # PR_SET_DUMPABLE, which changing the user has cleared
print(sys.hexversion, flush=True)
sys.stdin.read()
"""


@needs_root
def test_process_that_is_not_dumpable(
    any_interpreter: Interpreter, start_target: StartTarget
) -> None:
    target = start_target(any_interpreter, OF_NOBODY)
    target.read_line()
    said = look(target.pid, BECOME_NOBODY)
    assert said["error"] == NotPermitted.__name__
    assert "not dumpable" in said["reason"]


def yama_scope() -> int:
    path = Path("/proc/sys/kernel/yama/ptrace_scope")
    return int(path.read_text()) if path.exists() else 0


@needs_root
@pytest.mark.skipif(yama_scope() > 0, reason="Yama lets only parents look")
def test_process_of_the_same_user(interpreter: Interpreter, start_target: StartTarget) -> None:
    target = start_target(interpreter, OF_NOBODY, "dumpable")
    version = int(target.read_line())
    assert look(target.pid, BECOME_NOBODY) == {"version": version, "listed": ["None"]}


@needs_root
def test_container_without_the_capability(
    any_interpreter: Interpreter, start_target: StartTarget
) -> None:
    target = start_target(any_interpreter, OF_NOBODY, "dumpable")
    target.read_line()
    without = ("setpriv", "--bounding-set=-sys_ptrace", "--inh-caps=-sys_ptrace", "--")
    said = look(target.pid, enter=without)
    assert said["error"] == NotPermitted.__name__
    assert "belongs to user nobody, we run as root" in said["reason"]
    assert "--cap-add=SYS_PTRACE" in said["hint"]


@needs_root
def test_from_inside_a_user_namespace(
    any_interpreter: Interpreter, start_target: StartTarget
) -> None:
    enter = ("unshare", "--user", "--map-root-user", "--")
    if subprocess.run([*enter, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("this kernel makes no user namespaces")
    target = start_target(any_interpreter, FACTS)
    target.read_json()
    said = look(target.pid, enter=enter)
    assert said["error"] == NotPermitted.__name__
    assert "user namespace" in said["reason"]
    assert "on the host" in said["hint"]


@needs_root
@pytest.mark.parametrize("hidepid", [1, 2])
def test_process_that_proc_hides(
    any_interpreter: Interpreter, start_target: StartTarget, hidepid: int
) -> None:
    target = start_target(any_interpreter, FACTS)
    target.read_json()
    mount = f"subprocess.run(['mount', '-t', 'proc', '-o', 'hidepid={hidepid}', 'proc', '/proc'])"
    said = look(target.pid, f"{mount}; {BECOME_NOBODY}", ("unshare", "--mount", "--"))
    assert said["error"] == NotPermitted.__name__
    assert "hidepid" in said["reason"]
    assert "sudo" in said["hint"]


def test_target_that_ends_while_it_is_looked_into(
    any_interpreter: Interpreter, start_target: StartTarget
) -> None:
    target = start_target(any_interpreter, "raise SystemExit")
    with pytest.raises(TargetError):
        target.read_line()
    with pytest.raises(NoSuchProcess):
        while True:
            locate(target.pid).close()
