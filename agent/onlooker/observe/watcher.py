"""The native watch, as Python sees it: a recorder that counts what its watch tells it."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from onlooker._native import ffi, lib
from onlooker.errors import InUse, NotPermitted, OnlookerError, TargetGone
from onlooker.observe.circumstances import tracer_name
from onlooker.observe.contexts import ContextLabels
from onlooker.observe.recorder import Code, Outcome, Recorder
from onlooker.permission import not_permitted
from onlooker.runtime.identity import read_status
from onlooker.runtime.locate import Runtime
from onlooker.runtime.threads import native_thread_ids


class Watcher(Recorder):
    """Counts the threads that a process creates from now on, by the stack of who does it.

    Raises TargetGone, NotPermitted; UsageError if this process watches it already.
    """

    def __init__(
        self, runtime: Runtime, contexts: ContextLabels, *, depth: int, own_child: bool = False
    ) -> None:
        self._watch = ffi.NULL
        super().__init__(
            runtime,
            rate_hz=1,
            facts=0,
            wanted=0,
            pause="never",
            depth=depth,
            own_child=own_child,
            contexts=contexts,
        )
        self._watch = lib.watch_open(self._recorder)
        if not self._watch:
            self.close()
            raise OnlookerError("out of memory")
        error = lib.watch_begin(self._watch)
        if error:
            self.close()
            raise _refusal(runtime.pid, error)

    def run(self, until_ns: int) -> Outcome:
        """Wait until time.monotonic_ns() is ``until_ns``, a signal comes or the target ends."""
        return self._outcome(lib.watch_run(self._watch, until_ns))

    def finish(self) -> None:
        """End the watch. What was counted stays."""
        lib.watch_end(self._watch)

    def present(self) -> frozenset[int]:
        """The threads that were there when the watch began, by their ids in our pid namespace."""
        count = ffi.new("uint32_t *")
        items = lib.watch_present(self._watch, count)
        return frozenset(ffi.unpack(items, count[0]) if count[0] else ())

    def take_codes(self) -> list[tuple[int, Code]]:
        """As a recorder's, which looks for variables in its run; a watch need not be run."""
        self._refresh()
        with self._held():
            return super().take_codes()

    def close(self) -> None:
        """Free all that was counted."""
        lib.watch_close(self._watch)
        self._watch = ffi.NULL
        super().close()

    @contextmanager
    def _held(self) -> Iterator[None]:
        if not self._watch:
            yield
            return
        lib.watch_hold(self._watch)
        try:
            yield
        finally:
            lib.watch_release(self._watch)

    def _array(self, function: Any, size: int) -> memoryview:
        with self._held():
            return memoryview(bytes(super()._array(function, size)))


def _refusal(pid: int, error: int) -> OnlookerError:
    """Return the error to raise after not all threads could be seized."""
    if error == errno.ESRCH:
        return TargetGone(f"process {pid} has ended")
    if error not in {errno.EPERM, errno.EACCES}:
        return OnlookerError(f"can't watch the threads of process {pid}: {os.strerror(error)}")
    for tid in native_thread_ids(pid).values():
        with suppress(OSError, KeyError):
            if tracer := int(read_status(tid)["TracerPid"]):
                return _traced(pid, tracer)
    return not_permitted(pid)


def _traced(pid: int, tracer: int) -> OnlookerError:
    if Path(f"/proc/self/task/{tracer}").exists():
        return InUse(f"the threads of process {pid} are being watched already")
    name = tracer_name(tracer)
    return NotPermitted(
        f"can't watch the threads of process {pid}: another tracer is attached ({name})",
        "A thread has one tracer at a time: end the other one, and try again.",
    )
