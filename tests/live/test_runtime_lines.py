"""Lines of a target's code objects are those that the target's own interpreter gives."""

from pathlib import Path

from onlooker.memory import Memory
from onlooker.runtime.layouts import Layout
from onlooker.runtime.lines import LineTable
from onlooker.runtime.locate import locate
from onlooker.runtime.objects import Objects

from tests.conftest import StartTarget
from tests.interpreters import Interpreter


def read_line_table(memory: Memory, layout: Layout, code: int) -> tuple[LineTable, int, int]:
    """The table, its size in bytes and the first line of the code object at this address."""
    raw = memory.read(code + layout.offsets["code_firstlineno"], 4)
    firstlineno = int.from_bytes(raw, "little", signed=True)
    objects = Objects(memory, layout)
    table = objects.bytes_(objects.pointer(code + layout.offsets["code_linetable"]))
    return LineTable(layout.line_table, table, firstlineno), len(table), firstlineno


def test_every_instruction_has_the_line_that_python_gives_it(
    interpreter: Interpreter, start_target: StartTarget
) -> None:
    target = start_target(interpreter, Path("line_tables.py"))
    told = target.read_json()
    runtime = locate(target.pid)
    sizes = []
    for code, firstlineno, size, runs in told["tables"]:
        lines, *read = read_line_table(runtime.memory, runtime.layout, code)
        assert read == [size, firstlineno]
        sizes.append(size)
        expected = [line for line, length in runs for _ in range(length)]
        assert [lines.line(lasti) for lasti in range(len(expected))] == [
            firstlineno if line is None else line for line in expected
        ]
        assert lines.line(-1) == lines.line(-2) == firstlineno
    assert max(sizes) > 100_000
    for code, lasti, lineno in told["suspended"]:
        lines, _, firstlineno = read_line_table(runtime.memory, runtime.layout, code)
        assert lines.line(lasti) == (firstlineno if lineno is None else lineno)
    runtime.memory.close()
