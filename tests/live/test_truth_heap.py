"""The objects that are found from outside are those that the target itself knows of."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from onlooker._native import ffi
from onlooker.observe.heap import PART, TYPE, Heap
from onlooker.observe.heap_ranges import heap_ranges
from onlooker.observe.heap_sites import by_path
from onlooker.observe.owners import Owners
from onlooker.runtime.collector import list_heads
from onlooker.runtime.locate import locate

from tests.conftest import StartTarget
from tests.interpreters import Interpreter
from tests.kernel import await_reading

OBJECTS = Path("heap_objects.py")

BORROWED = 1 << 31

#: Types whose objects refer to something that Python has no words for: gc.get_referents() is not
#: told of it, and no attribute has it. What that leads to is counted from outside only.
SILENT = {
    "code": "co_localsplusnames and co_localspluskinds of 3.11 and later",
    "bytearray": "the bytes that it keeps its own in, of 3.15",
    "timezone": "its offset",
    "module": "strings in its state",
    "_RunningLoop": "the key of a threading.local",
    "Pattern": "of re in 3.8 and 3.9: its groups and code",
    "Scanner": "of json in 3.8: its memo",
}


@contextmanager
def heap_of(pid: int, *, graph: bool = True, paired: bool = True) -> Iterator[Heap]:
    """The heap of a process that waits for input."""
    await_reading(pid)
    runtime = locate(pid)
    try:
        ranges, heads = heap_ranges(runtime, pid), list_heads(runtime)
        with Heap(runtime, ranges, heads, graph=graph, paired=paired) as heap:
            yield heap
    finally:
        runtime.close()


class Found:
    """The graph of a heap in words: addresses, and the names of types."""

    def __init__(self, heap: Heap) -> None:
        graph = heap.graph
        self._first = ffi.unpack(graph.first_edge, graph.nodes + 1)
        self._targets = ffi.unpack(graph.targets, graph.edges)
        self._labels = ffi.unpack(graph.labels, graph.edges)
        self._types = [heap.types[index].name for index in ffi.unpack(graph.types, graph.nodes)]
        self._addresses = [heap.address_of(node) for node in range(graph.nodes)]
        nodes = range(1, graph.nodes)
        self.types = {self._addresses[node]: self._types[node] for node in nodes}
        # What only native code holds is visited last.
        live = sum(each.objects for each in heap.types)
        self.held = {self._addresses[node] for node in nodes if node > live}

    def unexplained(self, told: dict[int, str]) -> dict[int, str]:
        """Objects that the target did not tell of, but for what SILENT objects lead to."""
        extra = {
            node
            for node in range(1, len(self._types))
            if self._addresses[node] not in told and self._addresses[node] not in self.held
        }
        waiting = [
            target
            for node in range(1, len(self._types))
            for target, label in self._edges(node)
            if node not in extra
            and target in extra
            # Slots, names and the values of an instance, whose dict is nobody's to ask for.
            and (self._types[node] in SILENT or label in (TYPE, PART))
        ]
        while waiting:
            node = waiting.pop()
            if node in extra:
                extra.remove(node)
                waiting.extend(target for target, _ in self._edges(node))
        return {self._addresses[node]: self._types[node] for node in extra}

    def _edges(self, node: int) -> Iterator[tuple[int, int]]:
        for edge in range(self._first[node], self._first[node + 1]):
            yield self._targets[edge], self._labels[edge] & ~BORROWED


def by_address(told: dict[str, list[int]]) -> dict[int, str]:
    return {address: name for name, addresses in told.items() for address in addresses}


def is_free(pid: int, address: int) -> bool:
    """Whether pymalloc has got a block back, as a str seldom does after the target told of it.

    A free block begins with the address of the next one in its pool of 16 KiB, or with 0.
    """
    with open(f"/proc/{pid}/mem", "rb") as memory:
        memory.seek(address)
        word = int.from_bytes(memory.read(8), "little")
    return not word or word >> 14 == address >> 14


@pytest.mark.parametrize("arguments", [(), ("freeze",)], ids=["", "freeze"])
def test_objects_are_those_that_the_target_knows_of(
    interpreter: Interpreter, start_target: StartTarget, arguments: tuple[str, ...]
) -> None:
    target = start_target(interpreter, OBJECTS, *arguments)
    account: dict[str, Any] = target.read_json()
    told = by_address(account["objects"])
    planted = {int(address): name for address, name in account["planted"].items()}
    assert planted.keys().isdisjoint(told)
    assert len(told) > 200_000
    with heap_of(target.pid) as heap:
        found = Found(heap)
        counted = {each.address: each.objects for each in heap.types}
        assert heap.totals.broken == 0
    lost = {at for at, name in (told | planted).items() if found.types.get(at) != name}
    gone = {at for at in lost if is_free(target.pid, at)}
    assert {at: told.get(at) for at in lost - gone} == {}
    assert len(gone) <= 3
    assert found.unexplained(told | planted) == {}
    # Dicts of static types, which the interpreter keeps from 3.12 on, may be on no list.
    assert {told[address] for address in found.held & told.keys()} <= {"dict"}
    assert {found.types[address] for address in found.held & planted.keys()} == {"float"}
    with heap_of(target.pid, graph=False) as heap:
        assert {each.address: each.objects for each in heap.types} == counted


def test_two_threads_find_what_one_finds(
    interpreter: Interpreter, start_target: StartTarget
) -> None:
    target = start_target(interpreter, OBJECTS)
    target.read_json()
    alone, *paired = (_picture(target.pid, paired=paired) for paired in (False, True, True, True))
    for picture in paired:
        assert picture == alone


def _picture(pid: int, *, paired: bool) -> tuple[Any, ...]:
    with heap_of(pid, paired=paired) as heap, Owners(heap.graph) as owners:
        return (
            heap.totals._replace(read_bytes=0),
            heap.pools(),
            sorted(heap.mapped_blocks()),
            sorted(kind for kind in heap.types if kind.all_objects),
            sorted(by_path(heap, owners)),
        )


SEVERAL_INTERPRETERS = """
import os, textwrap
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters
PLANTS = textwrap.dedent('''
    import json, os
    class Planted:
        def __init__(self, number):
            self.real = number + 0.5
            self.text = "text %d of {0}" % number
    held = [Planted(number) for number in range(1000)]
    told = dict((id(thing), "Planted") for thing in held)
    told.update((id(thing.real), "float") for thing in held)
    told.update((id(thing.text), "str") for thing in held)
    line = json.dumps(told) + chr(10)
    while line:
        line = line[os.write(1, line.encode()):]
    del told, line
''')
made = [interpreters.create() for _ in range(3)]
for number, each in enumerate(made):
    interpreters.run_string(each, PLANTS.format(number))
os.read(0, 1)
"""


def test_objects_of_several_interpreters(
    interpreter: Interpreter, start_target: StartTarget
) -> None:
    target = start_target(interpreter, SEVERAL_INTERPRETERS)
    told: dict[int, str] = {}
    for _ in range(3):
        told |= {int(address): name for address, name in target.read_json().items()}
    assert len(told) == 9000
    with heap_of(target.pid) as heap:
        found = Found(heap)
        planted = sorted(each.objects for each in heap.types if each.name == "Planted")
    assert {at: name for at, name in told.items() if found.types.get(at) != name} == {}
    assert found.held.isdisjoint(told)
    assert planted == [1000, 1000, 1000]


DEEP = """
import gc, os
nested = ()
for number in range(1_000_000):
    nested = (nested,)
linked = None
for number in range(100_000):
    linked = {"next": linked}
print("ready", flush=True)
os.read(0, 1)
"""


@pytest.mark.parametrize("graph", [False, True], ids=["types", "graph"])
def test_a_million_deep(
    any_interpreter: Interpreter, start_target: StartTarget, graph: bool
) -> None:
    target = start_target(any_interpreter, DEEP)
    assert target.read_line() == "ready"
    with heap_of(target.pid, graph=graph) as heap:
        counts = {each.name: each.objects for each in heap.types}
    assert 1_000_000 < counts["tuple"] < 1_050_000
    assert 100_000 < counts["dict"] < 110_000
