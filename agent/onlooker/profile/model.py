"""The profile itself: what was sampled, where, how much. Pure data that every output writes.

The words are pprof's. The shape is simpler than its file format: no ids and no string table,
which are the format's own business, so that equal things here are simply equal.
All are tuples: there may be very many Samples, Functions and Locations are hashed millions of
times, and each dataclass would cost the start of the command a millisecond.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

Labels = tuple[tuple[str, str | int], ...]
"""Keys with their values, such as ``(("thread", "MainThread"), ("thread_id", "17"))``."""


class ValueType(NamedTuple):
    """What a number counts, for example ``cpu`` in ``nanoseconds``."""

    type: str
    unit: str


class Function(NamedTuple):
    """A code object, or a pseudo-function such as ``<12 frames omitted>``.

    ``name`` is for people and qualified by module (``json.decoder.JSONDecoder.decode``);
    ``system_name`` is the interpreter's own (co_qualname, before 3.11 co_name). ``filename`` is
    a path as the target sees it, ``start_line`` is co_firstlineno; both may be empty or 0.
    """

    name: str
    system_name: str
    filename: str
    start_line: int


class Location(NamedTuple):
    """A line of a function; 0 is an unknown line."""

    function: Function
    line: int


class Mapping(NamedTuple):
    """The target's program: its path as the target sees it, and its build id in hex or ``""``."""

    file: str
    build_id: str


class Sample(NamedTuple):
    """One stack, leaf first, with a value for each of the profile's sample types."""

    stack: tuple[Location, ...]
    values: tuple[int, ...]
    labels: Labels


class Profile(NamedTuple):
    """A whole profile of one kind.

    ``period`` is in units of ``period_type``; ``time_ns`` is the start of the recording since
    the Unix epoch. ``default_sample_type`` is the type of the sample type to be shown first;
    empty, tools show the last.
    """

    kind: str
    sample_types: tuple[ValueType, ...]
    period_type: ValueType
    period: int
    time_ns: int
    duration_ns: int
    samples: Sequence[Sample]
    comments: tuple[str, ...]
    mapping: Mapping
    default_sample_type: str = ""

    @property
    def default_index(self) -> int:
        """The index of the value to be shown first, among each sample's values."""
        for index, sample_type in enumerate(self.sample_types):
            if sample_type.type == self.default_sample_type:
                return index
        return len(self.sample_types) - 1
