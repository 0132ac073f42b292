"""Which version of CPython an image holds, for all the ways in which the versions tell it."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Sequence
from typing import Final

from onlooker.errors import MemoryFault
from onlooker.memory import Memory

from .elf import LoadedElf

_LEVELS: Final = {"a": 0xA, "b": 0xB, "rc": 0xC, "": 0xF}
_LEVEL_NAMES: Final = {value: name for name, value in _LEVELS.items()}

# What Py_GetVersion() has written into its static buffer: "3.8.18 (default, May  1 2026, 10:00:00)
# \n[GCC 12.2.0]", with conda "3.8.18 | packaged by conda-forge | (default, ...".
# It begins with a plain byte, for which the search is a hundred times as fast as for a choice.
_BANNERS: Final = tuple(
    re.compile(
        major + rb"(?<![\w.].)\.(\d{1,2})\.(\d{1,3})(?:(a|b|rc)(\d{1,2}))?\+? [^\0]{0,160}\) \n?\["
    )
    for major in (b"3", b"2")
)
# Where the minor version alone can be read: libpython3.8.so.1.0, /lib/python3.8/os.py,
# _json.cpython-38-x86_64-linux-gnu.so.
_IN_PATHS: Final = (
    re.compile(r"(?:^|/)(?:lib)?python([23])\.(\d{1,2})(?![\d])"),
    re.compile(r"\.cpython-([23])(\d{1,2})-"),
)
_SCAN_LIMIT_BYTES: Final = 32 << 20
_SCAN_PIECE_BYTES: Final = 1 << 20
_SCAN_OVERLAP_BYTES: Final = 512


def version_hex(major: int, minor: int, micro: int = 0, level: str = "", serial: int = 0) -> int:
    """Return PY_VERSION_HEX; `level` is one of a, b, rc and the empty string (a final release)."""
    return major << 24 | minor << 16 | micro << 8 | _LEVELS[level] << 4 | serial


def version_text(version: int) -> str:
    """Return a PY_VERSION_HEX as people write it, for example 3.8.18 or 3.15.0rc1."""
    text = f"{version >> 24 & 0xFF}.{version >> 16 & 0xFF}.{version >> 8 & 0xFF}"
    level = _LEVEL_NAMES.get(version >> 4 & 0xF, "")
    return f"{text}{level}{version & 0xF}" if level else text


def version_of(memory: Memory, image: LoadedElf, py_version: int, paths: Iterable[str]) -> int:
    """Return the PY_VERSION_HEX of the Python in `image`, or 0.

    `py_version` is the address of the symbol Py_Version, exported from 3.11 on, or 0. Before that
    the text that Py_GetVersion() has composed in .bss tells the version. If neither is there, the
    minor version comes from the library's name or the mapped `paths`, with 0 for the micro version.
    """
    if py_version:
        (version,) = struct.unpack("<Q", memory.read(py_version, 8))
        return int(version)
    return version_in_banner(memory, image.writable) or version_in_paths([image.soname, *paths])


def version_in_banner(memory: Memory, spans: Sequence[tuple[int, int]]) -> int:
    """Search (start, end) address spans for the text of Py_GetVersion(); return 0 if not found."""
    for start, end in spans:
        tail = b""
        for at in range(start, min(end, start + _SCAN_LIMIT_BYTES), _SCAN_PIECE_BYTES):
            try:
                piece = tail + memory.read(at, min(_SCAN_PIECE_BYTES, end - at))
            except MemoryFault:
                break
            for banner in _BANNERS:
                if match := banner.search(piece):
                    minor, micro, level, serial = match.groups(b"")
                    return version_hex(
                        match[0][0] - ord("0"),
                        int(minor),
                        int(micro),
                        level.decode(),
                        int(serial or b"0"),
                    )
            tail = piece[-_SCAN_OVERLAP_BYTES:]
    return 0


def version_in_paths(paths: Iterable[str]) -> int:
    """Return the version that file names tell, with 0 for the micro version, or 0."""
    for path in paths:
        for pattern in _IN_PATHS:
            if match := pattern.search(path):
                return version_hex(int(match[1]), int(match[2]))
    return 0
