"""All asyncio tasks of a process: who they are, what they wait for, and who waits for them.

asyncio keeps account of its tasks: up to 3.13 in weak sets of asyncio.tasks, from 3.14 on in a list
of each thread. A task knows its coroutine, the future that it waits for and its loop; which thread
runs that loop is the thread's own account. All is the same whatever the loop: the stock one or
uvloop's.

Tasks change while they are read. If anything did that was read, each task is read again together
with all that is said about it, until that was true at one moment.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Final, NamedTuple

from onlooker.errors import MemoryFault
from onlooker.memory import Memory

from .asyncio_offsets import TaskOffsets, published
from .awaits import Awaits, Chain, CodeText
from .blocks import Blocks, Traced
from .layouts import NONE
from .locate import Runtime
from .objects import GUESS_BYTES, Objects

TASKS_LIMIT: Final = 1 << 18

_INTERPRETERS_LIMIT: Final = 64
_THREADS_LIMIT: Final = 1 << 16
_BASES_LIMIT: Final = 16
_NAME_LIMIT: Final = 4096  # characters
_NESTED_GATHERS_LIMIT: Final = 64
_FRAMES_LIMIT: Final = 1 << 22  # of all tasks together: what a hostile target could make us keep
_ATTEMPTS: Final = 25  # at a task that moves
_SETS: Final = ("_all_tasks", "_scheduled_tasks", "_eager_tasks")
_RUNNING_LOOP_KEY: Final = "__asyncio_running_event_loop__"
_PENDING: Final = 0
_NO_CHAIN: Final = Chain((), created=False, executing=False)


class Task(NamedTuple):
    """One task. ``frames`` are those of its awaits, leaf first: a code's number and byte offset.

    ``thread`` is threading's ident of the thread that runs its loop, 0 if none does. ``entry`` is
    the number of its coroutine's code, -1 if it is no Python function. ``current``: it is the one
    that its loop runs, and not one that runs only in that it starts another eagerly. ``waits_for``
    and ``awaited_by`` name tasks and other futures.
    """

    address: int
    name: str
    state: str
    interpreter: int
    thread: int
    frames: tuple[tuple[int, int], ...]
    entry: int
    current: bool
    waits_for: str
    awaited_by: tuple[str, ...]


class Tasks(NamedTuple):
    """All tasks; codes by the numbers that frames have; and how many never held still."""

    tasks: tuple[Task, ...]
    codes: tuple[CodeText, ...]
    unsettled: int


class _Fields(NamedTuple):
    """What a task itself says."""

    coro: int
    name: str
    waiter: int
    loop: int
    done: bool


class _Awaiter(NamedTuple):
    """Who awaits a task: by the future that it waits for, and by where that has the task's address.

    ``slot`` is 0 if the future is the task.
    """

    task: int
    waiter: int
    slot: int


class _NoTask(MemoryFault):
    """What is among the tasks and is none, such as a set's mark of a deleted item."""


class _Place(NamedTuple):
    """Where a task was found: its interpreter, and its thread if that is known from there."""

    interpreter: int
    thread: int


def read_tasks(runtime: Runtime) -> Tasks:
    """Read the tasks of all interpreters. What can't be read is left out. Raises TargetGone."""
    codes: dict[CodeText, int] = {}
    blocks = Blocks(runtime.memory)
    look = _Look(runtime, blocks, codes)
    look.find()
    found = look.tasks()
    if blocks.changed():
        found = _confirmed(runtime, look, codes)
    tasks = tuple(task for task in found.values() if task is not None)
    return Tasks(tasks, tuple(codes), len(found) - len(tasks))


def _confirmed(runtime: Runtime, look: _Look, codes: dict[CodeText, int]) -> dict[int, Task | None]:
    """Read each task again, until all that was read for it is true at one moment."""
    traced = Traced(runtime.memory)
    again = _Look(runtime, traced, codes, guess_bytes=0)
    found: dict[int, Task | None] = {}
    for address in look.found():
        for _ in range(_ATTEMPTS):
            traced.forget()
            found[address] = None
            try:
                task = again.task_again(address, look)
            except _NoTask:
                if traced.holds():
                    del found[address]  # it has ended
                    break
            except MemoryFault:
                continue
            else:
                if traced.holds():
                    found[address] = task
                    break
    return found


class _Look:
    """One look at the tasks of a process."""

    def __init__(
        self,
        runtime: Runtime,
        memory: Memory,
        codes: dict[CodeText, int],
        guess_bytes: int = GUESS_BYTES,
    ) -> None:
        self._runtime = runtime
        self._memory = memory
        self._offsets = offsets = runtime.layout.offsets
        self._objects = Objects(memory, runtime.layout, guess_bytes)
        self._awaits = Awaits(memory, runtime.layout, self._objects, codes)
        self._task: TaskOffsets = TaskOffsets.of_layout(offsets)
        self._bases: dict[int, str] = {}
        self._places: dict[int, _Place] = {}
        self._loops: dict[int, int] = {}  # threads by the loops that they run
        self._running: set[int] = set()
        self._fields: dict[int, _Fields] = {}
        self._awaiters: dict[int, list[_Awaiter]] = {}
        self._frames_left = _FRAMES_LIMIT

    def found(self) -> list[int]:
        """The addresses of all that may be tasks."""
        return list(self._places)

    def find(self) -> None:
        """Find where tasks are, which run, and which threads run which loops."""
        for interpreter, number in self._interpreters():
            with suppress(MemoryFault):
                self._find(interpreter, number)

    def tasks(self) -> dict[int, Task | None]:
        """All tasks that have not ended, by address; None for those that can't be read."""
        found: dict[int, Task | None] = {}
        for address in self._places:
            try:
                self._fields[address] = self._fields_of(address)
            except _NoTask:
                continue
            except MemoryFault:
                found[address] = None
        self._awaiters = self._who_awaits()
        for address, fields in list(self._fields.items()):
            if address in self._places and not fields.done:
                try:
                    found[address] = self._task_at(address, fields)
                except MemoryFault:
                    found[address] = None
        return found

    def task_again(self, address: int, look: _Look) -> Task:
        """One task of those that another look found. Raises _NoTask if it has ended."""
        self._task, self._places, self._loops = look._task, look._places, look._loops
        self._running = look._running
        self._fields = {}
        fields = self._fields_of(address)
        if fields.done:
            raise _NoTask("it is done")
        # They are read again as well, and may wait for something else by now.
        self._awaiters = {address: look._awaiters.get(address, [])}
        return self._task_at(address, fields)

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
        """Find the interpreter's tasks, which of them run, and its threads' loops."""
        objects = self._objects
        modules = objects.pointer(interpreter + self._offsets["interpreter_modules"])
        module = objects.dict_get(modules, "asyncio.tasks") if modules else None
        if not module:
            return
        if self._offsets["task_node"] != NONE:
            native = objects.dict_get(modules, "_asyncio")
            if native:
                table = published(self._runtime, self._memory, self._objects, native)
                if table:
                    self._task = table
                self._find_listed(interpreter, number)
        else:
            for thread, ident in self._threads(interpreter):
                with suppress(MemoryFault):
                    loop = self._running_loop(thread)
                    if loop:
                        self._loops[loop] = ident
        for name in _SETS:
            with suppress(MemoryFault):
                tasks = objects.attribute(module, name)
                for address in self._in_set(tasks) if tasks else ():
                    self._add(address, _Place(number, 0))
        with suppress(MemoryFault):
            current = objects.attribute(module, "_current_tasks")
            for _, task in list(objects.dict_items(current)) if current else ():
                self._add(task, _Place(number, 0))
                self._running.add(task)

    def _find_listed(self, interpreter: int, number: int) -> None:
        """From 3.14 on: each thread has a list; what threads left behind, the interpreter has."""
        offsets, pointer = self._task, self._objects.pointer
        with suppress(MemoryFault):
            self._add_list(interpreter + offsets.interpreter_tasks_head, _Place(number, 0))
        for thread, ident in self._threads(interpreter):
            with suppress(MemoryFault):
                loop = pointer(thread + offsets.thread_running_loop)
                if loop:
                    self._loops[loop] = ident
                task = pointer(thread + offsets.thread_running_task)
                if task:
                    self._add(task, _Place(number, ident))
                    self._running.add(task)
                self._add_list(thread + offsets.thread_tasks_head, _Place(number, ident))

    def _add_list(self, head: int, place: _Place) -> None:
        node, seen = self._objects.pointer(head), 0
        while node and node != head and seen < TASKS_LIMIT:
            self._add(node - self._task.node, place)
            node, seen = self._objects.pointer(node), seen + 1

    def _add(self, address: int, place: _Place) -> None:
        known = self._places.get(address)
        if known is None and len(self._places) < TASKS_LIMIT:
            self._places[address] = place

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

    def _in_set(self, address: int) -> list[int]:
        """The addresses in a set or a weakref.WeakSet."""
        if self._awaits.type_name(address) == "WeakSet":
            data = self._objects.attribute(address, "data")
            found = []
            for reference in self._objects.set_items(data) if data else ():
                # The sets' mark of a deleted item is no reference.
                if self._awaits.type_name(reference) in _REFERENCES:
                    referent = self._objects.pointer(reference + self._offsets["weakref_object"])
                    found.append(referent)
            return [task for task in found if task and not self._is_none(task)]
        return self._objects.set_items(address)

    def _kind(self, address: int) -> str:
        """Which of asyncio's C types it is an instance of, if any: "Task", "Future" or ""."""
        kind = self._objects.pointer(address + self._offsets["object_type"])
        known = self._bases.get(kind)
        if known is None:
            known, base = "", kind
            for _ in range(_BASES_LIMIT):
                if not base:
                    break
                name = self._objects.name_of_type(base)
                if name in {"_asyncio.Task", "_asyncio.Future"}:
                    known = name.rpartition(".")[2]
                    break
                base = self._objects.pointer(base + self._offsets["type_base"])
            self._bases[kind] = known
        return known

    def _fields_of(self, address: int) -> _Fields:
        if self._kind(address) == "Task":
            return self._native_fields(address)
        return self._python_fields(address)

    def _known_fields(self, address: int) -> _Fields | None:
        """Those of a task, even one that has just begun; None if there is none at the address."""
        if address not in self._places and self._kind(address) != "Task":
            return None
        fields = self._fields.get(address)
        if fields is None:
            try:
                fields = self._fields[address] = self._fields_of(address)
            except _NoTask:
                return None
        return fields

    def _native_fields(self, address: int) -> _Fields:
        offsets = self._task
        raw = self._memory.read(address, offsets.size)

        def word(at: int) -> int:
            return int.from_bytes(raw[at : at + 8], "little")

        return _Fields(
            coro=word(offsets.coro),
            name=self._name(word(offsets.name)),
            waiter=word(offsets.fut_waiter),
            loop=word(offsets.loop),
            done=int.from_bytes(raw[offsets.state : offsets.state + 4], "little") != _PENDING,
        )

    def _python_fields(self, address: int) -> _Fields:
        """Of a task of a class written in Python."""
        attributes = {}
        for key, value in self._objects.attributes(address):
            with suppress(MemoryFault):
                attributes[self._objects.string(key, _NAME_LIMIT)] = value
        if "_coro" not in attributes or "_loop" not in attributes:
            raise _NoTask(f"there is no task at {address:#x}")
        waiter = attributes.get("_fut_waiter", 0)
        return _Fields(
            coro=attributes["_coro"],
            name=self._name(attributes["_name"]) if "_name" in attributes else "",
            waiter=0 if not waiter or self._is_none(waiter) else waiter,
            loop=attributes["_loop"],
            done="_state" in attributes and self._text(attributes["_state"]) != "PENDING",
        )

    def _is_none(self, address: int) -> bool:
        return self._awaits.type_name(address) == "NoneType"

    def _name(self, address: int) -> str:
        """A task's name: from 3.12 on it may be a number that stands for Task-N."""
        if self._awaits.type_name(address) == "int":
            return f"Task-{self._objects.integer(address)}"
        return self._objects.string(address, _NAME_LIMIT)

    def _text(self, address: int) -> str:
        return self._objects.string(address, _NAME_LIMIT)

    def _task_at(self, address: int, fields: _Fields) -> Task:
        place = self._places[address]
        chain = self._awaits.chain(fields.coro)
        self._frames_left -= len(chain.frames)
        if self._frames_left < 0:
            raise MemoryFault("the tasks have more frames than any program")
        # One that starts another eagerly runs as well, though it is not its loop's current task.
        current = address in self._running
        running = chain.executing or (current and not chain.frames)
        waits_for = ""
        if running:
            state = "running"
        elif fields.waiter:
            state = "runnable" if self._is_done(fields.waiter) else "waiting"
            waits_for = self._described(fields.waiter)
        else:
            state = "created" if chain.created else "runnable"
        return Task(
            address=address,
            name=fields.name,
            state=state,
            interpreter=place.interpreter,
            thread=place.thread or self._loops.get(fields.loop, 0),
            frames=() if running else chain.frames,
            entry=chain.frames[-1][0] if chain.frames else -1,
            current=current,
            waits_for=waits_for,
            awaited_by=tuple(sorted(self._awaited_by(address))),
        )

    def _is_done(self, future: int) -> bool:
        if self._kind(future):
            raw = self._memory.read(future + self._task.state, 4)
            return int.from_bytes(raw, "little") != _PENDING
        state = self._objects.attribute(future, "_state")
        return bool(state) and self._text(state or 0) != "PENDING"

    def _described(self, future: int) -> str:
        """What a task waits for: another task by its name, anything else by its type."""
        fields = self._known_fields(future)
        if fields is not None:
            return f"Task {fields.name!r}"
        return self._awaits.type_name(future).rpartition(".")[2]

    def _who_awaits(self) -> dict[int, list[_Awaiter]]:
        """The tasks that wait for each task, by what each of them says that it waits for."""
        found: dict[int, list[_Awaiter]] = {}
        for address, fields in list(self._fields.items()):
            if fields.waiter:
                with suppress(MemoryFault):
                    # Of a task that is gathered twice, either place will do.
                    for awaited, slot in dict(self._gathered(fields.waiter)).items():
                        awaiter = _Awaiter(address, fields.waiter, slot)
                        found.setdefault(awaited, []).append(awaiter)
        return found

    def _awaited_by(self, address: int) -> Iterator[str]:
        """The names of the tasks that wait for a task."""
        if self._task.awaited_by != NONE and self._kind(address):
            for awaiter in self._own_account(address):
                fields = self._known_fields(awaiter)
                if fields:
                    yield fields.name
            return
        for one in self._awaiters.get(address, ()):
            fields = self._known_fields(one.task)
            if (
                fields
                and fields.waiter == one.waiter
                and (not one.slot or self._objects.pointer(one.slot) == address)
            ):
                yield fields.name

    def _own_account(self, address: int) -> list[int]:
        """Who awaits a task, from 3.14 on: nobody, one, or a set."""
        awaiter = self._objects.pointer(address + self._task.awaited_by)
        if awaiter and self._memory.read(address + self._task.awaited_by_is_set, 1) != b"\0":
            return self._objects.set_items(awaiter)
        return [awaiter] if awaiter else []

    def _gathered(self, future: int) -> Iterator[tuple[int, int]]:
        """The tasks that a future stands for, and where it says so: itself (nowhere), or those
        that asyncio.gather gathers, whose slots in its list have their addresses.
        """
        if self._known_fields(future):
            yield future, 0
            return
        left = [future]
        for _ in range(_NESTED_GATHERS_LIMIT):
            if not left or self._awaits.type_name(left[-1]) != "_GatheringFuture":
                break
            children = self._objects.attribute(left.pop(), "_children")
            items = self._objects.sequence(children) if children else []
            first = self._objects.pointer(children + self._offsets["list_item"]) if children else 0
            for index, child in enumerate(items):
                if child in self._fields:
                    yield child, first + 8 * index
                elif self._awaits.type_name(child) == "_GatheringFuture":
                    left.append(child)


_REFERENCES: Final = {"weakref", "weakref.ReferenceType", "ReferenceType"}
