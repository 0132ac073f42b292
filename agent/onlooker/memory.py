"""Where the target's bytes come from."""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from functools import cache
from itertools import chain
from typing import Final, Literal, Protocol

from onlooker.errors import MemoryFault, NoSuchProcess, TargetGone
from onlooker.permission import absent, not_permitted

READ_LIMIT_BYTES = 64 << 20
"""No structure of a Python process is read in larger pieces; a longer length is a torn value."""

_PIECES_LIMIT = 1024
"""IOV_MAX of the kernel."""

_ADDRESS_LIMIT = 1 << 63
"""User space ends far below; pread takes a signed offset."""


Freeze = Literal["snapshot", "stop", "none"]
FREEZES: Final[tuple[Freeze, ...]] = ("snapshot", "stop", "none")
"""Whether a process stands still while it is read: see frozen.py."""


class Memory(Protocol):
    """A readable address space: a live process, or in tests a recording."""

    def read(self, address: int, length: int) -> bytes:
        """Return exactly `length` bytes at `address`, else raise MemoryFault."""
        ...


class _Vectors:
    """The C library's process_vm_readv."""

    def __init__(self) -> None:
        import ctypes  # which takes longer than finding the interpreter

        self._buffer = ctypes.create_string_buffer
        self._address = ctypes.addressof
        self._call = ctypes.CDLL(None).process_vm_readv
        unsigned = ctypes.c_ulong
        self._call.restype = ctypes.c_ssize_t
        self._call.argtypes = [
            *(ctypes.c_int, ctypes.c_char_p, unsigned, ctypes.c_char_p, unsigned, unsigned)
        ]

    def read(self, pid: int, pieces: Sequence[tuple[int, int]]) -> bytes:
        total = sum(length for _, length in pieces)
        buffer = self._buffer(total)
        local = struct.pack("2Q", self._address(buffer), total)
        remote = struct.pack(f"{2 * len(pieces)}Q", *chain.from_iterable(pieces))
        if self._call(pid, local, 1, remote, len(pieces), 0) != total:
            raise MemoryFault(f"can't read {len(pieces)} pieces of process {pid} at once")
        return buffer.raw


_vectors = cache(_Vectors)


class ProcessMemory:
    """The memory of a live process, read through /proc/PID/mem.

    The file stays bound to the address space that it was opened on: after an exec or an exit,
    reads give end of file instead of another program's bytes (mem_open, fs/proc/base.c of Linux).

    Raises NoSuchProcess or NotPermitted when the file can't be opened.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        try:
            self._fd = os.open(f"/proc/{pid}/mem", os.O_RDONLY | os.O_CLOEXEC)
        except ProcessLookupError:
            # Zombies and threads of the kernel have no memory.
            raise NoSuchProcess(f"process {pid} has ended") from None
        except FileNotFoundError:
            raise absent(pid) from None
        except PermissionError:
            raise not_permitted(pid) from None

    def read(self, address: int, length: int) -> bytes:
        """Return exactly `length` bytes at `address`.

        Raises MemoryFault (not mapped, or `address` and `length` are out of any reason) or
        TargetGone (the process has exited or called exec).
        """
        if not (0 <= length <= READ_LIMIT_BYTES and 0 <= address < _ADDRESS_LIMIT - length):
            raise MemoryFault(f"{length} bytes at {address:#x} can't be a structure of the target")
        try:
            data = os.pread(self._fd, length, address)
        except OSError as error:
            # EIO is the kernel's answer for a page that isn't mapped.
            raise MemoryFault(f"can't read {length} bytes at {address:#x}: {error}") from None
        if len(data) == length:
            return data
        if not data:
            raise self._gone()
        # A short read ends where the mapping ends; so does a read that the exit overtook.
        raise MemoryFault(f"only {len(data)} of {length} bytes at {address:#x} are readable")

    def read_at_once(self, pieces: Sequence[tuple[int, int]]) -> bytes:
        """Return the bytes of all pieces, each an address and a length, in one after the other.

        They are read within microseconds of one another, unlike those of several calls of
        ``read``: one system call takes 1024 of them. Raises MemoryFault.
        """
        vectors = _vectors()
        return b"".join(
            vectors.read(self.pid, pieces[start : start + _PIECES_LIMIT])
            for start in range(0, len(pieces), _PIECES_LIMIT)
        )

    def fileno(self) -> int:
        """The file of the memory, for native code that reads it by pread."""
        return self._fd

    def close(self) -> None:
        """Close the file; further reads fail. May be called twice."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _gone(self) -> TargetGone:
        return TargetGone(f"process {self.pid} has ended or has replaced itself by another program")
