"""The table of profile kinds. A new kind is a new entry here, and nothing anywhere else."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final, NamedTuple

from onlooker.profile.model import Labels, Location, ValueType
from onlooker.profile.rows import HOLDS_GIL, HOLDS_LOCK, ON_CPU, WAITS, WAITS_GIL, Row
from onlooker.profile.waits import wait_labels

NANOSECONDS_PER_SECOND: Final = 1_000_000_000


class Kind(NamedTuple):
    """What a profile of this kind shows, and which of the recorder's rows it takes.

    A row counts if it has one of the ``wanted`` facts (0: every row does) and is worth anything.
    ``values`` gives its value for each of ``sample_types``.
    """

    name: str
    help: str
    wanted: int
    sample_types: tuple[ValueType, ...]
    values: Callable[[Row], tuple[int, ...]]
    period_type: ValueType
    default_sample_type: str = ""
    fixed_period: int = 0
    """The period where a sample stands for no time; 0: the rate's."""
    also: int = 0
    """Facts to find out beside those wanted."""
    labels: Callable[[Row, Sequence[Location]], Labels] | None = None
    """What a sample's labels say beside its thread."""
    note: str = ""
    """A comment for every profile of this kind."""
    instant: bool = False
    """A picture of one moment: it is taken, not recorded."""
    watched: bool = False
    """Who creates threads: they are watched, not sampled."""
    heap: bool = False
    """What memory is held, or was allocated: it is found in memory, not recorded."""

    @property
    def timed(self) -> bool:
        """Whether a profile says how long it took. Go's tell of cpu and wall time only."""
        return not self.fixed_period

    @property
    def grows(self) -> bool:
        """Whether there is only what was recorded until now."""
        return not (self.timed or self.instant or self.watched or self.heap)

    def takes(self, row: Row) -> bool:
        return not self.wanted or bool(row.facts & self.wanted)

    def period(self, rate_hz: float) -> int:
        """Return what one sample stands for, in units of ``period_type``."""
        return self.fixed_period or round(NANOSECONDS_PER_SECOND / rate_hz)


SAMPLES: Final = ValueType("samples", "count")


def _timed(
    name: str, help_text: str, wanted: int, values: Callable[[Row], tuple[int, ...]]
) -> Kind:
    time = ValueType(name, "nanoseconds")
    return Kind(name, help_text, wanted, (SAMPLES, time), values, period_type=time)


def _contentions(
    name: str,
    help_text: str,
    wanted: int,
    values: Callable[[Row], tuple[int, ...]],
    *,
    note: str,
    labels: Callable[[Row, Sequence[Location]], Labels],
    also: int = 0,
) -> Kind:
    contentions = ValueType("contentions", "count")
    types = contentions, ValueType("delay", "nanoseconds")
    return Kind(
        name,
        help_text,
        wanted,
        types,
        values,
        period_type=contentions,
        fixed_period=1,
        also=also,
        labels=labels,
        note=note,
    )


def _picture(name: str, help_text: str) -> Kind:
    """Return a kind that profile/instant.py makes."""
    count = ValueType(name, "count")
    return Kind(
        name,
        help_text,
        0,
        (count,),
        lambda row: (row.samples,),
        period_type=count,
        fixed_period=1,
        instant=True,
    )


def _creations(name: str, help_text: str) -> Kind:
    """Return a kind that profile/threadcreate.py makes."""
    count = ValueType(name, "count")
    return Kind(
        name,
        help_text,
        0,
        (count,),
        lambda row: (row.samples,),
        period_type=count,
        fixed_period=1,
        labels=lambda row, stack: (("created", "while watched"),),
        note="threadcreate: created is `while watched` for stacks of threads that created another,"
        " and `before` for the functions run by threads that were there already",
        watched=True,
    )


def _memory(name: str, help_text: str, default_sample_type: str = "") -> Kind:
    """Return a kind that profile/heap.py makes. No row of a recording is worth anything to it."""
    space = ValueType("space", "bytes")
    return Kind(
        name,
        help_text,
        0,
        (
            ValueType("alloc_objects", "count"),
            ValueType("alloc_space", "bytes"),
            ValueType("inuse_objects", "count"),
            ValueType("inuse_space", "bytes"),
        ),
        lambda _: (0, 0, 0, 0),
        period_type=space,
        default_sample_type=default_sample_type,
        fixed_period=1,
        heap=True,
    )


KINDS: Final[Mapping[str, Kind]] = MappingProxyType(
    {
        kind.name: kind
        for kind in (
            _timed(
                "cpu",
                "where threads spend CPU time, as the kernel accounts it",
                ON_CPU,
                lambda row: (row.samples, row.cpu_ns),
            ),
            _timed(
                "wall",
                "where threads spend elapsed time, whether they run or wait",
                0,
                lambda row: (row.samples, row.wall_ns),
            ),
            _timed(
                "gil",
                "where threads hold the GIL while others may wait for it",
                HOLDS_GIL,
                lambda row: (row.samples, row.wall_ns),
            ),
            _contentions(
                "block",
                "where threads wait, and for what",
                WAITS,
                lambda row: (row.begun, row.wall_ns),
                labels=wait_labels,
                note="block: delay is elapsed time, estimated from samples; contentions are waits"
                " that samples met, and so a lower bound; waits for the GIL are in mutex",
            ),
            _contentions(
                "mutex",
                "which code holds the GIL, or a threading.RLock, while others wait for it",
                HOLDS_GIL | HOLDS_LOCK,
                lambda row: (row.held_up, row.held_up_ns),
                labels=lambda row, _: (("lock", "RLock" if row.facts & HOLDS_LOCK else "GIL"),),
                also=WAITS_GIL,
                note="mutex: delay is the time of all threads that waited for the GIL or an RLock,"
                " estimated from samples; contentions are waits that samples met, and so a lower"
                " bound; other locks do not tell who holds them",
            ),
            _picture(
                "goroutine",
                "what all threads, suspended asyncio tasks and greenlets are doing at the end;"
                " alone, now (run: after --seconds, or when a signal comes for the program)",
            ),
            _creations(
                "threadcreate",
                "which code creates threads; of those that are there already, what they run",
            ),
            _memory("heap", "what holds the memory that is in use now"),
            _memory("allocs", "the same as heap, showing first what was allocated", "alloc_space"),
        )
    }
)
