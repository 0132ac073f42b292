"""The profiles of a target by name, as Go's runtime/pprof gives every program its own."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import IO, Final

from onlooker import outputs
from onlooker.errors import InUse, UsageError
from onlooker.outputs.addresses import Addresses
from onlooker.profile.model import Function, Location, Mapping, Profile, Sample, ValueType

_NO_STACK: Final = Location(Function("<no stack>", "<no stack>", "", 0), 0)


class NamedProfile:
    """One of a target's profiles: what it shows now, in every form that Go has for it.

    Any thread may call it.
    """

    def __init__(
        self, name: str, take: Callable[[], Profile], traceback: Callable[[], str] | None = None
    ) -> None:
        self._name = name
        self._take = take
        self._traceback = traceback

    @property
    def name(self) -> str:
        """What tools know it by, such as ``goroutine``; ``Target.lookup`` finds it by this."""
        return self._name

    def profile(self) -> Profile:
        """Return what it shows now. Raises what looking into the target raises."""
        return self._take()

    def count(self) -> int:
        """Return how many stacks are in it now; for contentions and memory, how many different."""
        profile = self.profile()
        if len(profile.sample_types) == 1:
            return sum(sample.values[0] for sample in profile.samples)
        return len(profile.samples)

    def write_to(self, file: IO[bytes], debug: int = 0) -> None:
        """Write what it shows now to a binary file.

        ``debug`` 0 is for tools: pprof's message, compressed. 1 is Go's text, which they also
        take. From 2 on, the goroutine profile is written like Python's tracebacks; others know
        no other text than 1. Raises what ``profile`` and writing to the file raise.
        """
        if debug >= 2 and self._traceback:
            file.write(self._traceback().encode("utf-8", "backslashreplace"))
        else:
            outputs.load("text" if debug > 0 else "pprof").write(self.profile(), file)


class CustomProfile(NamedProfile):
    """A profile of one's own: stacks kept for as long as what they stand for is there."""

    def __init__(self, name: str, describe: Callable[[], tuple[Mapping, str]]) -> None:
        super().__init__(name, self._now)
        self._describe = describe
        self._lock = threading.Lock()
        self._stacks: dict[Hashable, tuple[Location, ...]] = {}

    def add(self, value: Hashable, stack: Sequence[Location]) -> None:
        """Keep a stack, leaf first, until its ``value`` is removed.

        Raises UsageError if the value is there already.
        """
        kept = tuple(stack) or (_NO_STACK,)
        with self._lock:
            if value in self._stacks:
                raise UsageError("pprof: Profile.Add of duplicate value")
            self._stacks[value] = kept

    def remove(self, value: Hashable) -> None:
        """Forget the value and its stack, if it is there."""
        with self._lock:
            self._stacks.pop(value, None)

    def count(self) -> int:
        """Return how many values are there."""
        with self._lock:
            return len(self._stacks)

    def _now(self) -> Profile:
        with self._lock:
            counts = Counter(self._stacks.values())
        mapping, comment = self._describe()
        counted = ValueType(self.name, "count")
        return Profile(
            kind=self.name,
            sample_types=(counted,),
            period_type=counted,
            period=1,
            time_ns=time.time_ns(),
            duration_ns=0,
            samples=[Sample(stack, (count,), ()) for stack, count in _sorted(counts)],
            comments=(comment,),
            mapping=mapping,
        )


def _sorted(counts: Counter[tuple[Location, ...]]) -> list[tuple[tuple[Location, ...], int]]:
    """Return the stacks as Go sorts them: the most frequent first, then by their addresses."""
    new, known = Addresses().new, dict[Location, str]()
    keys = {}
    for stack in counts:
        for location in stack:
            if location not in known:
                known[location] = f"{new(location) + 1:x}"  # as in the text
        keys[stack] = [known[location] for location in stack]
    return sorted(counts.items(), key=lambda item: (-item[1], keys[item[0]]))


class Profiles:
    """The profiles of one target. Any thread may call it."""

    def __init__(
        self,
        built_in: Iterable[NamedProfile],
        describe: Callable[[], tuple[Mapping, str]],
        record_cpu: Callable[[float, Callable[[], bool]], Profile],
    ) -> None:
        self.cpu = CpuProfiling(record_cpu)
        self._lock = threading.Lock()
        self._profiles = {profile.name: profile for profile in built_in}
        self._describe = describe

    def all(self) -> list[NamedProfile]:
        """Return every profile, by name."""
        with self._lock:
            return [profile for _, profile in sorted(self._profiles.items())]

    def lookup(self, name: str) -> NamedProfile | None:
        """Return the profile of this name, if there is one."""
        with self._lock:
            return self._profiles.get(name)

    def new(self, name: str) -> CustomProfile:
        """Make a profile. Raises UsageError for a name that is empty or taken."""
        with self._lock:
            if not name:
                raise UsageError("pprof: NewProfile with empty name")
            if name in self._profiles:
                raise UsageError(f"pprof: NewProfile name already in use: {name}")
            made = CustomProfile(name, self._describe)
            self._profiles[name] = made
            return made


class CpuProfiling:
    """The one CPU profile that can be in the making. Any thread may call it."""

    def __init__(self, record: Callable[[float, Callable[[], bool]], Profile]) -> None:
        self._record = record
        self._lock = threading.Lock()
        self._session: tuple[_Session, IO[bytes]] | None = None

    def start(self, file: IO[bytes], rate_hz: float) -> None:
        """Record from now on; the profile will go to the file.

        Raises UsageError if that is being done already, and what recording raises at its start.
        """
        with self._lock:
            if self._session:
                raise InUse("cpu profiling already in use")
            session = _Session(lambda stop: self._record(rate_hz, stop))
            session.begin()
            self._session = session, file

    def stop(self) -> None:
        """End the recording, if there is one, and write its profile before this returns.

        Raises what recording and writing to the file raise.
        """
        with self._lock:
            if self._session:
                (session, file), self._session = self._session, None
                outputs.load("pprof").write(session.end(), file)


class _Session:
    """A recording in a thread of its own."""

    def __init__(self, record: Callable[[Callable[[], bool]], Profile]) -> None:
        self._record = record
        self._began = threading.Event()
        self._stop = threading.Event()
        self._profile: Profile | None = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="cpu profile", daemon=True)

    def begin(self) -> None:
        """Return when the recording asks for the first time whether to stop: it has begun."""
        self._thread.start()
        self._began.wait()
        if self._error:
            raise self._error

    def end(self) -> Profile:
        self._stop.set()
        self._thread.join()
        if self._profile is None:
            raise self._error or AssertionError("a recording ends with a profile or an error")
        return self._profile

    def _run(self) -> None:
        try:
            self._profile = self._record(self._stopping)
        except BaseException as error:
            self._error = error
        finally:
            self._began.set()

    def _stopping(self) -> bool:
        self._began.set()
        return self._stop.is_set()
