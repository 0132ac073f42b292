"""An ELF image as it lies in a process's memory.

Program headers, the dynamic section, the GNU hash table and the symbols are all in loaded segments,
so a symbol is found without any file: the file may be deleted, replaced, stripped, or in another
mount namespace. The few words needed are read with `struct` and not with pyelftools, whose import
alone takes longer (60 ms) than finding the interpreter, and which trusts the tables that it walks.
Formats: the System V ABI, chapters 4 and 5, and elf.h of glibc.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from functools import cached_property
from typing import Final, NamedTuple

from onlooker.errors import MemoryFault
from onlooker.memory import Memory

PT_LOAD: Final = 1
PT_DYNAMIC: Final = 2
PT_NOTE: Final = 4
DT_NULL: Final = 0
DT_NEEDED: Final = 1
DT_STRTAB: Final = 5
DT_SYMTAB: Final = 6
DT_SONAME: Final = 14
DT_GNU_HASH: Final = 0x6FFFFEF5
NT_GNU_BUILD_ID: Final = 3
PF_W: Final = 2
CLASS_64: Final = 2

_HEADER: Final = struct.Struct("<4sBB10xHHIQQQIHHH")
_SEGMENT: Final = struct.Struct("<IIQQQQQQ")
_DYNAMIC: Final = struct.Struct("<qQ")
_GNU_HASH: Final = struct.Struct("<IIII")
_SYMBOL: Final = struct.Struct("<IBBHQQ")
_NOTE: Final = struct.Struct("<III")

_SEGMENTS_LIMIT: Final = 64
_DYNAMIC_LIMIT_BYTES: Final = 64 << 10
_NOTES_LIMIT_BYTES: Final = 64 << 10
_CHAIN_LIMIT: Final = 4096
_NAME_LIMIT_BYTES: Final = 512
_MAPPED_OFFSET_LIMIT: Final = 64 << 10  # the largest page of any Linux


class Segment(NamedTuple):
    """A program header; addresses are those of the file, without the load bias."""

    type: int
    flags: int
    offset: int
    address: int
    file_size: int
    memory_size: int


class LoadedElf:
    """A little-endian 64-bit ELF image whose first byte lies at `base`.

    Raises ValueError when there is no such image, and MemoryFault when it can't be read.
    """

    def __init__(self, memory: Memory, base: int) -> None:
        self._memory = memory
        self.base = base
        header = _HEADER.unpack(memory.read(base, _HEADER.size))
        magic, elf_class, byte_order, _, self.machine, _, _, segments_at = header[:8]
        segment_size, segment_count = header[11], header[12]
        if magic != b"\x7fELF" or elf_class != CLASS_64 or byte_order != 1:
            raise ValueError("not a little-endian 64-bit ELF image")
        if segment_size != _SEGMENT.size or not 0 < segment_count <= _SEGMENTS_LIMIT:
            raise ValueError("the ELF header doesn't describe its segments")
        raw = memory.read(base + segments_at, segment_size * segment_count)
        self.segments = [
            Segment(s[0], s[1], s[2], s[3], s[5], s[6]) for s in _SEGMENT.iter_unpack(raw)
        ]
        loaded = [s for s in self.segments if s.type == PT_LOAD]
        first = min(loaded, key=lambda s: s.address, default=None)
        if first is None or first.offset >= _MAPPED_OFFSET_LIMIT:
            raise ValueError("the image's first bytes aren't part of a loaded segment")
        self.bias = base - (first.address - first.offset)
        self.end = self.bias + max(s.address + s.memory_size for s in loaded)

    @property
    def writable(self) -> list[tuple[int, int]]:
        """The (start, end) addresses of the data segments, .bss included."""
        return [
            (self.bias + s.address, self.bias + s.address + s.memory_size)
            for s in self.segments
            if s.type == PT_LOAD and s.flags & PF_W
        ]

    @cached_property
    def _dynamic(self) -> list[tuple[int, int]]:
        for segment in self.segments:
            if segment.type == PT_DYNAMIC:
                length = min(segment.memory_size, _DYNAMIC_LIMIT_BYTES)
                raw = self._memory.read(self.bias + segment.address, length - length % 16)
                entries = list(_DYNAMIC.iter_unpack(raw))
                tags = [tag for tag, _ in entries]
                return entries[: tags.index(DT_NULL)] if DT_NULL in tags else entries
        return []

    def _table(self, tag: int) -> int | None:
        """The address of a table of the dynamic section."""
        for key, value in self._dynamic:
            if key == tag:
                # glibc has replaced the file's addresses by the process's; musl leaves them, and
                # so does glibc before it has come to this image.
                return value if self.base <= value < self.end else value + self.bias
        return None

    def _string(self, offset: int) -> str:
        table = self._table(DT_STRTAB)
        if table is None:
            return ""
        return read_c_string(self._memory, table + offset).decode(errors="replace")

    @property
    def soname(self) -> str:
        """The library's own name (DT_SONAME), or an empty string."""
        return next((self._string(value) for tag, value in self._dynamic if tag == DT_SONAME), "")

    @property
    def needed(self) -> list[str]:
        """The libraries that the dynamic loader loads for this image (DT_NEEDED)."""
        return [self._string(value) for tag, value in self._dynamic if tag == DT_NEEDED]

    def symbols(self, names: Iterable[str]) -> dict[str, int]:
        """Look exported symbols up in the GNU hash table; return the addresses of those found."""
        hash_at, symbols_at = self._table(DT_GNU_HASH), self._table(DT_SYMTAB)
        strings_at = self._table(DT_STRTAB)
        if hash_at is None or symbols_at is None or strings_at is None:
            return {}
        table = _GnuHash(self._memory, hash_at)
        found = {}
        for name in names:
            for index in table.candidates(name):
                symbol = self._memory.read(symbols_at + _SYMBOL.size * index, _SYMBOL.size)
                name_offset, _, _, section, value, _ = _SYMBOL.unpack(symbol)
                spelled = name.encode() + b"\0"
                # Section 0 means that the image only uses the symbol.
                if section and self._memory.read(strings_at + name_offset, len(spelled)) == spelled:
                    found[name] = self.bias + value
                    break
        return found

    @cached_property
    def build_id(self) -> str:
        """The build id in hexadecimal, or an empty string if the image has none."""
        for segment in self.segments:
            if segment.type == PT_NOTE:
                length = min(segment.memory_size, _NOTES_LIMIT_BYTES)
                try:
                    notes = self._memory.read(self.bias + segment.address, length)
                except MemoryFault:
                    continue
                if build_id := build_id_in_notes(notes):
                    return build_id
        return ""


class _GnuHash:
    """The hash table of DT_GNU_HASH: bloom filter, buckets, chains."""

    def __init__(self, memory: Memory, address: int) -> None:
        self._memory = memory
        header = _GNU_HASH.unpack(memory.read(address, _GNU_HASH.size))
        self._bucket_count, self._first_symbol, self._bloom_words, self._bloom_shift = header
        self._bloom_at = address + _GNU_HASH.size
        self._buckets_at = self._bloom_at + 8 * self._bloom_words
        self._chains_at = self._buckets_at + 4 * self._bucket_count

    def candidates(self, name: str) -> Iterable[int]:
        """Yield the indexes of the symbols whose hash is that of `name`."""
        hashed = gnu_hash(name)
        if not self._bucket_count or not self._may_have(hashed):
            return
        index = self._word(self._buckets_at + 4 * (hashed % self._bucket_count))
        if index < self._first_symbol:
            return
        for symbol in range(index, index + _CHAIN_LIMIT):
            link = self._word(self._chains_at + 4 * (symbol - self._first_symbol))
            # The lowest bit of a link is not part of the hash: it marks the end of the chain.
            if link | 1 == hashed | 1:
                yield symbol
            if link & 1:
                return

    def _may_have(self, hashed: int) -> bool:
        if not self._bloom_words:
            return True
        at = self._bloom_at + 8 * (hashed // 64 % self._bloom_words)
        bits = int.from_bytes(self._memory.read(at, 8), "little")
        return bool(bits >> hashed % 64 & bits >> (hashed >> self._bloom_shift) % 64 & 1)

    def _word(self, address: int) -> int:
        return int.from_bytes(self._memory.read(address, 4), "little")


def gnu_hash(name: str) -> int:
    """The hash function of DT_GNU_HASH: Bernstein's, with 32 bits."""
    hashed = 5381
    for byte in name.encode():
        hashed = (hashed * 33 + byte) & 0xFFFFFFFF
    return hashed


def build_id_in_notes(notes: bytes) -> str:
    """Return the GNU build id among the notes of a PT_NOTE segment, or an empty string."""
    at = 0
    while at + _NOTE.size <= len(notes):
        name_size, size, kind = _NOTE.unpack_from(notes, at)
        name_at = at + _NOTE.size
        data_at = name_at + (name_size + 3 & ~3)
        if kind == NT_GNU_BUILD_ID and notes[name_at : name_at + name_size] == b"GNU\0":
            return notes[data_at : data_at + size].hex()
        at = data_at + (size + 3 & ~3)
    return ""


def read_c_string(memory: Memory, address: int) -> bytes:
    """Read up to the NUL byte, at most 512 bytes."""
    piece_bytes = 64
    text = b""
    while len(text) < _NAME_LIMIT_BYTES:
        # Pieces end at multiples of their size, so that none crosses into an unmapped page.
        length = piece_bytes - (address + len(text)) % piece_bytes
        piece, end, _ = memory.read(address + len(text), length).partition(b"\0")
        text += piece
        if end:
            break
    return text
