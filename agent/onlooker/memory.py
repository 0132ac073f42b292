"""Where the target's bytes come from."""

from __future__ import annotations

import os
from typing import Protocol

from onlooker.errors import MemoryFault, NoSuchProcess, TargetGone
from onlooker.permission import absent, not_permitted

READ_LIMIT_BYTES = 64 << 20
"""No structure of a Python process is read in larger pieces; a longer length is a torn value."""

_ADDRESS_LIMIT = 1 << 63
"""User space ends far below; pread takes a signed offset."""


class Memory(Protocol):
    """A readable address space: a live process, or in tests a recording."""

    def read(self, address: int, length: int) -> bytes:
        """Return exactly `length` bytes at `address`, else raise MemoryFault."""
        ...


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

    def close(self) -> None:
        """Close the file; further reads fail. May be called twice."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _gone(self) -> TargetGone:
        return TargetGone(f"process {self.pid} has ended or has replaced itself by another program")
