"""Every live object of a process: how many there are of each type, and who refers to whom."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, NamedTuple

from onlooker._native import ffi, lib
from onlooker.errors import MemoryFault, OnlookerError
from onlooker.observe.heap_ranges import HeapRange
from onlooker.observe.interruptible import interruptible
from onlooker.observe.tasks import read_tasks
from onlooker.runtime.heap_roots import NATIVE, HeapRoot, heap_roots
from onlooker.runtime.locate import Runtime
from onlooker.runtime.objects import Objects
from onlooker.runtime.states import interpreters
from onlooker.runtime.type_names import MemberNames, TypeNames

_CACHE_LEAST_BYTES: Final = 16 << 20
_CACHE_SHARE: Final = 32  # of the memory that may hold objects
_CACHE_MOST_BYTES: Final = 256 << 20  # what is mapped may be far more than what is used
_ENCODINGS: Final = {1: "latin-1", 2: "utf-16-le", 4: "utf-32-le"}

_GRAPH_LIMIT_BYTES: Final = 8 << 32  # its units of 8 bytes have 32 bits

_BORROWED: Final[int] = lib.ONLOOKER_EDGE_BORROWED

ROOTS: Final[int] = lib.ONLOOKER_HELD_ROOTS
NAMES: Final[int] = lib.ONLOOKER_HELD_NAMES
AT: Final[int] = lib.ONLOOKER_HELD_AT
FIELD: Final[int] = lib.ONLOOKER_HELD_FIELD
ITEM: Final[int] = lib.ONLOOKER_HELD_ITEM
KEY: Final[int] = lib.ONLOOKER_HELD_KEY
VALUE: Final[int] = lib.ONLOOKER_HELD_VALUE
PART: Final[int] = lib.ONLOOKER_LABEL_PART
LOCAL: Final[int] = lib.ONLOOKER_HELD_LOCAL
TYPE: Final[int] = lib.ONLOOKER_HELD_TYPE
GLOBALS: Final[int] = lib.ONLOOKER_HELD_GLOBALS


class HeapType(NamedTuple):
    """What there is of one type, in objects and in the bytes of their blocks of memory.

    ``held_`` are those that only native code refers to.
    """

    address: int
    module: str
    name: str
    objects: int
    size: int
    held_objects: int
    held_size: int

    @property
    def all_objects(self) -> int:
        """The objects, whoever refers to them."""
        return self.objects + self.held_objects

    @property
    def all_size(self) -> int:
        """The bytes of these."""
        return self.size + self.held_size

    @property
    def qualified(self) -> str:
        """The name with its module, but for builtins."""
        return f"{self.module}.{self.name}" if self.module not in {"", "builtins"} else self.name


class HeapTotals(NamedTuple):
    """Sums over all objects, in bytes; see heap_totals of native/onlooker_heap.h."""

    objects: int
    bytes: int
    pymalloc_blocks: int
    pymalloc_bytes: int
    malloc_bytes: int
    unsized_bytes: int
    broken: int
    read_bytes: int


class HeapPools(NamedTuple):
    """What pymalloc has from the system, and what of it is in use by whomever."""

    pools: int
    bytes: int
    used_blocks: int
    used_bytes: int


class MallocArena(NamedTuple):
    """Bytes that malloc has handed out, to whomever, and that it has free."""

    used: int
    free: int


class Heap:
    """The objects of a process that stands still, found when this is made.

    ``runtime`` is the process's, with a memory that reads what stands still; ``ranges`` is where in
    that objects may be, ``heads`` are ``list_heads`` of it. With ``graph``, ``graph`` is a
    ``graph *`` for Owners afterwards. With ``paired``, two threads find the objects: only where
    nothing moves. ``progress`` is called now and then with the number of objects; what it raises
    ends the walk.

    Raises MemoryFault if a list does not lead back to its head, and OnlookerError when memory runs
    out.
    """

    def __init__(
        self,
        runtime: Runtime,
        ranges: Sequence[HeapRange],
        heads: Sequence[int],
        *,
        graph: bool = False,
        paired: bool = False,
        progress: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._runtime = runtime
        self._objects = Objects(runtime.memory, runtime.layout)
        self._progress = progress
        self.roots: list[tuple[str, ...]] = []
        """Names of what holds the graph's roots, by label less ROOTS."""
        self._labels: dict[tuple[str, ...], int] = {}
        self.graph: Any = None
        self._heap = self._new(ranges, graph=graph, paired=paired)
        try:
            self._walk(heads, ranges)
            if graph:
                self.graph = ffi.new("graph *")
                self._check(lib.heap_make_graph(self._heap, self.graph))
            self.types = self._read_types()
            members = MemberNames(self._objects, runtime.layout)
            self._members = [members.read(kind.address) for kind in self.types] if graph else []
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Free what was found, the graph with it."""
        lib.heap_free(self._heap)
        self._heap = ffi.NULL

    def __enter__(self) -> Heap:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def totals(self) -> HeapTotals:
        """Sums over all objects."""
        totals = ffi.new("heap_totals *")
        lib.heap_get_totals(self._heap, totals)
        return HeapTotals(*(getattr(totals, name) for name in HeapTotals._fields))

    def pools(self) -> HeapPools:
        """Look through pymalloc's pools."""
        pools = ffi.new("heap_pools *")
        lib.heap_get_pools(self._heap, pools)
        return HeapPools(*(getattr(pools, name) for name in HeapPools._fields))

    def mapped_blocks(self) -> list[tuple[int, int]]:
        """Address and bytes of each block of an object's that malloc has made a mapping for."""
        count = ffi.new("uint64_t *")
        blocks = lib.heap_mapped_blocks(self._heap, count)
        return [(blocks[i].address, blocks[i].bytes) for i in range(count[0])]

    def arena(self, start: int, end: int) -> MallocArena:
        """Look through [heap], or what may be a mapping for malloc's blocks."""
        arena = lib.heap_get_arena(self._heap, start, end)
        return MallocArena(arena.used, arena.free)

    def name(self, label: int) -> str:
        """The name that a label from NAMES on is."""
        size, kind = ffi.new("uint32_t *"), ffi.new("uint32_t *")
        if not 0 <= label - NAMES < lib.heap_name_count(self._heap):
            raise IndexError(f"no name has the label {label}")
        text = lib.heap_name(self._heap, label - NAMES, size, kind)
        raw = bytes(ffi.buffer(text, size[0]))
        return raw.decode(_ENCODINGS[kind[0]], "replace")

    def members(self, type_index: int) -> dict[int, str]:
        """The names of a type's fields, ``__slots__``, by their places. For a heap with a graph."""
        return self._members[type_index]

    def type_of(self, node: int) -> HeapType:
        """The type of a node's object. For a heap with a graph."""
        return self.types[int(self.graph.types[self._checked(node)])]

    def size_of(self, node: int) -> int:
        """Bytes of a node's object and what it holds. For a heap with a graph."""
        size = int(self.graph.bytes[self._checked(node)])
        if size & lib.ONLOOKER_BYTES_LARGE:
            return int(self.graph.large_bytes[size & ~lib.ONLOOKER_BYTES_LARGE])
        return size

    def references(self, node: int, most: int) -> list[tuple[int, int]]:
        """The first nodes that one refers to, each with the label."""
        first = self.graph.first_edge[self._checked(node)]
        end = min(self.graph.first_edge[node + 1], first + most)
        return [
            (self.graph.targets[edge], self.graph.labels[edge] & ~_BORROWED)
            for edge in range(first, end)
        ]

    def referrers(self, node: int, most: int) -> tuple[int, list[tuple[int, int]]]:
        """How many references lead to a node, and from where the first ones, with their labels."""
        nodes, labels = ffi.new("uint32_t[]", most), ffi.new("uint32_t[]", most)
        count = lib.heap_referrers(self._heap, self._checked(node), nodes, labels, most)
        return count, [(nodes[i], labels[i] & ~_BORROWED) for i in range(min(count, most))]

    def _checked(self, node: int) -> int:
        if not 0 <= node < self.graph.nodes:
            raise IndexError(f"the graph has no node {node}")
        return node

    def node_at(self, address: int) -> int:
        """The node of the object at an address, 0 for none. For a heap with a graph."""
        return int(lib.heap_node_at(self._heap, address))

    def address_of(self, node: int) -> int:
        """The address of a node's object, 0 for none. For a heap with a graph."""
        return int(lib.heap_address_of(self._heap, node))

    def forget_addresses(self) -> None:
        """Free what only addresses are found by. There are none from then on."""
        lib.heap_forget_addresses(self._heap)

    def forget_references(self) -> None:
        """Free who refers to whom, once ``Owners`` are made. There is no graph from then on."""
        lib.heap_forget_references(self._heap)
        self.graph = None

    def _new(self, ranges: Sequence[HeapRange], *, graph: bool, paired: bool) -> Any:
        offsets = self._runtime.layout.offsets
        fields = (name for name, _ in ffi.typeof("heap_layout").fields)
        layout = ffi.new("heap_layout *", {name: offsets[name] for name in fields})
        native_ranges = ffi.new("heap_range[]", ranges)
        size = sum(end - start for start, end, _, _ in ranges)
        if graph and size >= _GRAPH_LIMIT_BYTES:
            raise OnlookerError(
                f"process {self._runtime.pid} uses {size >> 30} GiB of memory, and who holds what"
                f" can be told of {_GRAPH_LIMIT_BYTES >> 30} GiB",
                "Use --by type.",
            )
        options = ffi.new(
            "heap_options *",
            {
                "fd": self._runtime.memory.fileno(),
                "graph": graph,
                "paired": paired,
                "type_type": self._type_type(),
                "cache_bytes": min(
                    max(_CACHE_LEAST_BYTES, size // _CACHE_SHARE), _CACHE_MOST_BYTES
                ),
                "ranges": native_ranges,
                "range_count": len(ranges),
            },
        )
        heap = lib.heap_new(layout, options)
        if not heap:
            self._check(lib.ONLOOKER_NO_MEMORY)
        return heap

    def _interpreters(self) -> Iterator[int]:
        runtime = self._runtime
        return interpreters(runtime.memory, runtime.runtime_address, runtime.layout)

    def _type_type(self) -> int:
        """The address of the type of types, by way of sys.modules, its type, and that one's."""
        offsets, pointer = self._runtime.layout.offsets, self._objects.pointer
        for interpreter in self._interpreters():
            modules = pointer(interpreter + offsets["interpreter_modules"])
            return pointer(pointer(modules + offsets["object_type"]) + offsets["object_type"])
        raise MemoryFault("there is no interpreter")

    def _walk(self, heads: Sequence[int], ranges: Sequence[HeapRange]) -> None:
        for head in heads:
            self._check(lib.heap_add_list(self._heap, head))
        for root in heap_roots(self._runtime, self._task_roots()):
            self._add_root(root)
        self._run()
        offsets = self._runtime.layout.offsets
        label = self._label(("interpreter",))
        for interpreter in self._interpreters():
            size = offsets["interpreter_size"]
            lib.heap_scan(self._heap, interpreter, interpreter + size, label, NATIVE)
        label = self._label(("native code",))
        for start, end, in_image, _ in ranges:
            if in_image:
                lib.heap_scan(self._heap, start, end, label, NATIVE)
        self._run()

    def _task_roots(self) -> Iterator[tuple[int, str]]:
        """The tasks, with their coroutines' names: their own mostly are numbers."""
        found = read_tasks(self._runtime, copy=True)
        for task in found.tasks:
            code = found.codes.get(task.entry)
            yield task.address, code.name if code else "<unknown coroutine>"

    def _add_root(self, root: HeapRoot) -> None:
        add = lib.heap_add_module if root.is_module else lib.heap_add_root
        # What is no object (a variable that holds a number of the interpreter's) is no root.
        if (
            add(self._heap, root.address, self._label(root.names), root.tier)
            == lib.ONLOOKER_NO_MEMORY
        ):
            self._check(lib.ONLOOKER_NO_MEMORY)

    def _label(self, names: tuple[str, ...]) -> int:
        label = self._labels.setdefault(names, ROOTS + len(self.roots))
        if label == ROOTS + len(self.roots):
            self.roots.append(names)
        return label

    def _run(self) -> None:
        done = ffi.new("uint64_t *")

        def tell() -> bool:
            self._progress(done[0])
            return False

        self._check(interruptible(lambda stop: lib.heap_walk(self._heap, stop, done), tell))

    def _check(self, result: int) -> None:
        if result == lib.ONLOOKER_NO_MEMORY:
            raise OnlookerError(
                "out of memory while looking at the objects",
                "Give Onlooker more memory; --by type needs less than --by path.",
            )
        if result == lib.ONLOOKER_FAULT:
            raise MemoryFault(f"the objects of process {self._runtime.pid} are on no proper list")

    def _read_types(self) -> list[HeapType]:
        count = lib.heap_type_count(self._heap)
        found = ffi.new("heap_type[]", count)
        lib.heap_get_types(self._heap, found)
        names = TypeNames(self._objects, self._runtime.layout)
        return [
            HeapType(
                each.address,
                *names.read(each.address),
                each.objects,
                each.bytes,
                each.held_objects,
                each.held_bytes,
            )
            for each in found
        ]
