"""The native recorder, as Python sees it: the only importer of the C extension."""

from __future__ import annotations

import os
import struct
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from onlooker._native import ffi, lib
from onlooker.errors import MemoryFault, OnlookerError, TargetGone
from onlooker.permission import not_permitted
from onlooker.profile.model import Labels
from onlooker.profile.rows import Row
from onlooker.runtime.layouts import NONE, Layout
from onlooker.runtime.locate import Runtime
from onlooker.runtime.threads import native_thread_ids, pthread_tid_offset

if TYPE_CHECKING:
    from onlooker.observe.contexts import ContextLabels

Pause = Literal["auto", "never", "always"]
PAUSES: Final[dict[Pause, int]] = {
    "auto": lib.ONLOOKER_PAUSE_AUTO,
    "never": lib.ONLOOKER_PAUSE_NEVER,
    "always": lib.ONLOOKER_PAUSE_ALWAYS,
}

ON_CPU: Final[int] = lib.ONLOOKER_ON_CPU
HOLDS_GIL: Final[int] = lib.ONLOOKER_HOLDS_GIL
WAITS: Final[int] = lib.ONLOOKER_WAITS
WAITS_GIL: Final[int] = lib.ONLOOKER_WAITS_GIL

CODE_OMITTED: Final[int] = lib.ONLOOKER_CODE_OMITTED
CODE_NATIVE: Final[int] = lib.ONLOOKER_CODE_NATIVE
CODE_NO_FRAME: Final[int] = lib.ONLOOKER_CODE_NO_FRAME
CODE_UNSAMPLED: Final[int] = lib.ONLOOKER_CODE_UNSAMPLED
CODE_OVERFLOW: Final[int] = lib.ONLOOKER_CODE_OVERFLOW
CODE_FIRST: Final[int] = lib.ONLOOKER_CODE_FIRST

_ROW: Final = struct.Struct("=IIIIIIQQQQ")
_THREAD: Final = struct.Struct("=Qqiiii")
_NODE_WORDS: Final = 3
NODE_BYTES: Final = 4 * _NODE_WORDS
_ENCODINGS: Final = {1: "latin-1", 2: "utf-16-le", 4: "utf-32-le"}


class Outcome(IntEnum):
    """How a run of the recorder ended."""

    OK = lib.ONLOOKER_OK
    GONE = lib.ONLOOKER_GONE
    INTERRUPTED = lib.ONLOOKER_INTERRUPTED


class ThreadRecord(NamedTuple):
    """A thread that was met.

    ``thread_id`` is threading's ident, 0 for a thread that isn't Python's; ``tid`` the kernel's in
    our pid namespace, ``target_tid`` in the target's.
    """

    thread_id: int
    interpreter: int
    tid: int
    target_tid: int
    alive: bool


class Code(NamedTuple):
    """The text of a code object. ``name`` is co_qualname, before 3.11 co_name."""

    name: str
    filename: str
    firstlineno: int
    linetable: bytes


class Counters(NamedTuple):
    """What a reader needs to know to believe a profile; see ``counters`` in native/onlooker.h."""

    ticks: int
    late: int
    samples: int
    reused: int
    torn: int
    retried: int
    displaced: int
    paused: int
    spared: int
    lost: int
    first_sample_ns: int
    start_ns: int
    threads: int
    pause_errno: int
    overflow: int
    contextless: int


class Recorder:
    """Samples the threads of a process and counts what they were doing.

    ``facts`` are those to find out, and only threads with one of ``wanted`` are read (0: all).
    ``depth`` is how many frames of a stack are kept, from the leaf. ``contexts``, which must
    outlive it, tell what context variables are set to.
    """

    def __init__(
        self,
        runtime: Runtime,
        *,
        rate_hz: float,
        facts: int,
        wanted: int,
        pause: Pause,
        depth: int,
        own_child: bool = False,
        contexts: ContextLabels | None = None,
    ) -> None:
        self._runtime = runtime
        self._contexts = contexts
        self._memory = ffi.NULL
        self._recorder = ffi.NULL
        self._codes_taken = CODE_FIRST
        self._memory = lib.memory_open_process(runtime.pid)
        if self._has_gone():  # if not, what was just opened is the memory that was looked at before
            self.close()
            raise TargetGone(f"process {runtime.pid} ended before anything was sampled")
        if not self._memory:
            raise not_permitted(runtime.pid)
        self._recorder = lib.recorder_open(
            self._memory,
            runtime.pid,
            native_layout(runtime.layout),
            ffi.new(
                "options *",
                {
                    "runtime": runtime.runtime_address,
                    "code_type": runtime.code_type_address,
                    "period_ns": max(1, round(1e9 / rate_hz)),
                    "seed": int.from_bytes(os.urandom(8), "little"),
                    "depth": depth,
                    "facts": facts,
                    "wanted": wanted,
                    "pause": PAUSES[pause],
                    "namespaced": runtime.identity.in_other_pid_namespace,
                    "pthread_tid_offset": _tid_offset(runtime),
                    "own_child": own_child,
                },
            ),
        )
        if not self._recorder:
            self.close()
            raise OnlookerError(f"can't record process {runtime.pid}: {os.strerror(ffi.errno)}")
        self._refresh()

    def _refresh(self) -> None:
        if self._contexts and self._contexts.look():
            with self._held():
                self._contexts.adopt()
                lib.recorder_use_contexts(self._recorder, self._contexts.native)

    def _held(self) -> AbstractContextManager[None]:
        """Nothing is counted meanwhile."""
        return nullcontext()

    def run(self, until_ns: int) -> Outcome:
        """Sample until time.monotonic_ns() is ``until_ns``, a signal comes or the target ends."""
        self._refresh()
        return self._outcome(lib.recorder_run(self._recorder, until_ns))

    def tick(self) -> Outcome:
        """Sample every thread once, now."""
        return self._outcome(lib.recorder_tick(self._recorder))

    def finish(self) -> None:
        """Give out the CPU time that no sample has taken yet; after the last run."""
        lib.recorder_finish(self._recorder)

    def _outcome(self, result: int) -> Outcome:
        if result in {lib.ONLOOKER_DENIED, lib.ONLOOKER_FAULT} and self._has_gone():
            return Outcome.GONE
        if result == lib.ONLOOKER_DENIED:
            raise not_permitted(self._runtime.pid)
        if result == lib.ONLOOKER_NO_MEMORY:
            raise OnlookerError("out of memory")
        if result == lib.ONLOOKER_FAULT:
            raise MemoryFault(
                f"the interpreter's state in process {self._runtime.pid} can't be read"
            )
        return Outcome(result)

    def _has_gone(self) -> bool:
        try:
            self._runtime.memory.read(self._runtime.runtime_address, 1)
        except TargetGone:
            return True
        return False

    @property
    def counters(self) -> Counters:
        """The counters as of now."""
        native = lib.recorder_counters(self._recorder)
        return Counters(*(getattr(native, name) for name in Counters._fields))

    def rows(self) -> Rows:
        """What was counted; a row's ``stack_id`` is a node, its ``thread_id`` indexes threads()."""
        return Rows(bytes(self._array(lib.recorder_rows, _ROW.size)))

    def threads(self) -> list[ThreadRecord]:
        """Every thread that was met, dead ones too."""
        raw = self._array(lib.recorder_threads, _THREAD.size)
        return [
            ThreadRecord(thread_id, interpreter, tid, target_tid, bool(alive))
            for thread_id, interpreter, tid, target_tid, alive, _ in _THREAD.iter_unpack(raw)
        ]

    def stacks(self) -> Stacks:
        """The stacks as of now."""
        return Stacks(bytes(self._array(lib.recorder_nodes, NODE_BYTES)))

    def values(self) -> Callable[[int], Labels]:
        """The labels that rows' ``values`` stand for, as of now."""
        with self._held():
            return self._contexts.values() if self._contexts else lambda _: ()

    def pauses_ns(self) -> list[int]:
        """How long the latest stops of a thread were, unsorted."""
        count, capacity = ffi.new("uint64_t *"), ffi.new("uint32_t *")
        ring = lib.recorder_pauses_ns(self._recorder, count, capacity)
        return list(ffi.unpack(ring, min(count[0], capacity[0])))

    def take_codes(self) -> list[tuple[int, Code]]:
        """The code objects met since the last call, by index. Their native copies are freed."""
        end = lib.recorder_code_count(self._recorder)
        native = ffi.new("code_text *")
        taken = [
            (index, to_code(native))
            for index in range(self._codes_taken, end)
            if lib.recorder_code(self._recorder, index, native)
        ]
        self._codes_taken = end
        lib.recorder_release_codes(self._recorder, end)
        return taken

    def close(self) -> None:
        """Free all that was counted."""
        lib.recorder_close(self._recorder)
        lib.memory_close(self._memory)
        self._recorder = self._memory = ffi.NULL

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _array(self, function: Any, size: int) -> memoryview:
        count = ffi.new("uint32_t *")
        items = function(self._recorder, count)
        return memoryview(ffi.buffer(items, count[0] * size)) if count[0] else memoryview(b"")


class Rows:
    """The rows as the recorder has them, which is much smaller than as objects."""

    def __init__(self, packed: bytes) -> None:
        self._packed = packed

    def __iter__(self) -> Iterator[Row]:
        for row in _ROW.iter_unpack(self._packed):
            stack, thread, facts, count, begun, held_up, wall, cpu, held_up_ns, values = row
            if count or cpu or held_up_ns:
                yield Row(
                    stack, thread, facts, count, wall, cpu, begun, held_up, held_up_ns, values
                )


class Stacks:
    """Stacks by id: the nodes of the recorder's tree, three words each."""

    def __init__(self, nodes: bytes) -> None:
        self._words = memoryview(nodes).cast("I")

    def frames(self, stack: int) -> Iterator[tuple[int, int]]:
        """The frames, leaf first: code index and byte offset in its code."""
        words = self._words
        while stack:
            parent, code, lasti = words[_NODE_WORDS * stack : _NODE_WORDS * (stack + 1)]
            yield code, lasti if lasti < 1 << 31 else lasti - (1 << 32)
            stack = parent


def native_layout(layout: Layout) -> Any:
    """The layout as the recorder wants it."""
    fields = (name for name, _ in ffi.typeof("layout").fields)
    return ffi.new("layout *", {name: layout.offsets[name] for name in fields})


def _tid_offset(runtime: Runtime) -> int:
    offsets, memory = runtime.layout.offsets, runtime.memory
    if offsets["thread_native_thread_id"] != NONE:
        return NONE

    def word(address: int) -> int:
        return int.from_bytes(memory.read(address, 8), "little")

    interpreter = word(runtime.runtime_address + offsets["runtime_interpreters_head"])
    identifiers: list[int] = []
    try:
        tstate = word(interpreter + offsets["interpreter_threads_head"])
        while tstate and len(identifiers) < 64:
            identifiers.append(word(tstate + offsets["thread_id"]))
            tstate = word(tstate + offsets["thread_next"])
    except MemoryFault:
        pass  # the list moved; what was found will do
    return pthread_tid_offset(memory, identifiers, native_thread_ids(runtime.pid))


def to_code(native: Any) -> Code:
    """A ``code_text`` that the extension has filled in."""
    return Code(
        _text(native.name),
        sys.intern(_text(native.filename)),
        native.firstlineno,
        bytes(ffi.buffer(native.linetable, native.linetable_size)),
    )


def _text(native: Any) -> str:
    raw = bytes(ffi.buffer(native.data, native.length * native.kind))
    return raw.decode(_ENCODINGS[native.kind], "surrogatepass")
