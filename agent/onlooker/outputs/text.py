"""Text, as Go writes it for ``debug=1``: a person reads it, and ``go tool pprof`` opens it, too.

There is a form for contentions, which Go has for block and mutex, one for memory, and one for
counts. Profiles of time have none in Go. They are written as counts of nanoseconds: in the form
for contentions pprof would take them for delays, and numbers of samples would not tell a thread
that used its CPU all the time from one that used it briefly.

pprof takes only stacks and values from such text: the names are in comments.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, Final

from onlooker.outputs.addresses import Addresses
from onlooker.profile.heap import sampled, without_size
from onlooker.profile.model import Function, Labels, Location, Profile
from onlooker.profile.printable import printable, quoted, short

NAME: Final = "text"
SUFFIX: Final = ".txt"
BINARY: Final = False

# pprof reads no line of more than 64 KiB. An address takes 15 bytes, a character up to 4.
FRAMES_LIMIT: Final = 4_000
_COMMENT_LIMIT: Final = 15_000
_NAME_LIMIT: Final = 1_000

_INT64_MAX: Final = (1 << 63) - 1
_TAB: Final = 8
_MEMORY: Final = ("alloc_objects", "alloc_space", "inuse_objects", "inuse_space")
_NO_STACK: Final = Location(Function("<no stack>", "<no stack>", "", 0), 0)


def write(profile: Profile, file: IO[bytes]) -> None:
    """Write the profile. Samples with equal stacks and labels are one; the greatest is first."""
    for line in _lines(profile):
        # Lone surrogates, which file names may hold, have no UTF-8.
        file.write(f"{line}\n".encode("utf-8", "backslashreplace"))


def _lines(profile: Profile) -> Iterator[str]:
    places = _Places()
    types = tuple(shown.type for shown in profile.sample_types)
    yield from (_memory if types == _MEMORY else _counted)(profile, places)
    for comment in profile.comments:
        yield f"# {short(printable(comment), _COMMENT_LIMIT)}"


def _memory(profile: Profile, places: _Places) -> Iterator[str]:
    """Numbers as they were sampled: pprof scales them, by the rate and the size of the objects."""
    rate = profile.period
    rows = [(sampled(sample, rate), sample) for sample in profile.samples]
    totals = [sum(column) for column in zip(*(values for values, _ in rows), strict=True)]
    allocated, bytes_allocated, inuse, bytes_inuse = totals or (0, 0, 0, 0)
    if bytes_allocated == bytes_inuse:
        bytes_allocated += 1  # or pprof sees only objects and bytes: so does Go
    # Go, and what came before it, says twice the rate.
    heading = f"{inuse}: {bytes_inuse} [{allocated}: {bytes_allocated}] @ heap/{2 * rate}"
    yield f"heap profile: {heading}"
    keyed = [
        # Objects of different sizes stay apart, since pprof scales them by their average size.
        (values, f"@{places.addresses(sample.stack)}{_labels(without_size(sample.labels))}")
        for values, sample in rows
    ]
    for values, key in sorted(keyed, key=lambda row: (-row[0][3], row)):
        yield f"{values[2]}: {values[3]} [{values[0]}: {values[1]}] {key}"
        yield from places.lines(key)
        yield ""


def _counted(profile: Profile, places: _Places) -> Iterator[str]:
    is_contention = [shown.type for shown in profile.sample_types] == ["contentions", "delay"]
    # By what Go calls the key: addresses and labels as they are written.
    totals: dict[str, list[int]] = {}
    for sample in profile.samples:
        stack = sample.stack
        if not (stack or is_contention):
            stack = (_NO_STACK,)  # pprof takes a count without an address for a mistake
        key = f"@{places.addresses(stack)}{_labels(sample.labels)}"
        total = totals.setdefault(key, [0] * len(sample.values))
        for index, value in enumerate(sample.values):
            total[index] = min(total[index] + value, _INT64_MAX)
    main = profile.default_index
    if is_contention:
        yield f"--- {'mutex' if profile.kind == 'mutex' else 'contention'}:"
        yield "cycles/second=1000000000"
        if profile.kind == "mutex":
            yield "sampling period=1"
    else:
        shown = profile.sample_types[main]
        # pprof takes the name for the type of the values, and it has no spaces.
        name = profile.kind if shown.unit == "count" else f"{shown.type}/{shown.unit}"
        name = "_".join(printable(name).split())
        yield f"{name} profile: total {sum(total[main] for total in totals.values())}"
    for key, total in sorted(totals.items(), key=lambda item: (-item[1][main], item[0])):
        yield f"{total[1]} {total[0]} {key}" if is_contention else f"{total[main]} {key}"
        yield from places.lines(key)
        yield ""


class _Places:
    """The addresses of locations, and what is to be said of each."""

    def __init__(self) -> None:
        self._new = Addresses().new
        self._addresses: dict[Location, int] = {}
        self._cells: dict[int, tuple[str, ...]] = {}

    def addresses(self, stack: tuple[Location, ...]) -> str:
        """Return a stack's addresses, a space before each."""
        if len(stack) > FRAMES_LIMIT:
            name = f"<{len(stack) - FRAMES_LIMIT + 1} frames omitted>"
            stack = (*stack[: FRAMES_LIMIT - 1], Location(Function(name, name, "", 0), 0))
        # Go's are those to return to, so readers take 1 away to find the call.
        return "".join(f" {self._address(location) + 1:#x}" for location in stack)

    def lines(self, key: str) -> Iterator[str]:
        """Return a line for each address in the key, in columns like those of Go's tabwriter."""
        addresses = key.partition("\n")[0].split()[1:]
        rows = [self._cells[int(address, 16) - 1] for address in addresses]
        columns = max(map(len, rows), default=0)
        widths = [
            max(len(row[column]) for row in rows if len(row) > column) for column in range(columns)
        ]
        for row in rows:
            cells = [f"{cell}{_tabs(cell, widths[at])}" for at, cell in enumerate(row[:-1])]
            yield f"#\t{''.join(cells)}{row[-1]}"

    def _address(self, location: Location) -> int:
        address = self._addresses.get(location)
        if address is None:
            address = self._addresses[location] = self._new(location)
            self._cells[address] = (f"{address:#x}", *_place(location))
        return address


def _place(location: Location) -> tuple[str, ...]:
    function, line = location
    name = short(printable(function.name), _NAME_LIMIT)
    if not function.filename:
        return (name,)
    # Where Go has the distance from the function's first instruction, this is in lines.
    offset = max(line - function.start_line, 0)
    return f"{name}+{offset:#x}", f"{short(printable(function.filename), _NAME_LIMIT)}:{line}"


def _tabs(cell: str, widest: int) -> str:
    width = (widest + 1 + _TAB - 1) // _TAB * _TAB
    return "\t" * ((width - len(cell) + _TAB - 1) // _TAB)


def _labels(labels: Labels) -> str:
    if not labels:
        return ""
    pairs = ", ".join(f"{quoted(key)}:{quoted(str(value))}" for key, value in sorted(labels))
    return f"\n# labels: {{{short(pairs, _COMMENT_LIMIT)}}}"
