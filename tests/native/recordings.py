"""Recordings: the memory that the recorder read of a process, and what the process said it does.

A recording is a zip file of three parts: `recording.json` (the version and the addresses that it
takes to begin), `pages` (their addresses, 8 bytes each, then 4096 bytes each) and `stacks.txt`
(what the process itself said).
"""

import dataclasses
import json
import struct
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from onlooker._native import ffi, lib
from onlooker.observe.recorder import native_layout
from onlooker.runtime.layouts import Layout, resolve

from tests.interpreters import ROOT

FOLDER: Final = ROOT / "tests" / "recordings"
PAGE_BYTES: Final = 4096

#: As old as a zip file can be, so that equal recordings are equal files.
_TIME: Final = (1980, 1, 1, 0, 0, 0)


@dataclasses.dataclass(frozen=True)
class Recording:
    """`version` is PY_VERSION_HEX, `pages` maps addresses to 4096 bytes; see Runtime for more."""

    version: int
    published: bytes | None
    runtime_address: int
    code_type_address: int
    pages: dict[int, bytes]
    stacks: str

    @property
    def layout(self) -> Layout:
        """The layout, found anew: a new offset is no reason to record again."""
        return resolve(self.version, self.published)

    def options(self, depth: int = 512) -> Any:
        """The recorder's options: all threads, all facts that memory tells."""
        return ffi.new(
            "options *",
            {
                "runtime": self.runtime_address,
                "code_type": self.code_type_address,
                "period_ns": 10_000_000,
                "depth": depth,
                "facts": lib.ONLOOKER_HOLDS_GIL,
                "pause": lib.ONLOOKER_PAUSE_NEVER,
                "pthread_tid_offset": -1,
            },
        )


def paths() -> list[Path]:
    """The recordings of the repository, oldest version first."""
    return sorted(FOLDER.glob("*.rec"), key=lambda path: int(path.name.split("-")[0].split(".")[1]))


def save(path: Path, recording: Recording) -> None:
    """Write a recording."""
    published = recording.published
    head = {
        "version": f"{recording.version:#010x}",
        "published": published.hex() if published is not None else None,
        "runtime_address": f"{recording.runtime_address:#x}",
        "code_type_address": f"{recording.code_type_address:#x}",
    }
    with zipfile.ZipFile(path, "w") as parts:
        for name, content in (
            ("recording.json", json.dumps(head, indent=1).encode()),
            ("pages", _pack(recording.pages)),
            ("stacks.txt", recording.stacks.encode()),
        ):
            part = zipfile.ZipInfo(name, _TIME)
            parts.writestr(part, content, zipfile.ZIP_LZMA)


def load(path: Path) -> Recording:
    """Read what save wrote."""
    with zipfile.ZipFile(path) as parts:
        head = json.loads(parts.read("recording.json"))
        pages = parts.read("pages")
        stacks = parts.read("stacks.txt").decode()
    return Recording(
        version=int(head["version"], 16),
        published=None if head["published"] is None else bytes.fromhex(head["published"]),
        runtime_address=int(head["runtime_address"], 16),
        code_type_address=int(head["code_type_address"], 16),
        pages=_unpack(pages),
        stacks=stacks,
    )


def write_flat(path: Path, recording: Recording) -> None:
    """Write what a C program needs to replay: its own structs, the number of pages, the pages."""
    layout = bytes(ffi.buffer(native_layout(recording.layout)))
    options = bytes(ffi.buffer(recording.options()))
    count = struct.pack("=Q", len(recording.pages))
    path.write_bytes(layout + options + count + _pack(recording.pages))


def format_stack(interpreter: int, thread_id: int, frames: Iterable[Sequence[str | int]]) -> str:
    """One thread's stack as text. A frame is its name, file, line and its code's first line."""
    lines = [f"interpreter {interpreter} thread {thread_id:#x}"]
    lines += [f"  {name} {file}:{line} of {first}" for name, file, line, first in frames]
    return "\n".join(lines) + "\n"


def _pack(pages: dict[int, bytes]) -> bytes:
    addresses = sorted(pages)
    return struct.pack(f"={len(addresses)}Q", *addresses) + b"".join(
        pages[address] for address in addresses
    )


def _unpack(packed: bytes) -> dict[int, bytes]:
    count = len(packed) // (8 + PAGE_BYTES)
    addresses = struct.unpack_from(f"={count}Q", packed)
    content = memoryview(packed)[8 * count :]
    return {
        address: bytes(content[PAGE_BYTES * index : PAGE_BYTES * (index + 1)])
        for index, address in enumerate(addresses)
    }
