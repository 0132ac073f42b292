"""Finding the interpreter in a process: its runtime state, version and layout."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Final, NamedTuple

from onlooker.errors import MemoryFault, NotReady, OnlookerError, TargetGone, UnsupportedPython
from onlooker.memory import ProcessMemory

from .absence import explain_absence
from .checks import check_ready, self_check
from .debug_offsets import COOKIE
from .elf import LoadedElf
from .elf_file import file_symbols, mapped_file
from .identity import Identity, identify, inside
from .layouts import PUBLISHED_SIZE, Layout, resolve
from .maps import DELETED, Region, image_starts, is_writable, read_maps
from .version import version_of

_SYMBOLS: Final = ("_PyRuntime", "Py_Version", "PyCode_Type")
_COOKIE_SCAN_LIMIT_BYTES: Final = 64 << 20


class Runtime(NamedTuple):
    """The CPython in a process.

    `version` is PY_VERSION_HEX. `runtime_address` is that of _PyRuntime, `published` its
    _Py_DebugOffsets (3.13 and later). `code_type_address` is that of PyCode_Type, or 0 if it can't
    be known yet. `image_path` is the program or library that holds the interpreter, as the process
    sees it, and `build_id` that file's in hexadecimal, or empty. `memory` is open.
    """

    identity: Identity
    memory: ProcessMemory
    runtime_address: int
    version: int
    published: bytes | None
    layout: Layout
    code_type_address: int
    image_path: str
    build_id: str

    @property
    def pid(self) -> int:
        """The process's id as we see it."""
        return self.identity.pid

    def close(self) -> None:
        """Close `memory`."""
        self.memory.close()


class _Candidate(NamedTuple):
    """An image that may hold the interpreter, and what is known of its symbols' addresses."""

    region: Region
    image: LoadedElf
    symbols: dict[str, int]


def locate(pid: int) -> Runtime:
    """Find the CPython interpreter in process `pid` and check that it can be looked into.

    Raises NoSuchProcess, NotPython, UnsupportedPython, NotReady, NotPermitted, or TargetGone.
    """
    identity = identify(pid)
    memory = ProcessMemory(pid)
    try:
        return _locate(identity, memory)
    except BaseException:
        memory.close()
        raise


def _locate(identity: Identity, memory: ProcessMemory) -> Runtime:
    try:
        regions = read_maps(identity.pid)
    except OSError:
        regions = []
    if not regions:
        raise TargetGone(f"process {identity.pid} has ended")
    failures: list[OnlookerError] = []
    candidates = load_images(memory, regions, identity)
    for candidate in _with_runtime(identity, memory, regions, candidates):
        try:
            return _describe(identity, memory, regions, candidate)
        except (UnsupportedPython, NotReady) as error:
            # A process may have a second Python mapped that it doesn't use.
            failures.append(error)
        except MemoryFault:
            continue
    if failures:
        raise failures[0]
    raise explain_absence(
        identity, memory, regions, [(candidate.region, candidate.image) for candidate in candidates]
    )


def load_images(
    memory: ProcessMemory, regions: Sequence[Region], identity: Identity
) -> list[_Candidate]:
    """Read the programs and libraries of a process, in the order in which to look at them."""
    candidates = []
    for region in image_starts(regions, identity.outside(identity.executable)):
        with suppress(ValueError, MemoryFault):
            candidates.append(_Candidate(region, LoadedElf(memory, region.start), {}))
    return candidates


def _with_runtime(
    identity: Identity,
    memory: ProcessMemory,
    regions: Sequence[Region],
    candidates: Sequence[_Candidate],
) -> Iterator[_Candidate]:
    """Yield candidates with an address of _PyRuntime: by memory, then by file, then by cookie."""
    found = False
    for region, image, _ in candidates:
        with suppress(MemoryFault):
            symbols = image.symbols(_SYMBOLS[:1])
            # A file that is mapped only to be read has no writable copy of it.
            if symbols and is_writable(regions, symbols["_PyRuntime"]):
                found = True
                yield _Candidate(region, image, image.symbols(_SYMBOLS))
    if found:
        return
    for region, image, _ in candidates:
        with suppress(OSError, ValueError), mapped_file(identity.pid, region) as file:
            symbols = {
                name: image.bias + address for name, address in file_symbols(file, _SYMBOLS).items()
            }
            if is_writable(regions, symbols.get("_PyRuntime", 0)):
                found = True
                yield _Candidate(region, image, symbols)
    if found:
        return
    for region, image, _ in candidates:
        for address in _cookies(memory, regions, region):
            yield _Candidate(region, image, {"_PyRuntime": address})


def _cookies(memory: ProcessMemory, regions: Sequence[Region], image: Region) -> Iterator[int]:
    """Yield where the data of a mapped file has the cookie of _Py_DebugOffsets."""
    for region in regions:
        length = region.end - region.start
        if (
            (region.device, region.inode) == (image.device, image.inode)
            and "w" in region.permissions
            and length <= _COOKIE_SCAN_LIMIT_BYTES
        ):
            with suppress(MemoryFault):
                data = memory.read(region.start, length)
                at = data.find(COOKIE)
                while at >= 0:
                    if at % 8 == 0:
                        yield region.start + at
                    at = data.find(COOKIE, at + 1)


def _describe(
    identity: Identity,
    memory: ProcessMemory,
    regions: Sequence[Region],
    candidate: _Candidate,
) -> Runtime:
    region, image, symbols = candidate
    runtime_address = symbols["_PyRuntime"]
    head = memory.read(runtime_address, PUBLISHED_SIZE)
    published = head if head.startswith(COOKIE) else None
    if published:
        (version,) = struct.unpack_from("<Q", published, len(COOKIE))
    else:
        paths = [region.path, *(r.path for r in regions)]
        version = version_of(memory, image, symbols.get("Py_Version", 0), paths)
    if not version:
        raise UnsupportedPython("the version of the Python in this process can't be found out")
    layout = resolve(version, published)
    check_ready(memory, runtime_address, layout)
    code_type = self_check(memory, runtime_address, layout)
    return Runtime(
        identity=identity,
        memory=memory,
        runtime_address=runtime_address,
        version=version,
        published=published,
        layout=layout,
        code_type_address=code_type or symbols.get("PyCode_Type", 0),
        image_path=inside(identity.root, region.path.removesuffix(DELETED)),
        build_id=image.build_id,
    )
