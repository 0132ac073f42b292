"""Recording a process: what samples it and what watches its threads, until there is an end."""

from __future__ import annotations

import operator
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from functools import partial, reduce
from typing import Final

from onlooker import about
from onlooker.errors import TargetGone, UsageError
from onlooker.observe.circumstances import caveats, circumstances, has_replaced_itself
from onlooker.observe.contexts import ContextLabels
from onlooker.observe.creations import ThreadWatch, thread_watch
from onlooker.observe.naming import Naming
from onlooker.observe.recorder import Outcome, Pause, Recorder
from onlooker.profile.kinds import KINDS, Kind
from onlooker.recording import (
    STILL_RUNNING,
    STOPPED,
    TARGET_ENDED,
    TARGET_REPLACED,
    TIME_IS_UP,
    Options,
    Progress,
    Recording,
)
from onlooker.runtime.locate import Runtime

# Names are learnt soon, since what starts often ends soon, and then as often as a person looks, or
# less often if there is little to learn: this takes more than a sample.
_FIRST_SLICE_NS: Final = 20_000_000
_SLICE_NS: Final = 200_000_000
_LONGEST_SLICE_NS: Final = 500_000_000
_SLICE_TICKS: Final = 5


def kinds_to_record(names: Sequence[str]) -> tuple[Kind, ...]:
    """The kinds of these names, each once. Raises UsageError for one that can't be recorded."""
    unknown = [name for name in names if name not in KINDS]
    if unknown or not names:
        raise UsageError(
            f"there is no profile kind {', '.join(unknown)!r}",
            f"The kinds are: {', '.join(KINDS)}.",
        )
    chosen = tuple(KINDS[name] for name in dict.fromkeys(names))
    if memory := [kind.name for kind in chosen if kind.heap]:
        raise UsageError(
            f"{' and '.join(memory)} can't be recorded: memory is looked at as it is now",
            "Use onlooker heap, or Target.heap_profile.",
        )
    return chosen


def record(
    runtime: Runtime,
    kinds: tuple[Kind, ...],
    options: Options,
    seconds: float | None,
    stop: Callable[[], bool],
    progress: Callable[[Progress], None],
) -> Recording:
    """Record kinds of which not all are pictures of one moment, as Target.record tells."""
    with ExitStack() as opened:
        session = _Session(runtime, kinds, options, opened)
        return session.finish(session.run(seconds, stop, progress))


class _Session:
    """A recording that goes on: the native recorder, and names for what it counts."""

    def __init__(
        self, runtime: Runtime, kinds: tuple[Kind, ...], options: Options, opened: ExitStack
    ) -> None:
        sampled = [kind for kind in kinds if not (kind.instant or kind.watched)]
        self._runtime = runtime
        self._kinds = kinds
        self._options = options
        self._before = circumstances(runtime.pid)
        names = options.context_vars if sampled else ()
        self._contexts = opened.enter_context(ContextLabels(runtime, names))
        self._threads: ThreadWatch | None = None
        if any(kind.watched for kind in kinds):
            self._threads = opened.enter_context(
                thread_watch(
                    runtime,
                    options.pause,
                    options.depth,
                    options.context_vars,
                    own_child=options.own_child,
                    alone=not sampled,
                )
            )
        watcher = self._threads and self._threads.watcher
        self._pause: Pause = "never" if watcher else options.pause  # a thread has one tracer
        self._recorder: Recorder
        if sampled:
            self._recorder = opened.enter_context(self._new_recorder(sampled))
            self._naming = Naming(runtime)
        else:
            assert self._threads and watcher  # or it would have raised
            self._recorder, self._naming = watcher, self._threads.naming
        self._alone = not sampled
        self._start_ns = time.time_ns()
        self._began_ns = time.monotonic_ns()

    def _new_recorder(self, kinds: Sequence[Kind]) -> Recorder:
        every = all(kind.wanted for kind in kinds)
        wanted = reduce(operator.or_, (kind.wanted for kind in kinds))
        also = reduce(operator.or_, (kind.also for kind in kinds))
        return Recorder(
            self._runtime,
            rate_hz=self._options.rate_hz,
            facts=wanted | also,
            wanted=wanted if every else 0,
            pause=self._pause,
            depth=self._options.depth,
            own_child=self._options.own_child,
            contexts=self._contexts,
        )

    def run(
        self,
        seconds: float | None,
        stop: Callable[[], bool],
        progress: Callable[[Progress], None],
    ) -> str:
        """Run until the end, and say why it was one."""
        now_ns = self._began_ns
        end_ns = now_ns + round(seconds * 1e9) if seconds is not None else None
        slice_ns = _FIRST_SLICE_NS
        ticks_ns = round(_SLICE_TICKS * 1e9 / self._options.rate_hz)
        while not stop():
            if end_ns is not None and now_ns >= end_ns:
                return TIME_IS_UP
            until_ns = now_ns + slice_ns
            outcome = self._recorder.run(until_ns if end_ns is None else min(until_ns, end_ns))
            if outcome is Outcome.GONE:
                return TARGET_ENDED
            try:
                self._learn()
            except TargetGone:
                return TARGET_ENDED
            now_ns = time.monotonic_ns()
            elapsed_ns = now_ns - self._began_ns
            progress(Progress(elapsed_ns, self._recorder.counters, self._recording))
            slice_ns = min(max(_SLICE_NS, ticks_ns), _LONGEST_SLICE_NS)
        return STOPPED

    def finish(self, end: str) -> Recording:
        """End it. Raises TargetGone if that ended before there was anything."""
        duration_ns = time.monotonic_ns() - self._began_ns
        self._recorder.finish()
        if self._threads:
            self._threads.finish()
        with suppress(TargetGone):  # it has just ended; what was learnt before names nearly all
            self._learn()
        if end == TARGET_ENDED and has_replaced_itself(self._runtime):
            end = TARGET_REPLACED
        nothing = not (self._recorder.counters.samples or self._alone)
        if end in {TARGET_ENDED, TARGET_REPLACED} and nothing:
            raise TargetGone(f"{end} (process {self._runtime.pid}) before anything was sampled")
        return self._recording(end, duration_ns)

    def _learn(self) -> None:
        self._naming.learn(self._recorder)
        if self._threads and not self._alone:
            self._threads.learn()

    def _recording(self, end: str = STILL_RUNNING, duration_ns: int | None = None) -> Recording:
        """What there is until now."""
        counters = self._recorder.counters
        after = circumstances(self._runtime.pid)
        notes = caveats(self._before, after, counters, may_pause=self._pause != "never")
        notes += self._contexts.caveats(counters.contextless)
        notes += self._threads.caveats if self._threads else ()
        notes = tuple(dict.fromkeys(notes))  # of variables both may say the same
        kinds, options = self._kinds, self._options
        what = (
            f"recorded: {','.join(kind.name for kind in kinds)} at {options.rate_hz:g} Hz,"
            f" pause {options.pause}, depth {options.depth}; ended: {end}"
        )
        if duration_ns is None:
            duration_ns = time.monotonic_ns() - self._began_ns
        return Recording(
            kinds=kinds,
            rate_hz=options.rate_hz,
            start_ns=self._start_ns,
            duration_ns=duration_ns,
            end=end,
            counters=counters,
            pauses_ns=tuple(sorted(self._recorder.pauses_ns())),
            caveats=notes,
            comments=(*about.counted_comments(self._runtime, what, counters), *notes),
            mapping=about.mapping_of(self._runtime),
            rows=self._recorder.rows(),
            stack=partial(self._naming.stack, self._recorder.stacks()),
            threads=self._naming.threads(self._recorder.threads()),
            values=self._recorder.values(),
            creations=self._threads.creations() if self._threads else None,
        )
