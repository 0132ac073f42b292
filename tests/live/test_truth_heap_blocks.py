"""The blocks of memory that objects hold are those that the target's allocators know of."""

import re
from pathlib import Path

import pytest
from onlooker.observe.heap import Heap
from onlooker.observe.memory_rows import Mapping, malloc_arenas, read_mappings

from tests.conftest import StartTarget
from tests.interpreters import Interpreter, Target
from tests.live.test_truth_heap import heap_of

BLOCKS = Path("heap_blocks.py")

#: Sizes of blocks of pymalloc's that bytes are made for, and kinds of objects.
SIZES = tuple(str(size) for size in range(48, 513, 16))
KINDS = (
    *("object", "float", "plain", "slotted", "child", "list", "tuple", "dict", "general-dict"),
    *("set", "larger-set", "closure", "generator", "bytearray", "array", "int", "method"),
    *("complex", "odict", "code"),
)

#: M_MMAP_THRESHOLD: what is larger has a mapping of its own.
MAPPED = 1 << 17

#: As many as free lists have no objects for, and then as many as are counted.
BEFORE, COUNTED = 2500, 1000


def blocks_in_use(target: Target) -> tuple[int, int]:
    """The number and bytes of pymalloc's blocks, by the last that sys._debugmallocstats() wrote."""
    text = target.stderr
    classes = re.findall(
        r"^ *\d+ +(\d+) +\d+ +(\d+) +\d+$", text[text.rindex("Small block threshold") :], re.M
    )
    assert len(classes) == 32
    return (
        sum(int(count) for _, count in classes),
        sum(int(size) * int(count) for size, count in classes),
    )


def in_objects(heap: Heap) -> tuple[int, int]:
    return heap.totals.pymalloc_blocks, heap.totals.pymalloc_bytes


def in_pools(heap: Heap) -> tuple[int, int]:
    pools = heap.pools()
    return pools.used_blocks, pools.used_bytes


def minus(now: tuple[int, int], then: tuple[int, int]) -> tuple[int, int]:
    return now[0] - then[0], now[1] - then[1]


def test_blocks_of_objects_are_those_that_the_allocator_counts(
    interpreter: Interpreter, start_target: StartTarget
) -> None:
    target = start_target(interpreter, BLOCKS)
    target.send("object 1")  # what the program does for the first time is done
    assert target.read_line() == "made"
    for kind in (*SIZES[::5], *KINDS):
        counts = []
        for count in (BEFORE, COUNTED):
            target.send(f"{kind} {count}")
            assert target.read_line() == "made"
            told = blocks_in_use(target)
            with heap_of(target.pid, graph=False) as heap:
                assert in_pools(heap) == told, kind
                counts.append((told, in_objects(heap)))
                assert heap.totals.unsized_bytes < 1000
        (told_then, found_then), (told_now, found_now) = counts
        made = minus(told_now, told_then)
        assert made[0] >= COUNTED or kind == "closure", kind
        assert minus(found_now, found_then) == made, kind


@pytest.mark.parametrize("size", SIZES)
def test_every_size_class(
    any_interpreter: Interpreter, start_target: StartTarget, size: str
) -> None:
    target = start_target(any_interpreter, BLOCKS)
    counts = []
    for _ in range(2):
        target.send(f"{size} {COUNTED}")
        assert target.read_line() == "made"
        with heap_of(target.pid, graph=False) as heap:
            counts.append(in_objects(heap))
    assert minus(counts[1], counts[0]) == (COUNTED, COUNTED * int(size))


def test_large_blocks_are_as_large_as_malloc_says(
    interpreter: Interpreter, start_target: StartTarget
) -> None:
    target = start_target(interpreter, BLOCKS)
    target.send("large")
    told = {int(address): size for address, size in target.read_json().items()}
    with heap_of(target.pid) as heap:
        found = {address: heap.graph.bytes[heap.node_at(address)] for address in told}
    assert len(told) > 15
    for address, size in told.items():
        # What has a mapping of its own has two words in front, in newer versions of glibc one.
        assert size - found[address] in ((0, 8) if size > MAPPED else (0,)), address


# Blocks in the arenas of several threads, most of which are free again.
FREES = """
import ctypes, json, os, threading
LIBC = ctypes.CDLL(None)
SIZE = ctypes.c_size_t
class Mallinfo(ctypes.Structure):
    _fields_ = [(name, SIZE) for name in
        "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()]
LIBC.mallinfo2.restype = Mallinfo
LIBC.malloc.argtypes, LIBC.malloc.restype = [SIZE], ctypes.c_void_p
LIBC.free.argtypes, LIBC.free.restype = [ctypes.c_void_p], None
def use(ready, end):
    blocks = [LIBC.malloc(2000 + number % 7 * 1000) for number in range(1000)]
    for number, block in enumerate(blocks):
        if number % 5:
            LIBC.free(block)
    ready.release()
    end.acquire()
ready, end = threading.Semaphore(0), threading.Semaphore(0)
for _ in range(3):
    threading.Thread(target=use, args=(ready, end), daemon=True).start()
    ready.acquire()
use(ready, threading.Semaphore(1))
LIBC.mallinfo2()
info = LIBC.mallinfo2()
os.write(1, b"[%d, %d]\\n" % (info.uordblks + info.fsmblks, info.fordblks - info.fsmblks))
os.read(0, 1)
"""


def test_blocks_are_those_that_malloc_counts(
    interpreter: Interpreter, start_target: StartTarget
) -> None:
    target = start_target(interpreter, FREES)
    used, free = target.read_json()
    mappings = read_mappings(target.pid, target.pid, [])
    assert mappings
    with heap_of(target.pid) as heap:
        resident = malloc_arenas(mappings, heap.arena)
        whole = [
            Mapping(each.region, each.region.end - each.region.start) for each in mappings.found
        ]
        found = malloc_arenas(mappings._replace(found=whole), heap.arena)
    assert free > 4 * 800 * 2000
    assert found.free == free
    assert free // 2 < resident.free <= free
    # malloc counts what it knows of an arena itself, too, which lies in front of the chunks.
    assert 0 <= used - found.used < 4 * 4096
    assert resident.used == found.used
