"""The functions that a profile finds most in, as ``go tool pprof -top`` shows them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from onlooker.profile.model import Profile
from onlooker.profile.printable import printable

# No minutes and hours, in which small functions next to a large total all look like 0.01.
_SCALES: Final = {
    "nanoseconds": ((1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "us"), (1, "ns")),
    "bytes": ((1 << 40, "TB"), (1 << 30, "GB"), (1 << 20, "MB"), (1 << 10, "kB"), (1, "B")),
}


@dataclass(frozen=True, slots=True)
class FunctionTotal:
    """A function's sums: ``flat`` of the samples it is the leaf of, ``cum`` of all it is in.

    As in pprof, functions of one name are one, and a recursive one counts once per sample.
    """

    name: str
    flat: int
    cum: int


def functions(profile: Profile, index: int | None = None) -> list[FunctionTotal]:
    """Return all functions, greatest flat first; ``index`` selects the value to be summed."""
    if index is None:
        index = profile.default_index
    flat: dict[str, int] = defaultdict(int)
    cum: dict[str, int] = defaultdict(int)
    for sample in profile.samples:
        value = sample.values[index]
        if sample.stack:
            flat[sample.stack[0].function.name] += value
        for name in {location.function.name for location in sample.stack}:
            cum[name] += value
    totals = [FunctionTotal(name, flat.get(name, 0), cum[name]) for name in cum]
    return sorted(totals, key=lambda total: (-total.flat, -total.cum, total.name))


def lines(profile: Profile, rows: int = 10) -> Iterator[str]:
    """Yield a headline and the table of the first functions, without line ends."""
    index = profile.default_index
    total = sum(sample.values[index] for sample in profile.samples)
    totals = functions(profile, index)
    shown = totals[:rows]
    scale = _scale(total, profile.sample_types[index].unit)
    accounted = sum(entry.flat for entry in shown)
    yield (
        f"{_scaled(accounted, scale)} of {_scaled(total, scale)} "
        f"{profile.sample_types[index].type} "
        f"in the first {len(shown)} of {len(totals)} functions"
    )
    yield f"{'flat':>10} {'flat%':>6} {'sum%':>6} {'cum':>10} {'cum%':>6}"
    running = 0
    for entry in shown:
        running += entry.flat
        yield (
            f"{_scaled(entry.flat, scale):>10} {_percent(entry.flat, total)} "
            f"{_percent(running, total)} {_scaled(entry.cum, scale):>10} "
            f"{_percent(entry.cum, total)}  {printable(entry.name)}"
        )


def _scale(total: int, unit: str) -> tuple[int, str]:
    """Return the greatest unit that the total reaches, as a factor and a suffix."""
    scales = _SCALES.get(unit, ((1, ""),))
    return next((scale for scale in scales if abs(total) >= scale[0]), scales[-1])


def _scaled(value: int, scale: tuple[int, str]) -> str:
    factor, suffix = scale
    if value == 0:
        return "0"
    return f"{value}{suffix}" if factor == 1 else f"{value / factor:.2f}{suffix}"


def _percent(value: int, total: int) -> str:
    percent = abs(100 * value / total) if total else 0.0
    return "  100%" if percent >= 99.995 else f"{percent:5.2f}%"
