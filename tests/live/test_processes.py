"""The list of the machine's Python processes."""

import getpass
import os
import re
import subprocess
import uuid
from pathlib import Path

import pytest
from onlooker.errors import UnsupportedPython, UsageError
from onlooker.runtime.processes import PythonProcess, find_by_name, python_processes

from tests.conftest import StartTarget
from tests.interpreters import Interpreter

FACTS = Path("facts.py")


def listed(pid: int) -> PythonProcess | None:
    found = [process for process in python_processes() if process.pid == pid]
    assert len(found) <= 1
    return found[0] if found else None


def test_every_interpreter_is_listed(interpreter: Interpreter, start_target: StartTarget) -> None:
    target = start_target(interpreter, FACTS, "an argument")
    facts = target.read_json()
    process = listed(target.pid)
    assert process is not None
    assert process.version == facts["version"]
    assert process.user == getpass.getuser()
    assert process.program == "facts"
    assert process.command == " ".join([interpreter.path, *facts["argv"]])
    assert process.problem is None


@pytest.mark.interpreters(kinds=("debian", "sid"))
def test_program_of_another_name_is_listed(
    interpreter: Interpreter, start_target: StartTarget, tmp_path: Path
) -> None:
    program = tmp_path / "bin" / "myapp"
    program.parent.mkdir()
    program.write_bytes(interpreter.path_outside(interpreter.path).read_bytes())
    program.chmod(0o755)
    folder = interpreter.path_in_target(program.parent)
    path = f"{folder}/{program.name}"
    renamed = Interpreter(interpreter.version, interpreter.kind, path, interpreter.root)
    target = start_target(renamed, FACTS)
    facts = target.read_json()
    process = listed(target.pid)
    assert process is not None
    assert process.program == "myapp"
    assert process.version == facts["version"]


def test_other_programs_are_not_listed() -> None:
    with subprocess.Popen(["sleep", "1000"]) as sleep, subprocess.Popen(["true"]) as zombie:
        os.waitid(os.P_PID, zombie.pid, os.WEXITED | os.WNOWAIT)
        assert listed(sleep.pid) is None
        assert listed(zombie.pid) is None
        assert listed(os.getpid()) is None
        sleep.kill()


def test_reason_why_a_python_cannot_be_looked_into(tmp_path: Path) -> None:
    program = tmp_path / "pypy3"
    program.write_bytes(Path("/bin/sleep").read_bytes())
    program.chmod(0o755)
    with subprocess.Popen([program, "1000"]) as sleep:
        process = listed(sleep.pid)
        assert process is not None
        assert isinstance(process.problem, UnsupportedPython)
        assert process.version == 0
        assert process.command == f"{program} 1000"
        sleep.kill()


def test_find_by_name(any_interpreter: Interpreter, start_target: StartTarget) -> None:
    mark = uuid.uuid4().hex
    first, second = (start_target(any_interpreter, FACTS, f"{mark}-{n}") for n in (1, 2))
    for target in (first, second):
        target.read_json()
    assert {process.pid for process in find_by_name(mark)} == {first.pid, second.pid}
    assert [process.pid for process in find_by_name(rf"facts\.py {mark}-2$")] == [second.pid]
    assert find_by_name(mark + "-3") == []


def test_find_by_name_leaves_out_who_asks(any_interpreter: Interpreter) -> None:
    own = Path("/proc/self/cmdline").read_bytes().split(b"\0")[0].decode()
    assert os.getpid() not in {process.pid for process in find_by_name(re.escape(own))}
    assert os.getppid() not in {process.pid for process in find_by_name("")}


def test_pattern_that_is_none() -> None:
    with pytest.raises(UsageError, match="regular expression"):
        find_by_name("(")
