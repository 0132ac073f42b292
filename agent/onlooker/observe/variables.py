"""Threads' stacks with the variables of their functions, all true at one moment.

A thread that sleeps holds still. All that is read is read again, and must be the same. One that
runs is stopped for it if it may be, for it has no such moment otherwise.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Final

from onlooker._native import ffi, lib
from onlooker.errors import MemoryFault
from onlooker.memory import Memory
from onlooker.observe.naming import Naming
from onlooker.observe.recorder import CODE_OMITTED, Code, Pause
from onlooker.profile.rows import Thread
from onlooker.profile.snapshot import FrameVariables, ThreadStack
from onlooker.runtime.blocks import Traced
from onlooker.runtime.frames import Frame, Frames
from onlooker.runtime.locate import Runtime
from onlooker.runtime.states import current_frame, interpreters, read_word
from onlooker.runtime.threads import native_thread_ids
from onlooker.runtime.variables import Variables

# Behind those of the recorder, of tasks and of greenlets.
_CODES: Final = 1 << 34

_THREADS_LIMIT: Final = 1 << 15
_FRAMES_LIMIT: Final = 1 << 15  # of a thread
_ATTEMPTS: Final = 25
_BETWEEN_S: Final = 0.001  # who comes back from a sleep is not interrupted so soon
_ATTEMPTS_STOPPED: Final = 2
_STOPPED_S: Final = 0.05


def with_variables(
    runtime: Runtime,
    naming: Naming,
    threads: Sequence[ThreadStack],
    idents: Mapping[int, Thread],
    pause: Pause,
    depth: int,
) -> list[ThreadStack]:
    """Return the threads with their variables, and the stacks that those were read with.

    ``idents`` are the threads by threading's ident. A thread that moved keeps its stack and has no
    variables.
    """
    look = _Look(runtime, pause, depth)
    tids: dict[int, int] = {}
    with suppress(OSError):
        tids = native_thread_ids(runtime.pid)
    states = {
        idents[ident].thread_id: found
        for ident, found in _thread_states(runtime).items()
        if ident in idents
    }
    found = [
        look.thread(tids.get(tid, 0), states.get(tid, ()))
        for tid in (stack.thread.thread_id for stack in threads)
    ]
    naming.adopt((_CODES + address, code) for address, code in look.codes.items())
    result = []
    for stack, read in zip(threads, found, strict=True):
        if read is None or not read[0]:
            result.append(stack)
            continue
        frames, values = read
        places = [naming.location(_CODES + frame.code, frame.lasti) for frame in frames[:depth]]
        if len(frames) > depth:
            places.append(naming.location(CODE_OMITTED, len(frames) - depth))
        result.append(stack._replace(stack=tuple(places), variables=values, read=True))
    return result


def _thread_states(runtime: Runtime) -> dict[int, list[int]]:
    """Return the thread states of all interpreters by threading's ident, the newest first."""
    offsets, memory = runtime.layout.offsets, runtime.memory
    found: dict[int, list[int]] = {}
    with suppress(MemoryFault):
        for interpreter in interpreters(memory, runtime.runtime_address, runtime.layout):
            state = read_word(memory, interpreter + offsets["interpreter_threads_head"])
            for _ in range(_THREADS_LIMIT):
                if not state or read_word(memory, state + offsets["thread_interp"]) != interpreter:
                    break
                found.setdefault(read_word(memory, state + offsets["thread_id"]), []).append(state)
                state = read_word(memory, state + offsets["thread_next"])
    return found


class _Look:
    """One look at the threads of a process. ``codes`` are what their frames run, by address."""

    def __init__(self, runtime: Runtime, pause: Pause, depth: int) -> None:
        self._runtime = runtime
        self._pause = pause
        self._depth = depth
        self._texts = Frames(runtime.memory, runtime.layout, runtime.code_type_address)
        self.codes: dict[int, Code] = {}

    def thread(
        self, tid: int, states: Sequence[int]
    ) -> tuple[list[Frame], tuple[FrameVariables, ...]] | None:
        """Return the frames and the variables of a thread, None if it moved."""
        traced = Traced(self._runtime.memory)
        if self._pause != "always" or not self._runs(tid):
            for _ in range(_ATTEMPTS):
                with suppress(MemoryFault):
                    return self._read(traced, traced, states)
                time.sleep(_BETWEEN_S)
        if self._pause != "never" and self._runs(tid):
            with self._stopped(tid):
                timed = _Timed(traced, time.monotonic() + _STOPPED_S)
                for _ in range(_ATTEMPTS_STOPPED):
                    with suppress(MemoryFault):
                        return self._read(traced, timed, states)
        return None

    def _read(
        self, traced: Traced, memory: Memory, states: Sequence[int]
    ) -> tuple[list[Frame], tuple[FrameVariables, ...]]:
        traced.forget()
        layout = self._runtime.layout
        frames = Frames(memory, layout, self._runtime.code_type_address, guess_bytes=0)
        variables = Variables(memory, layout)
        found = [
            frame
            for state in states
            for frame in frames.under(current_frame(memory, state, layout), _FRAMES_LIMIT)
        ]
        for frame in found:
            if frame.code not in self.codes:
                self.codes[frame.code] = Code(*self._texts.text(frame.code))
        values = tuple(tuple(variables.of(frame).items()) for frame in found[: self._depth])
        if not traced.holds():
            raise MemoryFault("it has moved")
        return found, values

    def _runs(self, tid: int) -> bool:
        """One that sleeps must not be stopped: its system call might return EINTR."""
        try:
            with open(f"/proc/{self._runtime.pid}/task/{tid}/stat", "rb") as file:
                return file.read().rpartition(b")")[2].split()[0] == b"R"
        except OSError:
            return False

    @contextmanager
    def _stopped(self, tid: int) -> Iterator[None]:
        """What can't be stopped may hold still all the same."""
        stop = lib.pause_thread(self._runtime.pid, tid, False)
        try:
            yield
        finally:
            if stop != ffi.NULL:
                lib.pause_release(stop)


class _Timed:
    """Memory that can be read for so long."""

    def __init__(self, memory: Memory, until_s: float) -> None:
        self._memory = memory
        self._until_s = until_s

    def read(self, address: int, length: int) -> bytes:
        """Return exactly ``length`` bytes at ``address``, else raise MemoryFault."""
        if time.monotonic() > self._until_s:
            raise MemoryFault("the thread has stood still for long enough")
        return self._memory.read(address, length)
