"""What only the file of an image can tell: its sections and its full symbol table.

A second choice, for images that export no symbols. It needs the very file that is mapped, which may
be deleted, replaced or hidden.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final

from .maps import DELETED, Region

RUNTIME_SECTION: Final = ".PyRuntime"
"""From 3.10 on, _PyRuntime has a section of its own and starts it (pycore_runtime.h)."""

_SYMBOL: Final = struct.Struct("<IBBHQQ")
_NAMES_LIMIT: Final = 64
_SECTION_LIMIT_BYTES: Final = 256 << 20


@contextmanager
def mapped_file(pid: int, region: Region) -> Iterator[IO[bytes]]:
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
            if path.stat().st_ino != region.inode:
                continue
            file = path.open("rb")
        except OSError:
            continue
        with file:
            yield file
        return
    raise FileNotFoundError(f"the file of {region.path} can't be read")


def file_symbols(file: IO[bytes], names: Iterable[str]) -> dict[str, int]:
    """Look symbols up in an ELF file; return the addresses in the file of those found.

    `_PyRuntime` is also found by its section, .PyRuntime. Raises OSError, and ValueError for a
    broken file.
    """
    # Imported here for its 60 ms, which are only spent when the process's memory had no answer.
    from elftools.common.exceptions import ELFError
    from elftools.construct.core import ConstructError
    from elftools.elf.elffile import ELFFile

    try:
        sections = {section.name: section for section in ELFFile(file).iter_sections()}
        found: dict[str, int] = {}
        for table, strings in ((".symtab", ".strtab"), (".dynsym", ".dynstr")):
            if table in sections and strings in sections:
                symbols, text = _content(file, sections[table]), _content(file, sections[strings])
                for name in set(names) - set(found):
                    if address := _symbol(symbols, text, name):
                        found[name] = address
        if "_PyRuntime" not in found and RUNTIME_SECTION in sections:
            found["_PyRuntime"] = int(sections[RUNTIME_SECTION]["sh_addr"])
    except (ELFError, ConstructError, ArithmeticError, LookupError, TypeError) as error:
        raise ValueError(f"not a sound ELF file: {error}") from error
    return found


def _content(file: IO[bytes], section: Any) -> bytes:
    if section["sh_size"] > _SECTION_LIMIT_BYTES:
        return b""
    file.seek(section["sh_offset"])
    return file.read(section["sh_size"])


def _symbol(symbols: bytes, strings: bytes, name: str) -> int:
    """Find a symbol by searching the raw bytes: large tables have millions of entries."""
    spelled = name.encode() + b"\0"
    at = -1
    # A name may also be the end of a longer one, which the linker has merged with it.
    for _ in range(_NAMES_LIMIT):
        at = strings.find(spelled, at + 1)
        if at < 0:
            break
        name_offset = struct.pack("<I", at)
        entry = symbols.find(name_offset)
        while entry >= 0:
            if entry % _SYMBOL.size == 0 and entry + _SYMBOL.size <= len(symbols):
                _, _, _, section, value, _ = _SYMBOL.unpack_from(symbols, entry)
                if section:
                    return int(value)
            entry = symbols.find(name_offset, entry + 1)
    return 0
