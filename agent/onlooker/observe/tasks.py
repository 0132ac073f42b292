"""All asyncio tasks of a process: who they are, what they wait for, and who waits for them."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from onlooker._native import ffi, lib
from onlooker.errors import OnlookerError, TargetGone
from onlooker.observe.recorder import CODE_FIRST, NODE_BYTES, Code, Stacks, native_layout, to_code
from onlooker.observe.task_variables import task_variables
from onlooker.permission import not_permitted
from onlooker.profile.snapshot import FrameVariables, TaskState
from onlooker.runtime.asyncio_offsets import TaskOffsets
from onlooker.runtime.asyncio_roots import RootKind, TaskRoots
from onlooker.runtime.locate import Runtime

_KINDS: Final[dict[RootKind, int]] = {
    "slot": lib.ONLOOKER_TASKS_SLOT,
    "list": lib.ONLOOKER_TASKS_LIST,
    "set": lib.ONLOOKER_TASKS_SET,
    "weak": lib.ONLOOKER_TASKS_WEAK,
    "running": lib.ONLOOKER_TASKS_RUNNING,
}
_CURRENT: Final[int] = lib.ONLOOKER_TASK_CURRENT
_EXECUTING: Final[int] = lib.ONLOOKER_TASK_EXECUTING
_CREATED: Final[int] = lib.ONLOOKER_TASK_CREATED
_WAITS: Final[int] = lib.ONLOOKER_TASK_WAITS
_WAITED: Final[int] = lib.ONLOOKER_TASK_WAITED
_FOR_TASK: Final[int] = lib.ONLOOKER_TASK_FOR_TASK

_TEXT: Final = struct.Struct("=QII")
_TASK: Final = struct.Struct("=QQ QII QII IIIIII II")
_ENCODINGS: Final = {0: "utf-8", 1: "latin-1", 2: "utf-16-le", 4: "utf-32-le"}


class Task(NamedTuple):
    """One task. ``stack`` is that of its awaits, 0 if it runs.

    ``thread`` is threading's ident of the thread that runs its loop, 0 if none does. ``entry`` is
    the number of its coroutine's code, below CODE_FIRST if it is no Python function. ``current``:
    it is the one that its loop runs, and not one that runs only in that it starts another eagerly.
    ``waits_for`` and ``awaited_by`` name tasks and other futures. ``variables`` are those of the
    stack's frames, leaf first.
    """

    address: int
    name: str
    state: TaskState
    interpreter: int
    thread: int
    stack: int
    entry: int
    current: bool
    waits_for: str
    awaited_by: tuple[str, ...]
    variables: tuple[FrameVariables, ...] | None


class Tasks(NamedTuple):
    """All tasks; their stacks and the codes of these; and how many tasks never held still."""

    tasks: list[Task]
    stacks: Stacks
    codes: dict[int, Code]
    unsettled: int


def read_tasks(runtime: Runtime, *, copy: bool = False, frames_with_variables: int = 0) -> Tasks:
    """Read the tasks of all interpreters. What can't be read is left out.

    With ``copy`` the runtime's memory is that of a copy, and read through its file. Raises
    TargetGone, NotPermitted.
    """
    found = TaskRoots(runtime)
    memory = (
        lib.memory_open_file(runtime.memory.fileno())
        if copy
        else lib.memory_open_process(runtime.pid)
    )
    look = ffi.NULL
    try:
        if not memory:
            raise not_permitted(runtime.pid)
        runtime.memory.read(runtime.runtime_address, 1)  # it is still the process that it was
        look = lib.asyncio_open(
            memory,
            native_layout(runtime.layout),
            tasks_layout(runtime, found.offsets),
            runtime.code_type_address,
        )
        if not look:
            raise OnlookerError("out of memory")
        roots = native_roots(found)
        result = lib.asyncio_read(look, roots, len(roots))
        if result == lib.ONLOOKER_GONE:
            raise TargetGone(f"process {runtime.pid} has ended")
        if result == lib.ONLOOKER_DENIED:
            raise not_permitted(runtime.pid)
        if result == lib.ONLOOKER_NO_MEMORY:
            raise OnlookerError("out of memory")
        variables = (
            task_variables(runtime, look, frames_with_variables) if frames_with_variables else {}
        )
        return _taken(look, found, variables)
    finally:
        lib.asyncio_close(look)
        lib.memory_close(memory)


def native_roots(found: TaskRoots) -> Any:
    """The roots as the reader wants them."""
    return ffi.new("asyncio_root[]", [(each.address, _KINDS[each.kind], 0) for each in found.roots])


def tasks_layout(runtime: Runtime, tasks: TaskOffsets) -> Any:
    """The layout as the reader wants it; the offsets of tasks are those that are known best."""
    offsets, names = runtime.layout.offsets, ffi.typeof("asyncio_layout").fields
    layout = ffi.new("asyncio_layout *", {name: offsets[name] for name, _ in names})
    for name in TaskOffsets._fields:
        if hasattr(layout, f"task_{name}"):
            setattr(layout, f"task_{name}", getattr(tasks, name))
    return layout


def _taken(
    look: Any, found: TaskRoots, variables: Mapping[int, tuple[FrameVariables, ...]]
) -> Tasks:
    """What the reader found, in our words."""
    raw = ffi.new("asyncio_tasks *")
    lib.asyncio_get(look, raw)
    text = _texts(raw)
    awaiters = [
        text(*each) for each in _TEXT.iter_unpack(_bytes(raw.awaiters, raw.awaiter_count, _TEXT))
    ]
    tasks: list[Task] = []
    for each in _TASK.iter_unpack(_bytes(raw.tasks, raw.task_count, _TASK)):
        address, loop, at, size, kind, for_at, for_size, for_kind, *rest = each
        root, facts, stack, entry, first, count, _, _ = rest
        _, _, interpreter, thread = found.roots[root]
        state = _state(facts, stack)
        tasks.append(
            Task(
                address,
                text(at, size, kind),
                state,
                interpreter,
                thread or found.loops.get(loop, 0),
                0 if state == "running" else stack,
                entry,
                facts & _CURRENT != 0,
                _waits_for(state, facts, text(for_at, for_size, for_kind)),
                tuple(sorted(awaiters[first : first + count])),
                variables.get(len(tasks)),
            )
        )
    code = ffi.new("code_text *")
    codes = {
        number: to_code(code)
        for number in range(CODE_FIRST, raw.code_count)
        if lib.asyncio_code(look, number, code)
    }
    stacks = Stacks(bytes(ffi.buffer(raw.nodes, raw.node_count * NODE_BYTES)))
    return Tasks(tasks, stacks, codes, raw.unsettled)


def _bytes(items: Any, count: int, item: struct.Struct) -> bytes:
    return bytes(ffi.buffer(items, count * item.size)) if count else b""


def _texts(raw: Any) -> Callable[[int, int, int], str]:
    """Tells the texts by where they are, how many bytes they have, and of what kind."""
    texts = bytes(ffi.buffer(raw.texts, raw.text_bytes)) if raw.text_bytes else b""
    known: dict[tuple[int, int], str] = {}

    def text(at: int, size: int, kind: int) -> str:
        found = known.get((at, size))
        if found is None:
            errors = "surrogatepass" if kind else "replace"
            found = known[at, size] = texts[at : at + size].decode(_ENCODINGS[kind], errors)
        return found

    return text


def _state(facts: int, stack: int) -> TaskState:
    # One that starts another eagerly runs as well, though it is not its loop's current task.
    if facts & _EXECUTING or (facts & _CURRENT and not stack):
        return "running"
    if facts & _WAITS:
        return "runnable" if facts & _WAITED else "waiting"
    return "created" if facts & _CREATED else "runnable"


def _waits_for(state: TaskState, facts: int, name: str) -> str:
    if state == "running":
        return ""
    return f"Task {name!r}" if facts & _FOR_TASK else name
