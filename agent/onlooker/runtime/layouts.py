"""Which layout the structures of a given CPython have: the one place that knows version numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from onlooker.errors import UnsupportedPython

from .debug_offsets import DebugOffsets, Published
from .layout_rows import LINE_TABLE, NONE, ROWS, TABLE_SIZE
from .lines import LineTableKind

__all__ = ["NONE", "PUBLISHED_SIZE", "Layout", "resolve"]

# Enough bytes of _PyRuntime for the _Py_DebugOffsets of every version that has one.
PUBLISHED_SIZE: Final = max(TABLE_SIZE.values())
_SUPPORTED: Final = "CPython {}.{} to {}.{} are supported".format(*min(ROWS), *max(ROWS))
_RELEASE_CANDIDATE: Final = (
    0xC  # the release level in PY_VERSION_HEX: 0xA alpha, 0xB beta, 0xF final
)


class Layout(NamedTuple):
    """Where the fields of one CPython's structures lie.

    `version` is PY_VERSION_HEX. `offsets` has every column of layout_rows.py: offsets in bytes
    from the start of the structure that the name begins with, and facts; NONE where the version
    has no such thing.
    """

    version: int
    offsets: Mapping[str, int]
    line_table: LineTableKind


def require_supported(version: int) -> None:
    """Raise UnsupportedPython for a PY_VERSION_HEX without a row, and for alphas and betas.

    The structures of alpha and beta releases still change.
    """
    minor = version >> 24, version >> 16 & 0xFF
    name = "{}.{}.{}".format(*minor, version >> 8 & 0xFF)
    if minor not in ROWS:
        raise UnsupportedPython(f"the process runs Python {name}; {_SUPPORTED}")
    if version >> 4 & 0xF < _RELEASE_CANDIDATE:
        raise UnsupportedPython(f"the process runs a pre-release of Python {name}; {_SUPPORTED}")


def resolve(version: int, published: bytes | None) -> Layout:
    """The layout of the CPython with this PY_VERSION_HEX.

    `published` are the first PUBLISHED_SIZE bytes of its _PyRuntime, needed from 3.13 on and
    ignored before. Raises UnsupportedPython as require_supported does, for free-threaded builds,
    and for a table that can't be right.
    """
    require_supported(version)
    minor = version >> 24, version >> 16 & 0xFF
    table = None
    if minor in TABLE_SIZE:
        table = DebugOffsets(published or b"", version, TABLE_SIZE[minor])
    offsets = {}
    for column, place in ROWS[minor].items():
        if not isinstance(place, Published):
            offsets[column] = place
        elif table:
            offsets[column] = table.offset(column, place)
    return Layout(version, offsets, LINE_TABLE[minor])
