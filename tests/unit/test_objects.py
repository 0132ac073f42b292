"""Whatever the bytes are, reading objects ends, and with an answer or a MemoryFault."""

import random
import struct
from collections.abc import Callable

import pytest
from onlooker.errors import MemoryFault
from onlooker.runtime.layout_rows import ROWS
from onlooker.runtime.layouts import Layout, resolve
from onlooker.runtime.names import ModuleNames, ThreadNames
from onlooker.runtime.objects import Objects

from tests.unit.test_layouts import published_table, version_hex

SIZE = 1 << 16
MINORS = sorted(ROWS)


class Garbage:
    """Memory of words that are mostly addresses in itself, small numbers, or a type's flags."""

    def __init__(self, seed: int) -> None:
        source = random.Random(seed)
        choices: tuple[Callable[[], int], ...] = (
            lambda: 8 * source.randrange(SIZE // 8),
            lambda: source.randrange(SIZE),
            lambda: source.randrange(64),
            lambda: source.randrange(1 << 64),
            lambda: (1 << 64) - source.randrange(1, 100),
            lambda: 0x7F << 24 | source.randrange(1 << 10),
        )
        words = [source.choices(choices, weights=(8, 2, 4, 1, 1, 6))[0]() for _ in range(SIZE // 8)]
        self._bytes = struct.pack(f"<{len(words)}Q", *words)
        self.reads = 0

    def read(self, address: int, length: int) -> bytes:
        self.reads += 1
        if not 0 <= address <= address + length <= SIZE:
            raise MemoryFault("outside")
        return self._bytes[address : address + length]


def layout_of(minor: tuple[int, int]) -> Layout:
    # From 3.13 on the offsets are made up, which doesn't matter here.
    return resolve(version_hex(minor), bytes(published_table(minor)))


def methods_of(objects: Objects) -> list[Callable[[int], object]]:
    return [
        objects.string,
        objects.bytes_,
        objects.integer,
        objects.type_name,
        objects.sequence,
        lambda address: list(objects.dict_items(address)),
        lambda address: list(objects.attributes(address)),
        lambda address: objects.dict_get(address, "key"),
    ]


@pytest.mark.parametrize("minor", MINORS)
def test_garbage_is_answered_or_a_fault(minor: tuple[int, int]) -> None:
    answers = faults = 0
    for seed in range(20):
        memory = Garbage(seed)
        objects = Objects(memory, layout_of(minor))
        methods = methods_of(objects)
        for address in range(0, SIZE, 520):
            memory.reads = 0
            for method in methods:
                try:
                    method(address)
                    answers += 1
                except MemoryFault:
                    faults += 1
            ModuleNames(objects).learn(address)
            ThreadNames(objects).read(address)
            assert memory.reads < 100_000
    assert answers > 100
    assert faults > 100


@pytest.mark.parametrize("minor", MINORS)
def test_dict_that_claims_to_be_huge_is_a_fault(minor: tuple[int, int]) -> None:
    layout = layout_of(minor)
    offsets = layout.offsets
    claimed = (1 << 20) + 1

    class OneDict:
        """A dict at 4096 of the type at 0, its keys at 8192, and zeros for ever behind them."""

        def read(self, address: int, length: int) -> bytes:
            memory = bytearray(16384)
            struct.pack_into("<q", memory, offsets["type_flags"], 1 << 29)
            struct.pack_into("<Q", memory, 4096 + offsets["object_type"], 0)
            struct.pack_into("<Q", memory, 4096 + offsets["dict_keys"], 8192)
            struct.pack_into("<Q", memory, 8192 + offsets["dictkeys_nentries"], claimed)
            if minor < (3, 11):
                struct.pack_into("<Q", memory, 8192 + offsets["dictkeys_size"], 1 << 22)
            else:
                memory[8192 + offsets["dictkeys_log2_size"]] = 22
            return bytes(memory[address : address + length]).ljust(length, b"\0")

    with pytest.raises(MemoryFault, match="dict keys"):
        list(Objects(OneDict(), layout).dict_items(4096))
    claimed = 1000
    assert list(Objects(OneDict(), layout).dict_items(4096)) == []
