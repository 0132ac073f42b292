"""`onlooker list`: what can be looked into, and why not for the others."""

import sys
from pathlib import Path

import pytest

from tests.commands import onlooker
from tests.conftest import StartTarget
from tests.interpreters import Interpreter, Target

BUSY = Path("busy.py")


def test_table(any_interpreter: Interpreter, start_target: StartTarget) -> None:
    target = start_target(any_interpreter, BUSY)
    target.read_line()
    done = onlooker("list").ok()
    assert done.stderr == ""
    heading, *rows = done.text.splitlines()
    assert heading.split() == ["PID", "PYTHON", "USER", "COMMAND"]
    (row,) = [row for row in rows if row.split()[0] == str(target.pid)]
    version = ".".join(map(str, any_interpreter.version))
    assert row.split()[1] == version
    assert row.endswith(" ".join(target.argv))


def test_json_and_name(any_interpreter: Interpreter, start_target: StartTarget) -> None:
    target = start_target(any_interpreter, BUSY)
    target.read_line()
    rows = onlooker("list", "--name", r"busy\.py$", "--json").ok().json
    (row,) = [row for row in rows if row["pid"] == target.pid]
    assert row["program"] == "busy"
    assert row["problem"] is None
    # Nor has another test's command, which may run just now.
    assert onlooker("list", "--name", f"not-{target.pid}-or-its-like", "--json").ok().json == []


def test_why_not() -> None:
    program = next(Path(sys.base_prefix).parent.glob("3.7.*/bin/python3.7"), None)
    if program is None:
        pytest.skip("no Python 3.7 is here")
    with Target([str(program), "-uc", "print(); input()"]) as target:
        target.read_line()
        lines = onlooker("list").ok().text.splitlines()
        at = next(n for n, line in enumerate(lines) if line.split()[0] == str(target.pid))
        assert "can't be looked into" in lines[at + 1]
        assert "Python 3.7" in lines[at + 1]
        assert "CPython 3.8 to 3.15" in lines[at + 1]


def test_a_name_can_not_command_the_terminal(
    any_interpreter: Interpreter, start_target: StartTarget
) -> None:
    target = start_target(any_interpreter, BUSY, "\x1b[2J\nnext")
    target.read_line()
    text = onlooker("list").ok().text
    assert "\x1b" not in text
    assert "\\x1b[2J\\nnext" in text
