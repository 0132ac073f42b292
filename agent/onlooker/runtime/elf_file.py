"""What only the file of an image can tell: its sections and its full symbol table.

A second choice, for images that export no symbols. It needs the very file that is mapped, which may
be deleted, replaced or hidden.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final, cast

from .maps import DELETED, Region

RUNTIME_SECTION: Final = ".PyRuntime"
"""From 3.10 on, _PyRuntime has a section of its own and starts it (pycore_runtime.h)."""

_SYMBOL: Final = struct.Struct("<IBBHQQ")
_NAMES_LIMIT: Final = 64


@contextmanager
def mapped_file(pid: int, region: Region) -> Iterator[mmap.mmap]:
    """Open the file that `region` of process `pid` maps.

    Raises OSError if it can't be had: gone, replaced by another one, or not readable by us.
    """
    process = Path(f"/proc/{pid}")
    # The first path leads to the mapped inode itself, but asks for CAP_CHECKPOINT_RESTORE. The
    # others may stand for another file by now.
    for path in (
        process / f"map_files/{region.start:x}-{region.end:x}",
        process / "exe",
        process / ("root" + region.path.removesuffix(DELETED)),
    ):
        try:
            with path.open("rb") as file:
                if path.stat().st_ino != region.inode:
                    continue
                content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError):
            continue
        with content:
            yield content
        return
    raise FileNotFoundError(f"the file of {region.path} can't be read")


def file_symbols(content: mmap.mmap, names: Iterable[str]) -> dict[str, int]:
    """Look symbols up in an ELF file; return the addresses in the file of those found.

    `_PyRuntime` is also found by its section, .PyRuntime. Raises ValueError for a broken file.
    """
    # Imported here for its 60 ms, which are only spent when the process's memory had no answer.
    from elftools.common.exceptions import ELFError
    from elftools.construct.core import ConstructError
    from elftools.elf.elffile import ELFFile

    try:
        sections = {
            section.name: section for section in ELFFile(cast(IO[bytes], content)).iter_sections()
        }
        found: dict[str, int] = {}
        for table, strings in ((".symtab", ".strtab"), (".dynsym", ".dynstr")):
            if table in sections and strings in sections:
                span, text = _span(sections[table]), _span(sections[strings])
                for name in set(names) - set(found):
                    if address := _symbol(content, span, text, name):
                        found[name] = address
        if "_PyRuntime" not in found and RUNTIME_SECTION in sections:
            found["_PyRuntime"] = int(sections[RUNTIME_SECTION]["sh_addr"])
    except (ELFError, ConstructError, ArithmeticError, LookupError, TypeError) as error:
        raise ValueError(f"not a sound ELF file: {error}") from error
    return found


def _span(section: Any) -> tuple[int, int]:
    start = int(section["sh_offset"])
    return start, start + int(section["sh_size"])


def _symbol(
    content: mmap.mmap, symbols: tuple[int, int], strings: tuple[int, int], name: str
) -> int:
    """Find a symbol by searching the raw bytes: large tables have millions of entries."""
    spelled = name.encode() + b"\0"
    at = strings[0] - 1
    # A name may also be the end of a longer one, which the linker has merged with it.
    for _ in range(_NAMES_LIMIT):
        at = content.find(spelled, at + 1, strings[1])
        if at < 0:
            return 0
        name_offset = struct.pack("<I", at - strings[0])
        entry = content.find(name_offset, symbols[0], symbols[1])
        while entry >= 0:
            if (entry - symbols[0]) % _SYMBOL.size == 0 and entry + _SYMBOL.size <= len(content):
                _, _, _, section, value, _ = _SYMBOL.unpack_from(content, entry)
                if section:
                    return int(value)
            entry = content.find(name_offset, entry + 1, symbols[1])
    return 0
