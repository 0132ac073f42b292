"""Lines by instruction: recordings of real interpreters, the formats' corners, and garbage.

line_tables.json has the tables and lines that tests/programs/line_tables.py, called with `small`,
printed under the interpreters named in it.
"""

import json
import random
from pathlib import Path
from typing import Any

import pytest
from onlooker.runtime.lines import LineTable, LineTableKind

RECORDED: dict[str, Any] = json.loads(Path(__file__).with_name("line_tables.json").read_text())
KINDS: tuple[LineTableKind, ...] = ("lnotab", "linetable", "locations")


@pytest.mark.parametrize("version", RECORDED)
def test_recorded_tables(version: str) -> None:
    kind, tables = RECORDED[version]["kind"], RECORDED[version]["tables"]
    for firstlineno, table, runs in tables:
        lines = LineTable(kind, bytes.fromhex(table), firstlineno)
        expected = [line for line, length in runs for _ in range(length)]
        assert [lines.line(lasti) for lasti in range(len(expected))] == [
            firstlineno if line is None else line for line in expected
        ]


def at(kind: LineTableKind, table: list[int], *offsets: int) -> list[int]:
    lines = LineTable(kind, bytes(byte & 0xFF for byte in table), 10)
    return [lines.line(offset) for offset in offsets]


def test_lnotab() -> None:
    # Objects/lnotab_notes.txt: address steps over 255 and line steps over 127 take several pairs.
    table = [6, 1, 255, 0, 45, 127, 0, 73, 4, -3]
    assert at("lnotab", table, 0, 5, 6, 305, 306, 309, 310, 9999) == [
        10, 10, 11, 11, 211, 211, 208, 208
    ]  # fmt: skip
    assert at("lnotab", [0, 5, 2, 1], -1, 0, 1, 2) == [10, 15, 15, 16]


def test_linetable() -> None:
    # PEP 626: lengths, not addresses; a length of 0 only moves the line; -128 is no line.
    table = [2, 1, 4, -128, 0, 127, 2, 73, 2, -2]
    assert at("linetable", table, -2, 0, 1, 2, 5, 6, 7, 8, 10) == [
        10, 11, 11, 10, 10, 211, 211, 209, 10
    ]  # fmt: skip


def test_locations() -> None:
    # Objects/locations.md. Entries: short form, one line later, no columns (-2), none, long (+40).
    table = [0x80, 7, 0x80 | 11 << 3, 1, 2, 0x80 | 13 << 3 | 1, 5, 0x80 | 15 << 3]
    table += [0x80 | 14 << 3, 0x40 | 16, 1, 0, 0x41, 1, 0]
    assert at("locations", table, -2, -1, 0, 1, 2, 3, 4, 7, 8, 9, 10, 11, 12) == [
        10, 10, 10, 10, 11, 11, 9, 9, 10, 10, 49, 49, 10
    ]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_empty_and_cut_tables(kind: LineTableKind) -> None:
    assert at(kind, [], -1, 0, 100) == [10, 10, 10]
    assert at(kind, [0xF7], 0, 100) == [10, 10]
    for version in RECORDED.values():
        if version["kind"] == kind:
            firstlineno, table, _ = version["tables"][0]
            for end in range(len(table) // 2):
                lines = LineTable(kind, bytes.fromhex(table)[:end], firstlineno)
                assert lines.line(0) >= 0


@pytest.mark.parametrize("kind", KINDS)
def test_garbage_gives_lines(kind: LineTableKind) -> None:
    source = random.Random(kind)
    for _ in range(3000):
        table = source.randbytes(source.randrange(200))
        lines = LineTable(kind, table, firstlineno=source.randrange(-10, 1 << 31))
        for _ in range(20):
            lines.line(source.randrange(-(1 << 63), 1 << 63))
        for offset in range(0, 400, 2):
            assert lines.line(offset) < 1 << 31


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("byte", [0x7F, 0xFF, 0xF0, 0x00])
def test_long_garbage_ends(kind: LineTableKind, byte: int) -> None:
    # Continued numbers and steps all in one direction: no number may grow with the table.
    assert LineTable(kind, bytes([0xF7, *[byte] * 300_000]), 1).line(600_000) < 1 << 31
