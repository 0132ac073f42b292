"""Watches who creates threads, and looks at those that are there."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Final

from onlooker.errors import NotPermitted, TargetGone, UsageError
from onlooker.observe import recorder as native
from onlooker.observe.contexts import ContextLabels
from onlooker.observe.naming import Naming
from onlooker.observe.recorder import Outcome, Pause, Recorder
from onlooker.observe.watcher import Watcher
from onlooker.profile.creations import Creations
from onlooker.profile.model import Function, Location
from onlooker.runtime.locate import Runtime
from onlooker.runtime.threads import native_thread_ids

# What a thread was made for is at the root of its stack.
_DEPTH: Final = 1 << 14


def _pseudo(name: str) -> tuple[Location, ...]:
    return (Location(Function(name, name, "", 0), 0),)


_NATIVE: Final = _pseudo("<native thread>")
_NOT_READ: Final = _pseudo("<stack not read>")


class ThreadWatch:
    """A watch that goes on, and names for what it counts.

    ``watcher`` is None if there can't be one; ``refusal`` says why not.
    """

    def __init__(
        self, runtime: Runtime, watcher: Watcher | None, contexts: ContextLabels, refusal: str
    ) -> None:
        self.watcher: Final = watcher
        self._contexts = contexts
        self._refusal = refusal
        self.naming: Final = Naming(runtime)
        self._before = _threads(runtime, watcher.present() if watcher else None)

    @property
    def caveats(self) -> tuple[str, ...]:
        """Sentences about what is missing."""
        if not self.watcher:
            return (self._refusal,)
        return self._contexts.caveats(self.watcher.counters.contextless)

    def learn(self) -> None:
        """Name what is new. Raises TargetGone; what was learnt before stays."""
        if self.watcher:
            self.naming.learn(self.watcher)

    def finish(self) -> None:
        """End the watch. What was counted stays."""
        if self.watcher:
            self.watcher.finish()

    def creations(self) -> Creations:
        """What was seen until now."""
        if not self.watcher:
            return _nothing_but(self._before)
        # In this order: rows refer to what comes behind them.
        rows, records, stacks = self.watcher.rows(), self.watcher.threads(), self.watcher.stacks()
        threads = self.naming.threads(records)
        stack = partial(self.naming.stack, stacks)
        return Creations(rows, stack, threads, self._before, self.watcher.values())


@contextmanager
def thread_watch(
    runtime: Runtime,
    pause: Pause,
    depth: int,
    context_vars: Sequence[str],
    *,
    own_child: bool,
    alone: bool,
) -> Iterator[ThreadWatch]:
    """Watch the threads from now on. What can't be watched is an error if that ``alone`` is wanted.

    Raises UsageError, TargetGone, NotPermitted.
    """
    if pause == "never":
        raise UsageError(
            "threadcreate needs to stop each thread that creates one, for some microseconds",
            "Leave out threadcreate, or let threads be stopped: --pause auto.",
        )
    with ExitStack() as opened:
        watcher: Watcher | None = None
        refusal = ""
        contexts = opened.enter_context(ContextLabels(runtime, context_vars))
        try:
            watcher = Watcher(runtime, contexts, depth=depth, own_child=own_child)
            opened.callback(watcher.close)
        except (NotPermitted, UsageError) as error:
            if alone:
                raise
            refusal = f"threadcreate lacks the threads created meanwhile: {error}"
        yield ThreadWatch(runtime, watcher, contexts, refusal)


def existing(runtime: Runtime) -> Creations:
    """Look only at the threads that are there. Raises TargetGone."""
    return _nothing_but(_threads(runtime))


def _nothing_but(present: list[tuple[Location, ...]]) -> Creations:
    return Creations((), lambda _: (), {}, present)


def _threads(runtime: Runtime, among: Collection[int] | None = None) -> list[tuple[Location, ...]]:
    """Return a stack for each thread that is there, and is ``among`` these. Raises TargetGone."""
    naming = Naming(runtime)
    with Recorder(
        runtime, rate_hz=1, facts=native.ON_CPU, wanted=0, pause="never", depth=_DEPTH
    ) as recorder:
        if recorder.tick() is Outcome.GONE:
            raise TargetGone(f"process {runtime.pid} has ended")
        naming.learn(recorder)
        stacks, records = recorder.stacks(), recorder.threads()
        found = {record.tid: _NOT_READ for record in records if record.alive and record.thread_id}
        for row in recorder.rows():
            if row.samples:
                found[records[row.thread_id].tid] = naming.stack(stacks, row.stack_id)
    alive = set(native_thread_ids(runtime.pid).values())
    return [
        found.get(tid, _NATIVE)
        for tid in sorted(alive if among is None else alive.intersection(among))
    ]
