"""The fixtures give the interpreter that they say, as the process that they say."""

import os
from pathlib import Path

import pytest

from tests.conftest import StartTarget
from tests.interpreters import Interpreter, TargetError

HELLO = """
import json, os, sys
print(json.dumps([os.getpid(), list(sys.version_info[:3]), sys.argv[1:], __file__]), flush=True)
print(input()[::-1], flush=True)
"""


def test_target_is_the_python_process(interpreter: Interpreter, start_target: StartTarget) -> None:
    target = start_target(interpreter, HELLO, "one", "two words")
    pid, version, args, file = target.read_json()
    assert (pid, tuple(version), args) == (target.pid, interpreter.version, ["one", "two words"])
    assert interpreter.path_outside(file).read_text() == HELLO
    assert Path(f"/proc/{pid}/exe").readlink().name.startswith("python3.")
    target.send("hello")
    assert target.read_line() == "olleh"
    assert target.wait() == 0


def test_target_that_fails_says_why(
    any_interpreter: Interpreter, start_target: StartTarget
) -> None:
    target = start_target(any_interpreter, "raise SystemExit('no such luck')")
    with pytest.raises(TargetError, match="no such luck"):
        target.read_line()


def test_closed_target_is_gone(any_interpreter: Interpreter, start_target: StartTarget) -> None:
    target = start_target(any_interpreter, "print(flush=True)\nwhile True: pass")
    target.read_line()
    target.close()
    with pytest.raises(ProcessLookupError):
        os.kill(target.pid, 0)
