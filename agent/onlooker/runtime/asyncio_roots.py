"""Where asyncio keeps account of its tasks, and which threads run its loops.

Up to 3.13 that is in weak sets of asyncio.tasks, from 3.14 on in a list of each thread. Which
thread runs a loop is the thread's own account. All is the same whatever the loop: the stock one or
uvloop's.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Final, Literal, NamedTuple

from onlooker.errors import MemoryFault

from .asyncio_offsets import TaskOffsets, published
from .blocks import Blocks
from .layouts import NONE
from .locate import Runtime
from .objects import Objects

RootKind = Literal["slot", "list", "set", "weak", "running"]
"""A pointer to the task that a loop runs now; a linked list of tasks; a set of them, or of weak
references to them; a dict whose values are tasks that loops run now.
"""

_INTERPRETERS_LIMIT: Final = 64
_THREADS_LIMIT: Final = 1 << 16
_SETS: Final = ("_all_tasks", "_scheduled_tasks", "_eager_tasks")
_RUNNING_LOOP_KEY: Final = "__asyncio_running_event_loop__"


class TaskRoot(NamedTuple):
    """What leads to tasks, and where they are: ``thread`` is threading's ident, 0 if unknown."""

    address: int
    kind: RootKind
    interpreter: int
    thread: int


class TaskRoots:
    """What leads to the tasks of all interpreters, the surest account first."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._offsets = runtime.layout.offsets
        self._memory = Blocks(runtime.memory)
        self._objects = Objects(self._memory, runtime.layout)
        self.offsets = TaskOffsets.of_layout(self._offsets)
        """Those of the layout, or as the process publishes them."""
        self.roots: list[TaskRoot] = []
        self.loops: dict[int, int] = {}
        """Threads, by threading's ident, by the loops that they run."""
        for interpreter, number in self._interpreters():
            with suppress(MemoryFault):
                self._find(interpreter, number)

    def _interpreters(self) -> Iterator[tuple[int, int]]:
        offsets, pointer = self._offsets, self._objects.pointer
        with suppress(MemoryFault):
            head = self._runtime.runtime_address + offsets["runtime_interpreters_head"]
            interpreter = pointer(head)
            for _ in range(_INTERPRETERS_LIMIT):
                if not interpreter:
                    break
                yield interpreter, pointer(interpreter + offsets["interpreter_id"])
                interpreter = pointer(interpreter + offsets["interpreter_next"])

    def _threads(self, interpreter: int) -> Iterator[tuple[int, int]]:
        """The thread states, with threading's ident."""
        offsets, pointer = self._offsets, self._objects.pointer
        with suppress(MemoryFault):
            thread = pointer(interpreter + offsets["interpreter_threads_head"])
            for _ in range(_THREADS_LIMIT):
                if not thread or pointer(thread + offsets["thread_interp"]) != interpreter:
                    break
                yield thread, pointer(thread + offsets["thread_id"])
                thread = pointer(thread + offsets["thread_next"])

    def _find(self, interpreter: int, number: int) -> None:
        objects = self._objects
        modules = objects.pointer(interpreter + self._offsets["interpreter_modules"])
        module = objects.dict_get(modules, "asyncio.tasks") if modules else None
        if not module:
            return
        if self._offsets["task_node"] != NONE:
            native = objects.dict_get(modules, "_asyncio")
            if native:
                table = published(self._runtime, self._memory, self._objects, native)
                self.offsets = table or self.offsets
                self._find_listed(interpreter, number)
        else:
            for thread, ident in self._threads(interpreter):
                with suppress(MemoryFault):
                    self._add_loop(self._running_loop(thread), ident)
        for name in (*_SETS, "_current_tasks"):
            with suppress(MemoryFault):
                found = objects.attribute(module, name)
                kind: RootKind = "set"
                if name == "_current_tasks":
                    kind = "running"
                elif found and objects.type_name(found) == "WeakSet":
                    found, kind = objects.attribute(found, "data"), "weak"
                if found:
                    self.roots.append(TaskRoot(found, kind, number, 0))

    def _find_listed(self, interpreter: int, number: int) -> None:
        """From 3.14 on: each thread has a list; what threads left behind, the interpreter has."""
        offsets, roots = self.offsets, self.roots
        roots.append(TaskRoot(interpreter + offsets.interpreter_tasks_head, "list", number, 0))
        for thread, ident in self._threads(interpreter):
            with suppress(MemoryFault):
                self._add_loop(self._objects.pointer(thread + offsets.thread_running_loop), ident)
                slot = thread + offsets.thread_running_task
                roots.append(TaskRoot(slot, "slot", number, ident))
                head = thread + offsets.thread_tasks_head
                roots.append(TaskRoot(head, "list", number, ident))

    def _add_loop(self, loop: int, ident: int) -> None:
        if loop:
            self.loops[loop] = ident

    def _running_loop(self, thread: int) -> int:
        """The loop that a thread runs, up to 3.13."""
        offsets, objects = self._offsets, self._objects
        if offsets["thread_asyncio_running_loop"] != NONE:
            return objects.pointer(thread + offsets["thread_asyncio_running_loop"])
        mapping = objects.pointer(thread + offsets["thread_dict"])
        loop = objects.dict_get(mapping, _RUNNING_LOOP_KEY) if mapping else None
        if loop and offsets["runningloopholder_loop"] != NONE:
            return objects.pointer(loop + offsets["runningloopholder_loop"])
        return loop or 0
