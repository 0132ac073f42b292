"""Memory that is only reserved costs a heap walk nothing."""

from onlooker.observe.heap import Heap
from onlooker.observe.heap_ranges import heap_ranges
from onlooker.runtime.collector import list_heads
from onlooker.runtime.locate import locate

from tests.conftest import StartTarget
from tests.interpreters import Interpreter
from tests.kernel import await_reading

GIB = 1 << 30

#: Keeps an object in the middle of a reservation of 64 GiB, by C's means: bytes(1000) copied there.
RESERVES = """
import ctypes, mmap, sys
libc = ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, *[ctypes.c_size_t] * 5]
MAP_NORESERVE = 0x4000
size = 64 << 30
flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_NORESERVE
place = libc.mmap(None, size, mmap.PROT_READ | mmap.PROT_WRITE, flags, -1 & (1 << 64) - 1, 0)
assert place not in (None, (1 << 64) - 1)
class Held: pass
held = [Held() for _ in range(1234)]
ctypes.memset(place + (size >> 1), 1, 4096)
print(place, flush=True)
sys.stdin.read()
"""


def test_reservations(any_interpreter: Interpreter, start_target: StartTarget) -> None:
    target = start_target(any_interpreter, RESERVES)
    place = int(target.read_line())
    await_reading(target.pid)
    runtime = locate(target.pid)
    try:
        ranges = heap_ranges(runtime, target.pid)
        inside = [
            (start, end) for start, end, _, _ in ranges if start < place + 64 * GIB and end > place
        ]
        assert sum(end - start for start, end in inside) < GIB
        touched = place + 32 * GIB
        assert any(start <= touched < end for start, end in inside)
        with Heap(runtime, ranges, list_heads(runtime), graph=True) as heap:
            (kind,) = [kind for kind in heap.types if kind.qualified == "__main__.Held"]
        assert kind.objects == 1234
    finally:
        runtime.close()
