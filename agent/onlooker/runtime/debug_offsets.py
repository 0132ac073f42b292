"""The table of its own structures that CPython 3.13 and later publish: _Py_DebugOffsets.

It lies at the start of _PyRuntime: the cookie `xdebugpy`, PY_VERSION_HEX, 1 in a free-threaded
build else 0, then the offsets and sizes, all 8 bytes (Include/internal/pycore_debug_offsets.h).
The table doesn't change between patch releases of a minor version, while its values do.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from onlooker.errors import UnsupportedPython

COOKIE: Final = b"xdebugpy"
_HEADER: Final = struct.Struct("<8sQQ")
# The largest structure is _PyRuntimeState, 0.3 MiB in 3.15.
_MAX_STRUCTURE_BYTES: Final = 1 << 24


class Published(NamedTuple):
    """Where the table has a field's offset, the size of its structure, and how wide the field is.

    `base_at` is the place of the offset that this one counts from, 0 for none. All in bytes.
    """

    at: int
    size_at: int
    width: int
    base_at: int = 0


class DebugOffsets:
    """The table as a process published it: untrusted, so each offset is checked when asked for.

    Raises UnsupportedPython unless the table belongs to `version` (PY_VERSION_HEX) and is at least
    `size` bytes long, and for free-threaded builds.
    """

    def __init__(self, table: bytes, version: int, size: int) -> None:
        if len(table) < size:
            raise UnsupportedPython(f"_Py_DebugOffsets has {len(table)} bytes instead of {size}")
        cookie, published_version, free_threaded = _HEADER.unpack_from(table)
        if cookie != COOKIE:
            raise UnsupportedPython(f"_Py_DebugOffsets begins with {cookie!r}, not {COOKIE!r}")
        if published_version != version:
            raise UnsupportedPython(
                f"_Py_DebugOffsets is of version {published_version:#x}, not {version:#x}"
            )
        if free_threaded:
            raise UnsupportedPython(
                "this is a free-threaded build of Python, which isn't supported yet",
                "Run the program with the build that has the GIL.",
            )
        self._table = table[:size]

    def offset(self, column: str, field: Published) -> int:
        """The field's offset in bytes; raises UnsupportedPython if it isn't in its structure."""
        offset, size = self._word(field.at), self._word(field.size_at)
        base = self._word(field.base_at) if field.base_at else 0
        if size > _MAX_STRUCTURE_BYTES or not base <= offset <= size - field.width:
            raise UnsupportedPython(
                f"_Py_DebugOffsets has {column} at {offset:#x} of a structure of {size:#x} bytes"
            )
        return offset - base

    def _word(self, at: int) -> int:
        (word,) = struct.unpack_from("<Q", self._table, at)
        return int(word)
