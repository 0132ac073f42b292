"""Resident memory is that of the moment at which a process was frozen, as its kernel tells it."""

import pytest
from onlooker import Target
from onlooker.heap import still
from onlooker.memory import Freeze
from onlooker.observe.heap_ranges import HeapRange, heap_ranges
from onlooker.observe.memory_rows import read_mappings, resident
from onlooker.runtime.locate import locate

from tests.conftest import StartTarget
from tests.interpreters import Interpreter

#: Says what is resident, and again when it has given most of it back.
GIVES_BACK = """
import mmap, sys, tempfile
def say():
    with open("/proc/self/smaps_rollup") as file:
        print(next(line.split()[1] for line in file if line.startswith("Rss:")), flush=True)
def pages(size):
    there = mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    there.write(b"x" * size)
    return there
own, not_cloned = pages(64 << 20), pages(16 << 20)
not_cloned.madvise(mmap.MADV_DONTFORK)
with tempfile.TemporaryFile() as file:
    file.truncate(4 << 20)
    of_a_file = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
sum(of_a_file[::4096])
say()
sys.stdin.readline()
own.close()
say()
sys.stdin.readline()
"""


@pytest.mark.parametrize("freeze", ["snapshot", "none"])
def test_resident_at_a_moment(
    freeze: Freeze, any_interpreter: Interpreter, start_target: StartTarget
) -> None:
    target = start_target(any_interpreter, GIVES_BACK)
    before = int(target.read_line()) << 10
    runtime = locate(target.pid)
    try:
        with still(runtime, freeze) as (picture, runtime_then, _):
            target.send("")
            after = int(target.read_line()) << 10
            ranges = heap_ranges(runtime_then, picture.pid)
            mappings = read_mappings(target.pid, picture.pid, ranges)
    finally:
        runtime.close()
    assert mappings
    assert after < before - (60 << 20)
    told = resident(mappings)
    assert abs(told.total - (before if freeze == "snapshot" else after)) < 1 << 20
    assert told.files > 4 << 20


#: calloc gives bytes their memory, so that there is none until somebody writes to them.
NEVER_TOUCHES = """
import sys
never_touched = bytes(int(sys.argv[1]) << 20)
print(flush=True)
sys.stdin.readline()
"""


@pytest.mark.parametrize("mib", [64, 1024])
def test_rows_are_what_is_resident_of_objects(
    any_interpreter: Interpreter, start_target: StartTarget, mib: int
) -> None:
    target = start_target(any_interpreter, NEVER_TOUCHES, str(mib))
    target.read_line()
    with Target(target.pid) as it:
        picture = it.picture(source="objects", by="type")
    assert picture.totals
    assert picture.totals.broken == 0
    assert picture.totals.bytes > mib << 20
    rows = {row.what: row.size for row in picture.rows}
    assert 1 << 20 < rows["Python objects"] <= picture.totals.bytes - (mib - 8 << 20)
    assert abs(rows["native memory"]) < 0.02 * sum(rows.values()), rows


#: Touches the first hundred pages of a mapping and the last thousand.
TOUCHES = """
import ctypes, mmap, sys
there = mmap.mmap(-1, 8 << 20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
there.madvise(mmap.MADV_NOHUGEPAGE)
there[: 100 << 12] = b"x" * (100 << 12)
there[-1000 << 12 :] = b"x" * (1000 << 12)
print(ctypes.addressof(ctypes.c_char.from_buffer(there)), flush=True)
sys.stdin.readline()
"""


def test_what_follows_an_image_is_not_the_images(
    any_interpreter: Interpreter, start_target: StartTarget
) -> None:
    """The kernel makes one mapping of a library's .bss and of what malloc has mapped behind it."""
    target = start_target(any_interpreter, TOUCHES)
    start = int(target.read_line())
    image = HeapRange(start, start + (1 << 20), True, start + (1 << 20))
    mappings = read_mappings(target.pid, target.pid, [image])
    assert mappings
    (there,) = [each for each in mappings.found if each.of_image]
    assert there.region.start <= start < there.region.end
    assert there.of_image == 100 << 12
    assert there.size >= 1100 << 12
    assert resident(mappings).images == there.of_image
