"""Counts what is in a pprof file, independently of the code that wrote it."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# profile.proto: Profile.sample = 2, .location = 4, .function = 5; Sample.value = 2
_SAMPLE, _LOCATION, _FUNCTION = 2, 4, 5
_SAMPLE_VALUE = 2


@dataclass(frozen=True)
class Contents:
    """The sizes of a profile."""

    samples: int
    """The sum of the first value of all samples."""
    stacks: int
    """The number of samples, each of a stack of its own."""
    locations: int
    functions: int


def count_samples(path: Path) -> int:
    """The sum of the first value of all samples."""
    return contents(path).samples


def contents(path: Path) -> Contents:
    """Reads a gzipped profile.

    :raises ValueError: if it isn't a well-formed protobuf message
    """
    samples = stacks = locations = functions = 0
    for number, payload in _fields(gzip.decompress(path.read_bytes())):
        if number == _SAMPLE and isinstance(payload, bytes):
            stacks += 1
            samples += _first_value(payload)
        locations += number == _LOCATION
        functions += number == _FUNCTION
    return Contents(samples, stacks, locations, functions)


def _first_value(sample: bytes) -> int:
    for number, payload in _fields(sample):
        if number == _SAMPLE_VALUE:
            # Packed, or one varint each: both are allowed for a repeated int64.
            return payload if isinstance(payload, int) else _varint(payload, 0)[0]
    return 0


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Each field's number with its varint, or with the bytes of what has a length."""
    position = 0
    while position < len(message):
        key, position = _varint(message, position)
        if key & 7 == 0:
            value, position = _varint(message, position)
            yield key >> 3, value
        elif key & 7 == 2:
            length, position = _varint(message, position)
            if position + length > len(message):
                raise ValueError("a field goes past the end of the message")
            yield key >> 3, message[position : position + length]
            position += length
        else:
            raise ValueError(f"unexpected wire type {key & 7}")


def _varint(message: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if position >= len(message) or shift > 63:
            raise ValueError("a varint goes past the end")
        byte = message[position]
        value |= (byte & 0x7F) << shift
        position += 1
        shift += 7
        if byte < 0x80:
            return value, position
