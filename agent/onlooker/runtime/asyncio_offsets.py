"""Where asyncio keeps what it knows of tasks: from the layout, or as the process publishes it.

From 3.14 on Modules/_asynciomodule.c has a table, _AsyncioDebug, in a section of its own. Its
module keeps a pointer to it in its state, so that no file needs to be read. It has no mark and no
version (Py_AsyncioModuleDebugOffsets in that file: 13 words), so a table counts only if all its
sizes and offsets can be true.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from contextlib import suppress
from typing import Final, NamedTuple

from onlooker.errors import MemoryFault
from onlooker.memory import Memory

from .layouts import NONE
from .locate import Runtime
from .objects import Objects

_TABLE: Final = struct.Struct("<13Q")
_STATE: Final = struct.Struct("<64Q")  # more than the module's state has
_POINTERS_FROM: Final = 1 << 16  # nothing is mapped below
_TASK_LIMIT_BYTES: Final = 1 << 10
_STRUCTURE_LIMIT_BYTES: Final = 1 << 24


class TaskOffsets(NamedTuple):
    """Offsets in a task (TaskObj), a thread state and an interpreter; NONE where there is none."""

    size: int
    loop: int
    state: int
    fut_waiter: int
    coro: int
    name: int
    awaited_by: int
    awaited_by_is_set: int
    node: int
    interpreter_tasks_head: int
    thread_running_loop: int
    thread_running_task: int
    thread_tasks_head: int

    @classmethod
    def of_layout(cls, offsets: Mapping[str, int]) -> TaskOffsets:
        """Those of the version's headers."""
        return cls(
            size=offsets["task_size"],
            loop=offsets["task_loop"],
            state=offsets["task_state"],
            fut_waiter=offsets["task_fut_waiter"],
            coro=offsets["task_coro"],
            name=offsets["task_name"],
            awaited_by=offsets["task_awaited_by"],
            awaited_by_is_set=offsets["task_awaited_by_is_set"],
            node=offsets["task_node"],
            interpreter_tasks_head=offsets["interpreter_asyncio_tasks_head"],
            thread_running_loop=offsets["thread_asyncio_running_loop"],
            thread_running_task=offsets["thread_asyncio_running_task"],
            thread_tasks_head=offsets["thread_asyncio_tasks_head"],
        )


def published(
    runtime: Runtime, memory: Memory, objects: Objects, module: int
) -> TaskOffsets | None:
    """Those that the module _asyncio at this address publishes, None if none can be found."""
    offsets = runtime.layout.offsets
    if offsets["module_state"] == NONE:
        return None
    with suppress(MemoryFault):
        state = objects.pointer(module + offsets["module_state"])
        for pointer in _STATE.unpack(memory.read(state, _STATE.size)):
            if pointer >= _POINTERS_FROM and pointer % 8 == 0:
                with suppress(MemoryFault):
                    words = _TABLE.unpack(memory.read(pointer, _TABLE.size))
                    if plausible(words):
                        return _merged(TaskOffsets.of_layout(offsets), words)
    return None


def plausible(words: tuple[int, ...]) -> bool:
    """Whether these can be such a table."""
    size, name, awaited_by, is_task, is_set, coro, node = words[:7]
    interpreter_size, interpreter_head = words[7:9]
    thread_size, running_loop, running_task, thread_head = words[9:]
    pointers = (name, awaited_by, coro, node)
    in_thread = (running_loop, running_task, thread_head)
    return (
        size <= _TASK_LIMIT_BYTES
        and all(16 <= at <= size - 8 and at % 8 == 0 for at in pointers)
        and all(16 <= at < size for at in (is_task, is_set))
        and len({*pointers, is_task, is_set}) == 6
        and interpreter_size <= _STRUCTURE_LIMIT_BYTES
        and 0 < interpreter_head <= interpreter_size - 16
        and interpreter_head % 8 == 0
        and thread_size <= _STRUCTURE_LIMIT_BYTES
        and all(0 < at <= thread_size - 8 and at % 8 == 0 for at in in_thread)
        and len(set(in_thread)) == 3
    )


def _merged(row: TaskOffsets, words: tuple[int, ...]) -> TaskOffsets:
    """The table, and by it the fields that it does not have but that have neighbours in it."""
    size, name, awaited_by, _, is_set, coro, node = words[:7]
    return TaskOffsets(
        size=size,
        loop=row.loop,
        state=row.state + (is_set - row.awaited_by_is_set),
        fut_waiter=row.fut_waiter + (coro - row.coro),
        coro=coro,
        name=name,
        awaited_by=awaited_by,
        awaited_by_is_set=is_set,
        node=node,
        interpreter_tasks_head=words[8],
        thread_running_loop=words[10],
        thread_running_task=words[11],
        thread_tasks_head=words[12],
    )
