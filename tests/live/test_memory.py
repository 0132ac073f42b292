"""The memory of live processes."""

import ctypes
import os
import subprocess
import sys

import pytest
from onlooker.errors import MemoryFault, NoSuchProcess, TargetGone
from onlooker.memory import READ_LIMIT_BYTES, ProcessMemory

from tests.conftest import StartTarget
from tests.interpreters import Interpreter


def test_reads_exactly() -> None:
    data = bytes(range(256)) * 64
    buffer = ctypes.create_string_buffer(data, len(data))
    memory = ProcessMemory(os.getpid())
    for start, length in ((0, len(data)), (1, 1), (4095, 4098), (7, 0)):
        assert memory.read(ctypes.addressof(buffer) + start, length) == data[start : start + length]
    memory.close()
    memory.close()


@pytest.mark.parametrize(
    ("address", "length"),
    [
        (0, 1),
        (8, 8),
        (-8, 8),
        (0x7FFF_FFFF_FFFF, 8),
        (1 << 62, 8),
        ((1 << 63) - 4, 8),
        ((1 << 64) - 8, 8),
        (0xFFFF_FFFF_8100_0000, 8),
        (4096, -1),
        (4096, READ_LIMIT_BYTES + 1),
        (4096, 1 << 80),
    ],
)
def test_addresses_that_are_none(address: int, length: int) -> None:
    memory = ProcessMemory(os.getpid())
    with pytest.raises(MemoryFault):
        memory.read(address, length)
    memory.close()


def test_read_over_the_end_of_a_mapping() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    page = os.sysconf("SC_PAGE_SIZE")
    start = libc.mmap(None, ctypes.c_size_t(2 * page), 3, 0x22, -1, ctypes.c_long(0))
    assert libc.munmap(ctypes.c_void_p(start + page), ctypes.c_size_t(page)) == 0
    memory = ProcessMemory(os.getpid())
    try:
        assert memory.read(start + page - 8, 8) == bytes(8)
        with pytest.raises(MemoryFault):
            memory.read(start + page - 8, 16)
    finally:
        memory.close()
        libc.munmap(ctypes.c_void_p(start), ctypes.c_size_t(page))


def test_process_that_ends(any_interpreter: Interpreter, start_target: StartTarget) -> None:
    target = start_target(any_interpreter, "print(id(None), flush=True); input()")
    address = int(target.read_line())
    memory = ProcessMemory(target.pid)
    assert memory.read(address, 8)
    target.close()
    with pytest.raises(TargetGone):
        memory.read(address, 8)
    memory.close()


def test_process_that_becomes_another_program(
    any_interpreter: Interpreter, start_target: StartTarget
) -> None:
    target = start_target(
        any_interpreter,
        """
        import os, sys
        print(id(None), flush=True)
        input()
        os.execv(sys.executable, [sys.executable, "-c", "print(id(None), flush=True); input()"])
        """,
    )
    address = int(target.read_line())
    memory = ProcessMemory(target.pid)
    assert memory.read(address, 8)
    target.send("go on")
    target.read_line()
    with pytest.raises(TargetGone):
        memory.read(address, 8)
    memory.close()


def test_no_such_process() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        pass
    for pid in (ended.pid, 0, -1, 1 << 40):
        with pytest.raises(NoSuchProcess):
            ProcessMemory(pid)
