"""The functions that a profile finds most in, as ``go tool pprof -top`` shows them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Final, NamedTuple

from onlooker.profile.amounts import percent, scale_of, scaled
from onlooker.profile.model import Profile
from onlooker.profile.printable import printable, short

_NAME_LIMIT: Final = 200


class FunctionTotal(NamedTuple):
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
    scale = scale_of(total, profile.sample_types[index].unit)
    accounted = sum(entry.flat for entry in shown)
    yield (
        f"{scaled(accounted, scale)} of {scaled(total, scale)} "
        f"{profile.sample_types[index].type} "
        f"in the first {len(shown)} of {len(totals)} functions"
    )
    yield f"{'flat':>10} {'flat%':>6} {'sum%':>6} {'cum':>10} {'cum%':>6}"
    running = 0
    for entry in shown:
        running += entry.flat
        yield (
            f"{scaled(entry.flat, scale):>10} {percent(entry.flat, total)} "
            f"{percent(running, total)} {scaled(entry.cum, scale):>10} "
            f"{percent(entry.cum, total)}  {short(printable(entry.name), _NAME_LIMIT)}"
        )
