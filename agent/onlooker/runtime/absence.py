"""Why no CPython was found in a process: what it is instead, as far as that can be told."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from onlooker.errors import MemoryFault, NotPython, NotReady, OnlookerError, UnsupportedPython
from onlooker.memory import Memory

from .elf import LoadedElf
from .identity import Identity
from .layouts import require_supported
from .maps import Region, is_writable
from .version import version_in_banner

_OTHER_PYTHONS: Final = {
    "pypy": "PyPy",
    "libpypy": "PyPy",
    "graalpy": "GraalPy",
    "libpythonvm": "GraalPy",
    "micropython": "MicroPython",
}
_TRY_AGAIN: Final = "Try again when the program has started."
_CLASS_32: Final = b"\x7fELF\x01"


def explain_absence(
    identity: Identity,
    memory: Memory,
    regions: Sequence[Region],
    images: Sequence[tuple[Region, LoadedElf]],
) -> OnlookerError:
    """Return the error that says what the process is in place of a CPython that we can read."""
    what = f"process {identity.pid} ({identity.executable})"
    for region in regions:
        for prefix, name in _OTHER_PYTHONS.items():
            if region.name.startswith(prefix):
                return UnsupportedPython(f"{what} runs {name}; only CPython is supported")
    looks_like_python = any(r.name.startswith(("python", "libpython")) for r in regions)
    if _is_32_bit(memory, regions):
        if looks_like_python:
            return UnsupportedPython(f"{what} runs a 32-bit Python; only 64-bit ones are supported")
        return NotPython(f"{what} is a 32-bit program, and not Python")
    try:
        for _, image in images:
            exported = image.symbols(["Py_GetVersion", "_PyRuntime"])
            if "Py_GetVersion" in exported and (
                version := version_in_banner(memory, image.writable)
            ):
                require_supported(version)
                if "_PyRuntime" in exported:  # which it didn't have a moment ago
                    return NotReady(f"{what} is just starting", _TRY_AGAIN)
        if missing := _library_to_come(regions, images):
            return NotReady(f"{what} is just starting: {missing} isn't loaded yet", _TRY_AGAIN)
    except UnsupportedPython as error:
        return error
    except MemoryFault:
        pass
    if looks_like_python:
        return UnsupportedPython(
            f"{what} looks like Python, but its _PyRuntime can't be found: it exports no symbols"
            " and its file can't be read or has none",
            "Run the command as root, which can read files that were deleted or are hidden.",
        )
    return NotPython(f"{what} is not a Python process", "`onlooker list` shows those that are.")


def _is_32_bit(memory: Memory, regions: Sequence[Region]) -> bool:
    with suppress(MemoryFault):
        for region in regions:
            if region.offset == 0 and region.inode and "r" in region.permissions:
                start = memory.read(region.start, len(_CLASS_32))
                if start.startswith(b"\x7fELF"):
                    return start == _CLASS_32
    return False


def _library_to_come(regions: Sequence[Region], images: Sequence[tuple[Region, LoadedElf]]) -> str:
    """Return the libpython that an image needs and that isn't loaded yet, or an empty string."""
    # The dynamic loader maps a library piece by piece, and its .bss last.
    loaded = {
        region.name
        for region, image in images
        if all(is_writable(regions, end - 1) for _, end in image.writable)
    }
    for _, image in images:
        for library in image.needed:
            if library.startswith("libpython") and library not in loaded:
                return library
    return ""
