"""Variables of the functions that suspended tasks are in, true when their stacks are."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any, Final

from onlooker._native import ffi, lib
from onlooker.errors import MemoryFault
from onlooker.profile.snapshot import FrameVariables
from onlooker.runtime.blocks import Traced
from onlooker.runtime.frames import Frames
from onlooker.runtime.locate import Runtime
from onlooker.runtime.variables import Variables

_ATTEMPTS: Final = 25  # at a task that moves
_BETWEEN_S: Final = 0.001
_PIECE: Final = ffi.typeof("asyncio_piece[]")


def task_variables(
    runtime: Runtime, look: Any, depth: int
) -> dict[int, tuple[FrameVariables, ...]]:
    """Return the variables of so many frames of each task, leaf first, by the task's number.

    The look tells the stacks that they were read with. What runs, or moved each time, has none.
    Raises TargetGone.
    """
    raw = ffi.new("asyncio_tasks *")
    lib.asyncio_get(look, raw)
    reader = _Reader(runtime, look, depth)
    found = {}
    for number in range(raw.task_count):
        variables = reader.task(number)
        if variables is not None:
            found[number] = variables
    return found


class _Reader:
    def __init__(self, runtime: Runtime, look: Any, depth: int) -> None:
        self._look = look
        self._depth = depth
        self._raw = ffi.new("asyncio_tasks *")
        self._traced = Traced(runtime.memory)
        self._frames = Frames(self._traced, runtime.layout, runtime.code_type_address, 0)
        self._variables = Variables(self._traced, runtime.layout)

    def task(self, number: int) -> tuple[FrameVariables, ...] | None:
        for attempt in range(_ATTEMPTS):
            if attempt:
                time.sleep(_BETWEEN_S)
            lib.asyncio_get(self._look, self._raw)  # it may have been told anew
            task = self._raw.tasks[number]
            if task.facts & lib.ONLOOKER_TASK_EXECUTING or not task.frames:
                return None
            self._traced.forget()
            found = None
            with suppress(MemoryFault):
                found = self._read(ffi.unpack(self._raw.frames + task.first_frame, task.frames))
            if self._confirm(number) and found is not None:
                return found
        return None

    def _read(self, frames: list[int]) -> tuple[FrameVariables, ...]:
        return tuple(
            tuple(self._variables.of(self._frames.suspended(frame)).items())
            for frame in reversed(frames[-self._depth :])
        )

    def _confirm(self, number: int) -> bool:
        pieces, at = [], 0
        for (address, length), copy in self._traced.pieces.items():
            pieces.append((address, at, length))
            at += len(copy)
        copies = b"".join(self._traced.pieces.values())
        confirmed: bool = lib.asyncio_confirm(
            self._look, number, ffi.new(_PIECE, pieces), len(pieces), copies
        )
        return confirmed
