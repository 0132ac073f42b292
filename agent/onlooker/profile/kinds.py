"""The table of profile kinds. A new kind is a new entry here, and nothing anywhere else."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from onlooker.profile.model import ValueType
from onlooker.profile.rows import HOLDS_GIL, ON_CPU, Row

NANOSECONDS_PER_SECOND: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Kind:
    """What a profile of this kind shows, and which of the recorder's rows it takes.

    A row counts if it has all the ``wanted`` facts (0: every row does). ``values`` gives the
    row's value for each of ``sample_types``.
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
    instant: bool = False
    """A picture of one moment: it is taken, not recorded."""

    @property
    def timed(self) -> bool:
        """Whether a profile says how long it took. Go's tell of cpu and wall time only."""
        return not self.fixed_period

    def takes(self, row: Row) -> bool:
        return row.facts & self.wanted == self.wanted

    def period(self, rate_hz: float) -> int:
        """Return what one sample stands for, in units of ``period_type``."""
        return self.fixed_period or round(NANOSECONDS_PER_SECOND / rate_hz)


SAMPLES: Final = ValueType("samples", "count")


def _timed(
    name: str, help_text: str, wanted: int, values: Callable[[Row], tuple[int, ...]]
) -> Kind:
    time = ValueType(name, "nanoseconds")
    return Kind(name, help_text, wanted, (SAMPLES, time), values, period_type=time)


KINDS: Final[Mapping[str, Kind]] = MappingProxyType(
    {
        kind.name: kind
        for kind in (
            _timed(
                "cpu",
                "where threads spend CPU time, as the kernel accounts it",
                ON_CPU,
                lambda row: (row.count, row.cpu_ns),
            ),
            _timed(
                "wall",
                "where threads spend elapsed time, whether they run or wait",
                0,
                lambda row: (row.count, row.wall_ns),
            ),
            _timed(
                "gil",
                "where threads hold the GIL while others may wait for it",
                HOLDS_GIL,
                lambda row: (row.count, row.wall_ns),
            ),
        )
    }
)
