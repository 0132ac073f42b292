"""From an instruction's place in a code object to its source line.

The three tables that CPython has had, all read from a target and hence untrusted:

- `lnotab` (3.8, 3.9; Objects/lnotab_notes.txt): pairs of an unsigned address step and a signed
  line step.
- `linetable` (3.10; PEP 626): pairs of an unsigned length and a signed line step, -128 for no line.
- `locations` (3.11 and later; Objects/locations.md): entries of a head byte and what it asks for.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from typing import Final, Literal

LineTableKind = Literal["lnotab", "linetable", "locations"]

_MAX_LINE: Final = (1 << 31) - 1  # lines are C ints
_NO_LINE_STEP: Final = -128  # of a linetable
_MAX_VARINT_BYTES: Final = 6  # what a 32-bit number needs at 6 bits each
# Entry codes of a location table; those below _ONE_LINE_0 are short forms on the same line.
_ONE_LINE_0: Final = 10
_NO_COLUMNS: Final = 13
_LONG: Final = 14
_NO_LOCATION: Final = 15

# (first byte offset that it covers, line or None), by ascending offset
_Ranges = Iterator[tuple[int, int | None]]


class LineTable:
    """The lines of one code object.

    `table` is co_lnotab, co_linetable of 3.10 or co_linetable of 3.11 and later, as `kind` says.
    Garbage is decoded as far as it makes sense; nothing is raised.
    """

    def __init__(self, kind: LineTableKind, table: bytes, firstlineno: int) -> None:
        self._firstlineno = firstlineno
        self._starts: list[int] = []
        self._lines: list[int] = []
        for start, line in _DECODERS[kind](table, firstlineno):
            known = firstlineno if line is None else line
            if not 0 <= known <= _MAX_LINE:
                known = firstlineno
            if self._starts and self._starts[-1] == start:
                self._lines[-1] = known
            elif not self._lines or self._lines[-1] != known:
                self._starts.append(start)
                self._lines.append(known)

    @property
    def lines(self) -> frozenset[int]:
        """All lines that it has, the first among them."""
        return frozenset((self._firstlineno, *self._lines))

    def line(self, lasti_bytes: int) -> int:
        """The line of the instruction at this byte offset in the code object's bytecode.

        The first line where the table has none: before the first instruction (negative offsets:
        a frame that was just entered), after the last, and for instructions without a line.
        """
        index = bisect_right(self._starts, lasti_bytes) - 1
        return self._lines[index] if index >= 0 else self._firstlineno


def _decode_lnotab(table: bytes, firstlineno: int) -> _Ranges:
    start, line = 0, firstlineno
    for index in range(0, len(table) - 1, 2):
        start += table[index]
        line += _signed_byte(table[index + 1])
        yield start, line


def _decode_linetable(table: bytes, firstlineno: int) -> _Ranges:
    start, line = 0, firstlineno
    for index in range(0, len(table) - 1, 2):
        step = _signed_byte(table[index + 1])
        if step != _NO_LINE_STEP:
            line += step
        if table[index]:  # else only a step too long for one pair
            yield start, None if step == _NO_LINE_STEP else line
            start += table[index]
    yield start, None


def _decode_locations(table: bytes, firstlineno: int) -> _Ranges:
    start, line, index = 0, firstlineno, 0
    while index < len(table):
        head = table[index]
        code = head >> 3 & 0xF
        index += 1
        if code == _NO_LOCATION:
            yield start, None
        else:
            if code >= _NO_COLUMNS:
                step, index = _signed_varint(table, index)
                line += step
                if code == _LONG:  # end line, column, end column
                    for _ in range(3):
                        index = _after_varint(table, index)
            elif code >= _ONE_LINE_0:
                line += code - _ONE_LINE_0
                index += 2
            else:
                index += 1
            yield start, line
        start += ((head & 7) + 1) * 2  # code units of 2 bytes
    yield start, None


def _signed_byte(byte: int) -> int:
    return byte - 256 if byte >= 128 else byte


def _signed_varint(table: bytes, index: int) -> tuple[int, int]:
    """The number at index, with its sign in bit 0, and the index behind it."""
    end = _after_varint(table, index)
    if end == index + 1:  # by far the most
        number = table[index] & 0x3F
    else:
        number = 0
        for place, byte in enumerate(table[index : min(end, index + _MAX_VARINT_BYTES)]):
            number |= (byte & 0x3F) << 6 * place
    return (-(number >> 1) if number & 1 else number >> 1), end


def _after_varint(table: bytes, index: int) -> int:
    """The index behind the varint: 6 bits a byte, lowest first, bit 6 says that more follow."""
    limit = min(index + _MAX_VARINT_BYTES, len(table))
    while index < limit:
        index += 1
        if not table[index - 1] & 0x40:
            return index
    return len(table)  # no such number: nothing behind it can be understood


_DECODERS: Final[dict[LineTableKind, Callable[[bytes, int], _Ranges]]] = {
    "lnotab": _decode_lnotab,
    "linetable": _decode_linetable,
    "locations": _decode_locations,
}
