"""Finding where the C library keeps a thread's id."""

import os
import struct
import threading

from onlooker.errors import MemoryFault
from onlooker.memory import ProcessMemory
from onlooker.runtime.layouts import NONE
from onlooker.runtime.threads import native_thread_ids, pthread_tid_offset

TID = 720


class Pthreads:
    """Memory with nothing but a `struct pthread` for each thread, at multiples of 4096."""

    def __init__(self, *structures: dict[int, int], size: int = 2304) -> None:
        self.structures = {4096 * n: fields for n, fields in enumerate(structures, 1)}
        self.size = size

    def read(self, address: int, length: int) -> bytes:
        start, offset = address & ~4095, address & 4095
        if start not in self.structures or offset + length > self.size:
            raise MemoryFault(f"{address:#x}")
        data = bytearray(self.size)
        for at, value in self.structures[start].items():
            struct.pack_into("<i", data, at, value)
        return bytes(data[offset : offset + length])


def test_one_thread() -> None:
    assert pthread_tid_offset(Pthreads({TID: 77}), [4096], [77]) == TID


def test_other_words_that_are_ids_by_chance() -> None:
    # 48 is an id only in the first thread, 100 is the same in all, 724 is the process's in all.
    memory = Pthreads(
        {48: 79, 100: 78, TID: 77, 724: 77},
        {48: 0, 100: 78, TID: 78, 724: 77},
        {48: 1234, 100: 78, TID: 79, 724: 77},
    )
    assert pthread_tid_offset(memory, [4096, 8192, 12288], [77, 78, 79]) == TID


def test_process_id_behind_the_thread_id() -> None:
    assert pthread_tid_offset(Pthreads({TID: 77, 724: 77}), [4096], [77]) == TID


def test_thread_that_has_ended() -> None:
    memory = Pthreads({TID: 77}, {TID: 0}, {TID: 79})
    assert pthread_tid_offset(memory, [4096, 8192, 12288, 1 << 40], [77, 79]) == TID


def test_small_structure_at_the_end_of_a_mapping() -> None:
    assert pthread_tid_offset(Pthreads({48: 77}, size=256), [4096], [77]) == 48


def test_nothing_found() -> None:
    assert pthread_tid_offset(Pthreads({TID: 76}), [4096], [77]) == NONE
    assert pthread_tid_offset(Pthreads(), [4096], [77]) == NONE
    assert pthread_tid_offset(Pthreads({TID: 77}), [], [77]) == NONE


def test_this_process() -> None:
    threads: dict[int, int] = {}
    ready, stop = threading.Barrier(4), threading.Event()

    def run() -> None:
        threads[threading.get_ident()] = threading.get_native_id()
        ready.wait()
        stop.wait()

    for _ in range(3):
        threading.Thread(target=run).start()
    try:
        ready.wait()
        threads[threading.get_ident()] = threading.get_native_id()
        assert set(threads.values()) <= set(native_thread_ids(os.getpid()))
        memory = ProcessMemory(os.getpid())
        offset = pthread_tid_offset(memory, threads, native_thread_ids(os.getpid()))
        assert offset != NONE
        for ident, native_id in threads.items():
            assert struct.unpack("<i", memory.read(ident + offset, 4)) == (native_id,)
        memory.close()
    finally:
        stop.set()
