"""Memory as of one moment: what is read once, and how a change is noticed."""

import ctypes
import os
import time
from collections.abc import Iterator, Sequence

import pytest
from onlooker.errors import MemoryFault
from onlooker.memory import READ_LIMIT_BYTES, ProcessMemory
from onlooker.runtime.asyncio_offsets import plausible
from onlooker.runtime.blocks import Blocks, Traced

SIZE = 1_000_000


@pytest.fixture
def memory() -> Iterator[ProcessMemory]:
    found = ProcessMemory(os.getpid())
    yield found
    found.close()


class Place:
    """Bytes of this process that can be written and read as another's."""

    def __init__(self) -> None:
        self.content = bytes(number % 251 for number in range(SIZE))
        self._buffer = ctypes.create_string_buffer(self.content, SIZE)
        self.address = ctypes.addressof(self._buffer)

    def put(self, at: int, byte: int) -> None:
        self._buffer[at] = bytes([byte])


def test_blocks_are_the_bytes(memory: ProcessMemory) -> None:
    place, blocks = Place(), Blocks(memory)
    for start, length in [(0, 1), (5, 0), (77, 8), (16_000, 1000), (3, 70_000), (0, SIZE)]:
        read = blocks.read(place.address + start, length)
        assert read == place.content[start : start + length]


def test_blocks_tell_a_change_of_what_was_read(memory: ProcessMemory) -> None:
    place, blocks = Place(), Blocks(memory)
    blocks.read(place.address + 50_000, 8)
    place.put(50_003, 0xFF)
    assert blocks.read(place.address + 50_003, 1) == place.content[50_003:50_004]
    assert blocks.changed()


@pytest.mark.parametrize(
    ("address", "length"), [(0, 8), (-5, 8), (1 << 62, 8), (1 << 64, 8), (8, READ_LIMIT_BYTES + 1)]
)
def test_what_is_not_there_is_a_fault(memory: ProcessMemory, address: int, length: int) -> None:
    for reader in (Blocks(memory), Traced(memory)):
        with pytest.raises(MemoryFault):
            reader.read(address, length)


def test_trace_holds_until_something_changes(memory: ProcessMemory) -> None:
    place, traced = Place(), Traced(memory)
    for at in range(0, SIZE, 1500):  # more spans than one call takes, twice
        traced.read(place.address + at, 8)
    # It is a matter of time, too: on a busy machine not each attempt is quick enough.
    assert any(traced.holds() for _ in range(1000))
    place.put(3010, 0xFF)  # between two pieces
    assert any(traced.holds() for _ in range(1000))
    place.put(3000, 0xFF)
    assert not any(traced.holds() for _ in range(10))
    with pytest.raises(MemoryFault, match="just changed"):
        traced.read(place.address + 3000, 8)
    traced.forget()
    assert traced.read(place.address + 3000, 1) == b"\xff"


class SlowMemory(ProcessMemory):
    """Memory of which each read takes ``delay_s`` longer."""

    delay_s = 0.001

    def read_at_once(self, spans: Sequence[tuple[int, int]]) -> bytes:
        until_s = time.monotonic() + self.delay_s
        while time.monotonic() < until_s:
            pass
        return super().read_at_once(spans)


def test_slow_machine_is_known_by_being_slow_always() -> None:
    place, memory = Place(), SlowMemory(os.getpid())
    traced = Traced(memory)
    traced.read(place.address, 8)
    assert any(traced.holds() for _ in range(100))
    place.put(0, 0xFF)
    assert not any(traced.holds() for _ in range(10))
    memory.close()


GOOD = (168, 136, 96, 108, 109, 128, 152, 225864, 10880, 968, 864, 872, 880)


def test_table_of_asyncio_is_believed_if_it_can_be_true() -> None:
    assert plausible(GOOD)
    assert not plausible((0,) * 13)
    for index in range(len(GOOD)):
        for wrong in (0, 1 << 40, (1 << 64) - 1):
            table = (*GOOD[:index], wrong, *GOOD[index + 1 :])
            assert not plausible(table), (index, wrong)
