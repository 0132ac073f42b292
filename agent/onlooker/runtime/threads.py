"""The kernel's ids of the threads of a process."""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Final

from onlooker.errors import MemoryFault
from onlooker.memory import Memory

from .layouts import NONE

_PTHREAD_SIZE_LIMIT_BYTES: Final = 2304  # sizeof(struct pthread) in glibc; musl's is smaller
_PIECE_BYTES: Final = 256


def native_thread_ids(pid: int) -> dict[int, int]:
    """Map the threads' ids in the process's own pid namespace to those that we see.

    Python and the C library only know the former; /proc and ptrace want the latter. Raises OSError
    when the process has ended.
    """
    threads = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        ours = int(task.name)
        try:
            status = (task / "status").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue  # the thread ended meanwhile
        _, _, rest = status.partition(b"\nNSpid:")
        theirs = rest.partition(b"\n")[0].split()
        threads[int(theirs[-1]) if theirs else ours] = ours
    return threads


def pthread_tid_offset(
    memory: Memory, thread_ids: Iterable[int], native_ids: Collection[int]
) -> int:
    """Find where the C library's `struct pthread` keeps the thread's kernel id.

    Up to 3.10 PyThreadState knows only `thread_id`, a pthread_t, which in glibc and musl is the
    address of that structure. Its layout isn't promised (`tid` at 720 in glibc 2.36), so the offset
    is searched for: where the most of `thread_ids` have an int that is one of `native_ids` (in the
    process's own pid namespace), and a different one each.

    Returns the offset in bytes, or NONE if there is none. A thread that has ended does no harm.
    """
    native = frozenset(native_ids)
    seen: dict[int, set[int]] = {}
    for thread_id in thread_ids:
        for index, word in enumerate(_words(memory, thread_id)):
            if word in native:
                seen.setdefault(4 * index, set()).add(word)
    # Of equals the first: older versions of glibc keep the process's id right behind the thread's.
    return max(sorted(seen), key=lambda offset: len(seen[offset]), default=NONE)


def _words(memory: Memory, address: int) -> tuple[int, ...]:
    """Read the ints at `address` up to the end of the structure or of the mapping."""
    data = b""
    try:
        while len(data) < _PTHREAD_SIZE_LIMIT_BYTES:
            data += memory.read(address + len(data), _PIECE_BYTES)
    except MemoryFault:
        pass
    return struct.unpack(f"<{len(data) // 4}i", data)
