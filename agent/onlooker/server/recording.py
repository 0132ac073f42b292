"""Profiles of all kinds, as the bytes that a client gets. All of it runs in threads."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from onlooker import outputs
from onlooker.observe.recorder import Counters
from onlooker.profile.difference import difference
from onlooker.profile.kinds import KINDS, Kind
from onlooker.profile.model import Profile
from onlooker.profile.threadcreate import created_meanwhile
from onlooker.server.settings import Settings
from onlooker.server.symbols import Symbols
from onlooker.server.workers import Stopped
from onlooker.target import Target
from onlooker.watch import Watch

_TRACEBACK: Final = 2
"""From this ``debug`` on, Go writes stacks as a crash does."""

Recorded = Callable[[Counters, Sequence[int]], None]


class Maker(NamedTuple):
    """Makes profiles as the settings say, and tells ``recorded`` of each recording.

    ``symbols`` learns the names in texts.
    """

    settings: Settings
    recorded: Recorded
    symbols: Symbols

    def over(self, kind: Kind, seconds: float, target: Target, stop: threading.Event) -> bytes:
        """Record for some time. Raises Stopped, and what Target.record does."""
        return packed(self._record(kind, seconds, target, stop))

    def now(
        self, kind: Kind, debug: int, watch: Watch | None, target: Target, _: threading.Event
    ) -> bytes:
        """Return what there is at this moment or, of what only grows, has been until now.

        ``debug`` is Go's: other than 0, it asks for text. Raises what looking into the target does.
        """
        file = io.BytesIO()
        if kind.instant and debug >= _TRACEBACK:
            settings = self.settings
            text = target.tracebacks(pause=settings.pause, context_vars=settings.context_vars)
            file.write(text.encode("utf-8", "backslashreplace"))
        else:
            profile = self._moment(kind, watch, target)
            outputs.load("text" if debug > 0 else "pprof").write(profile, file)
            if debug > 0:
                self.symbols.learn(file.getvalue().decode("utf-8", "replace"))
        return file.getvalue()

    def counts(self, watch: Watch | None, target: Target, _: threading.Event) -> dict[str, int]:
        """Return how many there are of each kind that has some at any moment.

        Not of memory, for which all of it would have to be read.
        """
        moments = (kind for kind in KINDS.values() if not (kind.timed or kind.heap))
        return {kind.name: _count(self._moment(kind, watch, target)) for kind in moments}

    def change(self, kind: Kind, seconds: float, target: Target, stop: threading.Event) -> bytes:
        """Return how much more (or less) there is after some time. Raises as ``over``."""
        if kind.instant or kind.heap:
            before = self._moment(kind, None, target)
            if stop.wait(seconds):
                raise Stopped
            return packed(difference(before, self._moment(kind, None, target)))
        # What only grows has grown by what a recording of that time shows, and in more detail.
        began_ns = time.monotonic_ns()
        profile = self._record(kind, seconds, target, stop)
        if kind.watched:
            profile = created_meanwhile(profile)
        took_ns = time.monotonic_ns() - began_ns
        return packed(profile._replace(time_ns=profile.time_ns + took_ns, duration_ns=took_ns))

    def _moment(self, kind: Kind, watch: Watch | None, target: Target) -> Profile:
        settings = self.settings
        if kind.instant:
            taken = target.record(
                [kind.name],
                pause=settings.pause,
                depth=settings.depth,
                context_vars=settings.context_vars,
            )
            return taken.profile(kind.name, all_frames=settings.all_frames)
        if kind.heap:
            return target.heap_profile(kind.name, all_frames=settings.all_frames)
        if watch and not kind.watched:
            return watch.profile(kind.name, all_frames=settings.all_frames)
        named = target.lookup(kind.name)
        assert named  # what only grows is there, but empty without a watch
        return named.profile()

    def _record(self, kind: Kind, seconds: float, target: Target, stop: threading.Event) -> Profile:
        settings = self.settings
        recording = target.record(
            [kind.name],
            seconds,
            rate_hz=settings.rate_hz,
            pause=settings.pause,
            depth=settings.depth,
            context_vars=settings.context_vars,
            stop=stop.is_set,
        )
        self.recorded(recording.counters, recording.pauses_ns)
        if stop.is_set():
            raise Stopped
        return recording.profile(kind.name, all_frames=settings.all_frames)


def packed(profile: Profile) -> bytes:
    """Return the profile in pprof's format."""
    file = io.BytesIO()
    outputs.load("pprof").write(profile, file)
    return file.getvalue()


def _count(profile: Profile) -> int:
    if len(profile.sample_types) == 1:
        return sum(sample.values[0] for sample in profile.samples)
    return len(profile.samples)
