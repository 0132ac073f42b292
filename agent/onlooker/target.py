"""The library's own face: open a running Python process, record it, look at its stacks."""

from __future__ import annotations

import shlex
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import IO, TYPE_CHECKING, Final

from onlooker import about
from onlooker.errors import InUse, UsageError
from onlooker.observe.recorder import Pause
from onlooker.profile.kinds import KINDS, Kind
from onlooker.profile.model import Mapping, Profile
from onlooker.profile.snapshot import GreenletStack as GreenletStack
from onlooker.profile.snapshot import Snapshot as Snapshot
from onlooker.profile.snapshot import TaskStack as TaskStack
from onlooker.profile.snapshot import ThreadStack as ThreadStack
from onlooker.recording import DEFAULT_DEPTH, DEFAULT_RATE_HZ, Options
from onlooker.recording import Progress as Progress
from onlooker.recording import Recording as Recording
from onlooker.runtime.locate import Runtime, locate
from onlooker.runtime.version import version_text
from onlooker.sampling import kinds_to_record, record

if TYPE_CHECKING:
    from onlooker.heap import MemoryPicture
    from onlooker.memory import Freeze
    from onlooker.profile.heap import HeapBy, Source
    from onlooker.profiles import CustomProfile, NamedProfile, Profiles
    from onlooker.watch import Watch

_TRACEBACK_DEPTH: Final = 1 << 14


class Target:
    """A running CPython process. Nothing is loaded into it, and nothing in it changes.

    Raises NoSuchProcess, NotPython, UnsupportedPython, NotReady or NotPermitted.
    """

    def __init__(self, pid: int) -> None:
        self.runtime: Runtime = locate(pid)
        self._lock = threading.Lock()
        self._profiles: Profiles | None = None
        self._watch: Watch | None = None

    def close(self) -> None:
        """Let go of the process's memory, after the end of all that goes on in the background.

        A CPU profile in the making is written. Raises what that raises.
        """
        try:
            if self._watch:
                self._watch.close()
            if self._profiles:
                self.stop_cpu_profile()
        finally:
            self.runtime.memory.close()

    def __enter__(self) -> Target:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def version(self) -> str:
        """The target's Python, such as ``3.12.1`` or ``3.15.0rc1``."""
        return version_text(self.runtime.version)

    def record(
        self,
        kinds: Sequence[str] = ("cpu",),
        seconds: float | None = None,
        *,
        rate_hz: float = DEFAULT_RATE_HZ,
        pause: Pause = "auto",
        depth: int = DEFAULT_DEPTH,
        context_vars: Sequence[str] = (),
        own_child: bool = False,
        stop: Callable[[], bool] = lambda: False,
        progress: Callable[[Progress], None] = lambda _: None,
    ) -> Recording:
        """Sample the threads' stacks, ``rate_hz`` times a second and thread.

        Ends after ``seconds``, when ``stop()`` says so (it is asked some times a second and after
        every signal), or with the target; what was gathered until then is returned. A kind that is
        a picture of one moment is taken at the end, and at once if there is no other.
        ``progress`` is called as often. ``own_child``: this process waits for the target's exit;
        not meanwhile, for ``threadcreate``, which traces it (and is not for ``pause`` never).
        Samples get a label for each of ``context_vars``, which are names of ContextVar objects, or
        ``otel`` for the ids of OpenTelemetry's current span.

        Raises UsageError for a kind that does not exist or a rate or depth beyond reach, TargetGone
        if the target ended before there was anything to return, NotPermitted.
        """
        chosen = kinds_to_record(kinds)
        options = Options(rate_hz, pause, depth, context_vars, own_child)
        if all(kind.instant for kind in chosen):
            from onlooker import moment

            return moment.recorded(self.runtime, chosen, options)
        recording = record(self.runtime, chosen, options, seconds, stop, progress)
        if any(kind.instant for kind in chosen):
            from onlooker import moment  # not before the first sample, which would wait for it

            recording = moment.at_its_end(recording, self.runtime, options)
        return recording

    def stacks(self, *, pause: Pause = "auto", depth: int = DEFAULT_DEPTH) -> list[ThreadStack]:
        """Every thread's stack, now; the thread that started first comes first."""
        from onlooker.observe import snapshot

        options = Options(pause=pause, depth=depth)
        return snapshot.threads(self.runtime, pause=options.pause, depth=options.depth)

    def snapshot(
        self,
        *,
        pause: Pause = "auto",
        depth: int = DEFAULT_DEPTH,
        context_vars: Sequence[str] = (),
        variables: bool = False,
    ) -> Snapshot:
        """Every thread's stack, every asyncio task's and every suspended greenlet's, now.

        ``pause`` is about threads: no task is stopped. ``variables``: with those of threads' and
        greenlets' functions. Raises UsageError, TargetGone, NotPermitted.
        """
        from onlooker import moment

        options = Options(pause=pause, depth=depth, context_vars=context_vars)
        return moment.look(self.runtime, options, variables=variables)[0]

    def profiles(self) -> list[NamedProfile]:
        """Every profile that can be had at any moment, by name, and those made by new_profile.

        Those that take a recording in the background are empty until ``watch`` starts it.
        """
        return self._named.all()

    def lookup(self, name: str) -> NamedProfile | None:
        """The one of these with this name, if there is one."""
        return self._named.lookup(name)

    def watch(
        self, rate_hz: float = 10.0, *, pause: Pause = "auto", context_vars: Sequence[str] = ()
    ) -> Watch:
        """Record what only grows, block and mutex, in the background until the watch is closed.

        Raises UsageError for a rate beyond reach, or if there is a watch that is not closed.
        """
        from onlooker.watch import Watch

        Options(rate_hz)  # raises now, and not in the watch's thread
        with self._lock:
            if self._watch and self._watch.running:
                raise InUse("watching already in use")
            kinds = [kind.name for kind in KINDS.values() if kind.grows]
            self._watch = Watch(self, kinds, rate_hz, pause=pause, context_vars=context_vars)
            return self._watch

    def new_profile(self, name: str) -> CustomProfile:
        """Make a profile of one's own. Raises UsageError for a name that is empty or taken."""
        return self._named.new(name)

    def start_cpu_profile(self, file: IO[bytes], rate_hz: float = DEFAULT_RATE_HZ) -> None:
        """Begin a CPU profile that stop_cpu_profile writes to the binary file.

        Raises UsageError if there is one in the making, and otherwise what ``record`` raises.
        """
        self._named.cpu.start(file, rate_hz)

    def stop_cpu_profile(self) -> None:
        """End and write the CPU profile; if there is none, do nothing.

        Raises what ``record`` and writing to the file raise.
        """
        self._named.cpu.stop()

    @property
    def _named(self) -> Profiles:
        from onlooker import profiles  # not before it is needed, as a recording would wait for it

        with self._lock:
            if self._profiles is None:
                grown = [
                    profiles.NamedProfile(kind.name, partial(self._grown, kind))
                    for kind in KINDS.values()
                    if kind.grows
                ]
                memory = [
                    profiles.NamedProfile(kind.name, partial(self.heap_profile, kind.name))
                    for kind in KINDS.values()
                    if kind.heap
                ]
                goroutine = profiles.NamedProfile("goroutine", self._goroutine, self.tracebacks)
                threads = profiles.NamedProfile("threadcreate", self._threadcreate)
                built_in = (*grown, *memory, goroutine, threads)
                self._profiles = profiles.Profiles(built_in, self._describe, self._record_cpu)
            return self._profiles

    def _grown(self, kind: Kind) -> Profile:
        """What the watch has seen until now."""
        from onlooker.profile import build

        if self._watch:
            return self._watch.profile(kind.name)
        mapping, comment = self._describe()
        note = f"{kind.name}: empty, as nobody watches: Target.watch() starts that"
        empty = build.Recording(1, time.time_ns(), 0, (comment, note), mapping)
        return build.build(kind, (), lambda _: (), {}, empty)

    def heap_profile(
        self,
        kind: str = "heap",
        *,
        source: Source = "auto",
        by: HeapBy = "path",
        freeze: Freeze = "snapshot",
        all_frames: bool = False,
    ) -> Profile:
        """What holds memory; ``kind`` may be ``allocs`` as well. Raises as ``picture``."""
        if kind not in KINDS or not KINDS[kind].heap:
            raise UsageError(f"{kind!r} is no profile of memory", "heap and allocs are.")
        return self.picture_profile(
            self.picture(source=source, by=by, freeze=freeze), kind, all_frames=all_frames
        )

    def picture(
        self,
        *,
        source: Source = "auto",
        by: HeapBy = "path",
        freeze: Freeze = "snapshot",
        progress: Callable[[str, int], None] = lambda what, count: None,
    ) -> MemoryPicture:
        """Freeze the process and look at its memory; raises as heap.take_picture tells."""
        from onlooker import heap

        return heap.take_picture(
            self.runtime, source=source, by=by, freeze=freeze, progress=progress
        )

    def picture_profile(
        self, picture: MemoryPicture, kind: str = "heap", *, all_frames: bool = False
    ) -> Profile:
        """The profile of a picture of memory; ``kind`` may be ``allocs`` as well."""
        from onlooker import heap
        from onlooker.observe import memory_status
        from onlooker.profile.heap import build_heap

        status = memory_status.memory_status(self.runtime.pid)
        return build_heap(
            kind,
            picture.sites,
            rate=heap.RATE,
            time_ns=picture.time_ns,
            comments=(*about.comments(self.runtime), *picture.comments, *status),
            mapping=about.mapping_of(self.runtime),
            all_frames=all_frames or picture.source == "objects",
        )

    def write_heap_profile(self, file: IO[bytes]) -> None:
        """Write the heap profile to a binary file. Raises what that and the file raise."""
        heap = self.lookup("heap")
        assert heap  # it is there from the start
        heap.write_to(file)

    def _goroutine(self) -> Profile:
        from onlooker.profile import instant

        return instant.goroutine(self.snapshot())

    def _threadcreate(self) -> Profile:
        """The threads that there are, as nobody watches who creates them."""
        from onlooker.observe import creations
        from onlooker.profile import build, threadcreate

        comments, mapping = about.comments(self.runtime), about.mapping_of(self.runtime)
        now = build.Recording(1, time.time_ns(), 0, comments, mapping)
        return threadcreate.threadcreate(creations.existing(self.runtime), now)

    def tracebacks(self, *, pause: Pause = "auto", context_vars: Sequence[str] = ()) -> str:
        """Every stack as a text for people, as the goroutine profile's with ``debug=2``.

        Raises as ``snapshot``.
        """
        from onlooker import tracebacks

        identity = self.runtime.identity
        process = f"process {identity.pid}: Python {self.version} ({identity.executable})"
        # More frames than are shown, so that those at the root are among them.
        snapshot = self.snapshot(pause=pause, depth=_TRACEBACK_DEPTH, context_vars=context_vars)
        return tracebacks.as_text(f"{process}: {shlex.join(identity.argv)}", snapshot)

    def _record_cpu(self, rate_hz: float, stop: Callable[[], bool]) -> Profile:
        return self.record(["cpu"], rate_hz=rate_hz, stop=stop).profile("cpu")

    def _describe(self) -> tuple[Mapping, str]:
        return about.mapping_of(self.runtime), about.target_comment(self.runtime)
