"""A pprof file, ours or another tool's, back into a Profile.

Files come from anywhere, so everything is bounded: how large a file is before and after it is
unpacked, how many entries it has, and that its ids and indices lead somewhere. The message is
decoded in parts, since a few bytes of a protobuf message may take hundreds in memory.
"""

from __future__ import annotations

import gzip
import stat
import zlib
from collections.abc import Collection, Iterator
from itertools import chain
from pathlib import Path
from typing import Final, NamedTuple

from google.protobuf.message import DecodeError

from onlooker.errors import UnreadableProfile
from onlooker.outputs import profile_pb2 as pb
from onlooker.outputs.files import reason
from onlooker.profile.kinds import KINDS
from onlooker.profile.model import Function, Labels, Location, Mapping, Profile, Sample, ValueType

MAX_BYTES: Final = 256 << 20
"""The longest message, unpacked: several times what a million samples take."""
MAX_ENTRIES: Final = 4_000_000
"""The most samples, locations, functions and strings together."""

_GZIP_MAGIC: Final = b"\x1f\x8b"
_PART_BYTES: Final = 1 << 18

# Field numbers of Profile, and wire types (https://protobuf.dev/programming-guides/encoding/).
_SAMPLE: Final = 2
_TIME_NANOS: Final = 9
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_FIXED_SIZES: Final = {_FIXED64: 8, _FIXED32: 4}
_MAX_VARINT_BYTES: Final = 10


class _BadMessage(ValueError):
    """What is wrong with a message, to be completed by the file's name."""


def read(path: str | Path) -> Profile:
    """Return what the file holds; see ``parse``. Raises UnreadableProfile."""
    try:
        return parse(_unpacked(path))
    except _BadMessage as error:
        raise _unreadable(path, str(error)) from None


def comments(path: str | Path) -> tuple[str, ...]:
    """Return only the comments of a file, which is quicker. Raises UnreadableProfile."""
    try:
        return _Tables(_Parts(_unpacked(path)).rest).comments
    except _BadMessage as error:
        raise _unreadable(path, str(error)) from None


def parse(message: bytes) -> Profile:
    """Return the profile that an unpacked message is. Raises ValueError if it is none.

    A location with several lines (calls that were inlined) becomes as many locations, and one
    without any is named for its address. The kind is told by the sample types, and if they are no
    kind's of ours it is the type of the value to be shown first. What the model has no place for
    (further mappings, frames to be dropped, units of labels) is left out.
    """
    parts = _Parts(message)
    tables = _Tables(parts.rest)
    samples: list[Sample] = []
    for part in parts.samples():
        samples.extend(tables.samples(part))
    return tables.profile(samples)


def _unreadable(path: str | Path, why: str) -> UnreadableProfile:
    return UnreadableProfile(
        f"can't read {path} as a pprof profile: {why}",
        "Give a file that Onlooker wrote with --format pprof, or another tool's pprof file.",
    )


def _unpacked(path: str | Path) -> bytes:
    """Return the message in a file, which may be compressed. Raises UnreadableProfile."""
    try:
        with open(path, "rb") as file:
            # What has no end, such as /dev/zero, would be read up to the limit.
            if stat.S_ISDIR(Path(path).stat().st_mode):
                raise _unreadable(path, "it is a directory")
            packed = file.peek(2)[:2] == _GZIP_MAGIC
            source = gzip.GzipFile(fileobj=file) if packed else file
            message = source.read(MAX_BYTES + 1)
    except EOFError:
        raise _unreadable(path, "it is truncated") from None
    except (gzip.BadGzipFile, zlib.error):
        raise _unreadable(path, "its compressed data are damaged") from None
    except OSError as error:
        raise _unreadable(path, reason(error)) from None
    if len(message) > MAX_BYTES:
        raise _unreadable(path, f"it has more than {MAX_BYTES >> 20} MiB")
    return message


class _Parts:
    """A message cut between its entries: the samples, which are many, and all the rest."""

    def __init__(self, message: bytes) -> None:
        self._message = message
        self._samples: list[list[int]] = []  # start and end of runs of samples
        kept: list[bytes] = []
        times = 0
        for number, (field, start, end) in enumerate(_entries(message)):
            if number >= MAX_ENTRIES:
                raise _BadMessage(f"it has more than {MAX_ENTRIES} entries")
            if field != _SAMPLE:
                kept.append(message[start:end])
                times += field == _TIME_NANOS
            elif (
                self._samples
                and self._samples[-1][1] == start
                and end - self._samples[-1][0] <= _PART_BYTES
            ):
                self._samples[-1][1] = end
            else:
                self._samples.append([start, end])
        if times > 1:
            raise _BadMessage("it is several profiles, one behind the other")
        self.rest = _decoded(b"".join(kept))

    def samples(self) -> Iterator[pb.Profile]:
        for start, end in self._samples:
            yield _decoded(self._message[start:end])


def _entries(message: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield the field number, the start and the end of every entry on the message's top level."""
    position = 0
    while position < len(message):
        start = position
        tag, position = _varint(message, position)
        wire_type = tag & 7
        if wire_type == _VARINT:
            _, position = _varint(message, position)
        elif wire_type == _BYTES:
            length, position = _varint(message, position)
            position += length
        elif wire_type in _FIXED_SIZES:
            position += _FIXED_SIZES[wire_type]
        else:
            raise _BadMessage("it is no protobuf message")
        if position > len(message):
            raise _BadMessage("it is truncated, or no protobuf message")
        yield tag >> 3, start, position


def _varint(message: bytes, position: int) -> tuple[int, int]:
    """Return a number of variable length, and where it ends."""
    if position < len(message) and message[position] < 0x80:  # as most are
        return message[position], position + 1
    value = 0
    for index, byte in enumerate(message[position : position + _MAX_VARINT_BYTES]):
        value |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            return value, position + index + 1
    raise _BadMessage("it is truncated, or no protobuf message")


def _decoded(message: bytes) -> pb.Profile:
    try:
        return pb.Profile.FromString(message)
    except DecodeError:
        raise _BadMessage("it is no message of pprof's") from None


class _Header(NamedTuple):
    sample_types: tuple[ValueType, ...]
    default_sample_type: str


class _Tables:
    """What samples refer to: strings, functions and locations by their ids."""

    def __init__(self, message: pb.Profile) -> None:
        self._message = message
        self._strings = list(message.string_table)
        if not self._strings or self._strings[0]:
            raise _BadMessage("its string table doesn't begin with the empty string")
        self.comments = tuple(self._text(index) for index in message.comment)
        self._header = _Header(
            tuple(self._value_type(entry) for entry in message.sample_type),
            self._text(message.default_sample_type),
        )
        if not self._header.sample_types:
            raise _BadMessage("it has no sample types")
        self._mappings = {entry.id: self._text(entry.filename) for entry in message.mapping}
        self._functions = self._read_functions()
        self._locations = self._read_locations()

    def profile(self, samples: list[Sample]) -> Profile:
        message, header = self._message, self._header
        mapping = Mapping("", "")
        if message.mapping:
            first = message.mapping[0]
            mapping = Mapping(self._text(first.filename), self._text(first.build_id))
        return Profile(
            kind=_kind(header, self.comments),
            sample_types=header.sample_types,
            period_type=self._value_type(message.period_type),
            period=message.period,
            time_ns=message.time_nanos,
            duration_ns=message.duration_nanos,
            samples=samples,
            comments=self.comments,
            mapping=mapping,
            default_sample_type=header.default_sample_type,
        )

    def samples(self, part: pb.Profile) -> Iterator[Sample]:
        width, locations = len(self._header.sample_types), self._locations.__getitem__
        for entry in part.sample:
            values = tuple(entry.value)
            if len(values) != width:
                raise _BadMessage(f"it has a sample with {len(values)} values instead of {width}")
            try:
                stack = tuple(chain.from_iterable(map(locations, entry.location_id)))
            except KeyError:
                raise _BadMessage("it has a sample at a location that isn't there") from None
            yield Sample(stack, values, self._labels(entry))

    def _labels(self, entry: pb.Sample) -> Labels:
        labels: list[tuple[str, str | int]] = []
        for label in entry.label:
            if index := label.str:
                labels.append((self._text(label.key), self._text(index)))
            elif (number := label.num) or label.num_unit:
                labels.append((self._text(label.key), number))
            # One with neither text nor number is no label: pprof doesn't see it either.
        return tuple(labels)

    def _read_functions(self) -> dict[int, Function]:
        functions = {
            entry.id: Function(
                self._text(entry.name),
                self._text(entry.system_name),
                self._text(entry.filename),
                entry.start_line,
            )
            for entry in self._message.function
        }
        _check_ids("function", functions, len(self._message.function))
        return functions

    def _read_locations(self) -> dict[int, tuple[Location, ...]]:
        locations: dict[int, tuple[Location, ...]] = {}
        for entry in self._message.location:
            try:
                found = tuple(
                    Location(self._functions[line.function_id], line.line) for line in entry.line
                )
            except KeyError:
                raise _BadMessage("it has a line of a function that isn't there") from None
            locations[entry.id] = found or (self._unnamed(entry),)
        _check_ids("location", locations, len(self._message.location))
        return locations

    def _unnamed(self, entry: pb.Location) -> Location:
        name = f"{entry.address:#x}"
        return Location(Function(name, name, self._mappings.get(entry.mapping_id, ""), 0), 0)

    def _value_type(self, entry: pb.ValueType) -> ValueType:
        return ValueType(self._text(entry.type), self._text(entry.unit))

    def _text(self, index: int) -> str:
        if not 0 <= index < len(self._strings):
            raise _BadMessage("it names a string that isn't there")
        return self._strings[index]


def _check_ids(what: str, entries: Collection[int], count: int) -> None:
    if 0 in entries or len(entries) != count:
        raise _BadMessage(f"a {what}'s id is 0 or given twice")


def _kind(header: _Header, comments: tuple[str, ...]) -> str:
    """Return the kind of profile; kinds of the same sample types are told by their comments."""
    alike = [
        kind
        for kind in KINDS.values()
        if kind.sample_types == header.sample_types
        and kind.default_sample_type == header.default_sample_type
    ]
    for kind in alike:
        if kind.note and kind.note in comments:
            return kind.name
    if alike:
        return alike[0].name
    return header.default_sample_type or header.sample_types[-1].type
