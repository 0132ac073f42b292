"""The Profile message of pprof.

It is written in batches: a protobuf message may be cut anywhere between two entries of its repeated
fields, and the parts may follow one another. So the memory needed doesn't grow with the number of
samples.
"""

from __future__ import annotations

import gzip
import re
from typing import Final

from onlooker.outputs import profile_pb2 as pb
from onlooker.outputs.addresses import MEMORY_LIMIT, MEMORY_START, Addresses
from onlooker.profile.model import Function, Labels, Location, Mapping, Profile, ValueType

MAPPING_ID: Final = 1
SAMPLES_PER_BATCH: Final = 500
_LABELS_KEPT: Final = 4096
_LOCATIONS_KEPT: Final = 1 << 16


class Encoder:
    """Gives ids to strings, functions and locations as they come, and writes batch after batch."""

    def __init__(self, file: gzip.GzipFile) -> None:
        self._file = file
        self._batch = pb.Profile()
        # Entry 0 of the string table must be the empty string.
        self._strings: dict[str, int] = {"": 0}
        self._functions: dict[Function, int] = {}
        self._locations: dict[int, int] = {}  # by function and line: there may be very many
        self._recent: dict[Location, int] = {}
        self._addresses = Addresses()
        self._labels: dict[Labels, list[pb.Label]] = {}
        self._label: dict[tuple[str, str | int], pb.Label] = {}

    def write(self, profile: Profile) -> None:
        """Write the whole message. An encoder writes one."""
        self._describe(profile)
        recent = self._recent
        for number, (stack, values, labels) in enumerate(profile.samples, start=1):
            self._batch.sample.add(
                location_id=[recent.get(at) or self._location(at) for at in stack],
                value=values,
                label=self._labels.get(labels) or self._add_labels(labels),
            )
            if number % SAMPLES_PER_BATCH == 0:
                self._flush()
        self._batch.string_table.extend(self._strings)
        self._flush()

    def _flush(self) -> None:
        self._file.write(self._batch.SerializeToString())
        # A new message, since a cleared one keeps the memory of all it ever held.
        self._batch = pb.Profile()

    def _describe(self, profile: Profile) -> None:
        batch = self._batch
        batch.sample_type.extend(self._value_type(wanted) for wanted in profile.sample_types)
        batch.period_type.CopyFrom(self._value_type(profile.period_type))
        batch.period = profile.period
        batch.time_nanos = profile.time_ns
        batch.duration_nanos = profile.duration_ns
        batch.comment.extend(self._string(comment) for comment in profile.comments)
        batch.default_sample_type = self._string(profile.default_sample_type)
        batch.mapping.append(self._mapping(profile.mapping))

    def _mapping(self, mapping: Mapping) -> pb.Mapping:
        # Without the flags, pprof would look for the file and warn about what it misses.
        return pb.Mapping(
            id=MAPPING_ID,
            memory_start=MEMORY_START,
            memory_limit=MEMORY_LIMIT,
            filename=self._string(mapping.file),
            build_id=self._string(mapping.build_id),
            has_functions=True,
            has_filenames=True,
            has_line_numbers=True,
        )

    def _value_type(self, value_type: ValueType) -> pb.ValueType:
        return pb.ValueType(type=self._string(value_type.type), unit=self._string(value_type.unit))

    def _string(self, text: str) -> int:
        # Protobuf wants UTF-8, which has no lone surrogates; file names may have some (PEP 383).
        if not text.isascii():
            text = text.encode("utf-8", "backslashreplace").decode("utf-8")
        return self._strings.setdefault(text, len(self._strings))

    def _location(self, location: Location) -> int:
        function, line = location
        function_id = self._functions.get(function) or self._add_function(function)
        key = function_id << 32 | line
        number = self._locations.get(key)
        if number is None:
            number = self._locations[key] = len(self._locations) + 1
            added = self._batch.location.add(
                id=number, mapping_id=MAPPING_ID, address=self._addresses.new(location)
            )
            added.line.add(function_id=function_id, line=line)
        if len(self._recent) >= _LOCATIONS_KEPT:
            self._recent.clear()
        self._recent[location] = number
        return number

    def _add_function(self, function: Function) -> int:
        number = self._functions[function] = len(self._functions) + 1
        self._batch.function.add(
            id=number,
            name=self._string(function.name),
            system_name=self._string(_undemangled(function)),
            filename=self._string(function.filename),
            start_line=function.start_line,
        )
        return number

    def _add_labels(self, labels: Labels) -> list[pb.Label]:
        if len(self._labels) >= _LABELS_KEPT:  # each request may have its own
            self._labels.clear()
        encoded = self._labels[labels] = [
            self._label.get(label) or self._add_label(label) for label in labels
        ]
        return encoded

    def _add_label(self, label: tuple[str, str | int]) -> pb.Label:
        if len(self._label) >= _LABELS_KEPT:
            self._label.clear()
        key, value = label
        name = self._string(key)
        if isinstance(value, str):
            encoded = pb.Label(key=name, str=self._string(value))
        else:
            # The unit is what pprof takes when there is none; with it, a 0 isn't lost.
            encoded = pb.Label(key=name, num=value, num_unit=name)
        self._label[label] = encoded
        return encoded


# What Go's demangler takes for a mangled name, or for C++ with template arguments and parameters to
# be cut out. A name with ".<" in it is left alone, as a Java constructor's.
_DEMANGLED: Final = re.compile(r"_+[ZR]|(?!.*\.<).*[<:(]")


def _undemangled(function: Function) -> str:
    """Return a system name with which ``go tool pprof`` leaves the function's name alone.

    If the two names are equal, it demangles them as C++, which makes ``<module>`` empty and
    ``_Z3foov`` ``foo``. If they differ, it doesn't, but with ``-symbolize=demangle=full`` it shows
    the system name instead, demangled. Without a system name it does neither.
    """
    system_name = function.system_name
    if system_name == function.name or _DEMANGLED.match(system_name):
        return ""
    return system_name
