"""ELF images in memory, compared with what pyelftools reads from their files."""

import os
import random
from pathlib import Path
from typing import Any

import pytest
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection
from onlooker.errors import MemoryFault
from onlooker.memory import ProcessMemory
from onlooker.runtime.elf import LoadedElf, build_id_in_notes, gnu_hash
from onlooker.runtime.elf_file import file_symbols
from onlooker.runtime.maps import Region, image_starts, read_maps


def own_images() -> list[Region]:
    images = image_starts(read_maps(os.getpid()), "")
    return [image for image in images if Path(image.path).exists()]


def libc() -> Region:
    return next(image for image in own_images() if image.name.startswith("libc.so"))


def dynamic_symbols(path: str) -> dict[str, Any]:
    with Path(path).open("rb") as file:
        table = ELFFile(file).get_section_by_name(".dynsym")
        assert isinstance(table, SymbolTableSection)
        return {symbol.name: symbol.entry for symbol in table.iter_symbols()}


def test_every_exported_symbol_of_the_c_library() -> None:
    region = libc()
    exported = {
        name: entry["st_value"]
        for name, entry in dynamic_symbols(region.path).items()
        if entry["st_shndx"] != "SHN_UNDEF" and entry["st_info"]["type"] == "STT_FUNC"
    }
    assert len(exported) > 1000
    image = LoadedElf(ProcessMemory(os.getpid()), region.start)
    found = image.symbols(exported)
    # A name can have several versions at different addresses; the table holds each.
    versioned = {name for name in exported if found[name] - image.bias != exported[name]}
    assert set(found) == set(exported)
    assert len(versioned) < len(exported) / 20


def test_symbols_that_an_image_uses_or_does_not_have() -> None:
    region = next(image for image in own_images() if image.name.startswith(("libpython", "python")))
    undefined = [
        name
        for name, entry in dynamic_symbols(region.path).items()
        if name and entry["st_shndx"] == "SHN_UNDEF"
    ]
    image = LoadedElf(ProcessMemory(os.getpid()), region.start)
    assert undefined
    assert image.symbols(undefined) == {}
    assert image.symbols(["", "_PyRuntim", "_PyRuntimeX", "x" * 300]) == {}


def test_build_ids_and_names() -> None:
    memory = ProcessMemory(os.getpid())
    with_build_id = 0
    for region in own_images():
        image = LoadedElf(memory, region.start)
        with Path(region.path).open("rb") as file:
            elf: Any = ELFFile(file)
            build_ids = [
                note["n_desc"]
                for segment in elf.iter_segments("PT_NOTE")
                for note in segment.iter_notes()
                if note["n_type"] == "NT_GNU_BUILD_ID"
            ]
            dynamic = elf.get_section_by_name(".dynamic")
            needed = [tag.needed for tag in dynamic.iter_tags("DT_NEEDED")]
            sonames = [tag.soname for tag in dynamic.iter_tags("DT_SONAME")]
        assert [image.build_id] == (build_ids or [""])
        assert image.needed == needed
        assert [image.soname] == (sonames or [""])
        with_build_id += bool(build_ids)
    assert with_build_id


def test_file_symbols() -> None:
    region = libc()
    names = ["qsort", "environ", "no_such_symbol"]
    expected = dynamic_symbols(region.path)
    with Path(region.path).open("rb") as file:
        found = file_symbols(file, names)
    assert found == {name: expected[name]["st_value"] for name in names[:2]}


def test_file_that_is_no_elf(tmp_path: Path) -> None:
    path = tmp_path / "x"
    for content in (b"", b"\x7fELF", b"\x7fELF\2\1\1" + b"\xff" * 100, b"#!/bin/sh\n" * 20):
        path.write_bytes(content)
        with path.open("rb") as file, pytest.raises(ValueError):
            file_symbols(file, ["_PyRuntime"])


def test_hash_function() -> None:
    # The examples of the description of DT_GNU_HASH by its authors.
    assert gnu_hash("") == 0x00001505
    assert gnu_hash("printf") == 0x156B2BB8
    assert gnu_hash("flapenguin.me") == 0x8AE9F18E


def test_notes_that_end_too_early() -> None:
    note = bytes.fromhex("04000000 04000000 03000000") + b"GNU\0" + b"\1\2\3\4"
    assert build_id_in_notes(bytes(12) + note) == "01020304"
    for length in range(len(note) - 4):
        assert build_id_in_notes(note[:length]) == ""


class Corrupted:
    """A copy of an image's memory with words exchanged for others."""

    def __init__(self, pieces: dict[int, bytes]) -> None:
        self.pieces = pieces
        self.reads = 0

    def read(self, address: int, length: int) -> bytes:
        self.reads += 1
        for start, piece in self.pieces.items():
            if start <= address and 0 <= length <= start + len(piece) - address:
                return piece[address - start : address - start + length]
        raise MemoryFault(f"{length} bytes at {address:#x}")


def test_corrupted_images_are_bounded() -> None:
    base = libc().start
    memory = ProcessMemory(os.getpid())
    image = LoadedElf(memory, base)
    pieces = {
        start: memory.read(start, min(end - start, 1 << 18))
        for start, end in [(base, image.end), *image.writable]
    }
    # Where what locates the tables lies: the headers, the dynamic section, the hash table's head.
    rng = random.Random(1)
    places = [
        *((base, at) for at in range(0, 1024, 4)),
        *((start, at) for start, _ in image.writable for at in range(0, 1 << 14, 4)),
        *((base, at) for at in range(1024, 4096, 4)),
    ]
    values = [0, 1, 2, 3, 5, 6, 0x6FFFFEF5, 0x7FFFFFFF, 0xFFFFFFFF, base & 0xFFFFFFFF]
    found = 0
    for _ in range(2000):
        copy = {start: bytearray(piece) for start, piece in pieces.items()}
        for start, at in rng.choices(places, k=rng.choice((1, 3, 30))):
            word = rng.choice(values) if rng.random() < 0.7 else rng.getrandbits(32)
            copy[start][at : at + 4] = word.to_bytes(4, "little")
        corrupted = Corrupted({start: bytes(piece) for start, piece in copy.items()})
        try:
            broken = LoadedElf(corrupted, base)
            found += len(broken.symbols(["qsort", "environ"]))
            broken.build_id, broken.soname, broken.needed, broken.writable  # noqa: B018
        except (ValueError, MemoryFault):
            pass
        assert corrupted.reads < 50_000
    assert found
