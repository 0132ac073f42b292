"""Arrays of numpy's hold their data if they own it, and what is in them if these are objects."""

from tests.conftest import StartTarget
from tests.interpreters import Interpreter
from tests.live.test_truth_heap import heap_of
from tests.packages import packages

ARRAYS = """
import ctypes, json, os
import numpy
LIBC = ctypes.CDLL(None)
LIBC.malloc_usable_size.argtypes = [ctypes.c_void_p]
LIBC.malloc_usable_size.restype = ctypes.c_size_t
OBJECT_BYTES = numpy.ndarray.__basicsize__
DIMENSIONS = 32  # of PyArrayObject_fields
grid = numpy.zeros((100, 1000))
owners = [grid, numpy.ones((300, 300), order="F"), numpy.arange(10), numpy.array(1.5)]
owners += [numpy.empty((0, 5)), numpy.zeros((2, 3, 4, 5)), numpy.zeros(10**6, dtype="u1")]
objects = numpy.array(["text %d" % number for number in range(1000)], dtype=object)
owners.append(objects)
views = [grid[::2], grid.T, grid[:, 3], grid.reshape(-1), objects[10:20]]
def size(array):
    dimensions = ctypes.c_void_p.from_address(id(array) + DIMENSIONS).value
    data = array.ctypes.data if array.flags.owndata else 0
    blocks = [LIBC.malloc_usable_size(block or None) for block in (dimensions, data)]
    return OBJECT_BYTES + sum(blocks)
told = dict((id(array), size(array)) for array in owners + views)
texts = [id(text) for text in objects]
print(json.dumps([told, texts]), flush=True)
os.read(0, 1)
"""


def test_arrays_hold_what_they_own(any_interpreter: Interpreter, start_target: StartTarget) -> None:
    folder = packages(any_interpreter, ("numpy",))
    target = start_target(any_interpreter, ARRAYS, env={"PYTHONPATH": str(folder)})
    sizes, texts = target.read_json()
    told = {int(address): size for address, size in sizes.items()}
    with heap_of(target.pid) as heap:
        found = {address: heap.graph.bytes[heap.node_at(address)] for address in told}
        kinds = [heap.graph.types[heap.node_at(text)] for text in texts if heap.node_at(text)]
        names = {heap.types[kind].name for kind in kinds}
        assert heap.totals.broken == 0
    assert found == told
    assert (len(kinds), names) == (1000, {"str"})
