"""What grows across many heap profiles of one process, and how sure that is.

A leak is slow beside what a program's heap does anyway: caches fill up, requests come and go, the
collector frees in steps. So what counts is not how much something has grown but how much it has
grown *at least*, both over the whole time and over its later half, so that a cache which filled up
early does not count. Two bounds say so, and the better one is taken, for each fails elsewhere:

- The least-squares slope less three standard errors sees a leak in noise. A heap's values hang
  together from one snapshot to the next, which makes ordinary standard errors far too small; they
  are corrected by the residuals' first autocorrelation, as is usual for time series.
- The smallest value of the last third less the greatest of the first third sees a leak that is no
  straight line, such as one that follows the traffic of day and night.

Beside it, the test of Mann and Kendall tells the confidence that there is a trend upwards at all,
whatever its shape. Outliers don't impress it.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from operator import mul
from typing import Final, Literal

from onlooker.profile.difference import Measure, totals, type_of
from onlooker.profile.model import Profile

MIN_SNAPSHOTS: Final = 3
"""Fewer have no trend."""

MAX_KEYS: Final = 100_000
"""So many stacks are followed, those that are greatest at the end."""

SURE: Final = 0.95
"""The confidence from which on growth is suspicious."""

_STANDARD_ERRORS: Final = 3.0
_OF_ALL_GROWTH: Final = 0.05
"""What grew at least is suspicious if it is such a part of all growth: it goes on."""
_HALVES_FROM: Final = 8
"""So many snapshots have a later half of some meaning."""
_TESTED: Final = 2000
"""So many of the steepest are looked at closely. Those that come after them are small."""
_MOST_CORRELATED: Final = 0.99


@dataclass(frozen=True, slots=True)
class Trend:
    """How one stack or type grew, over the time from the first snapshot to the last.

    Numbers and amounts are as the profile counts them (objects and bytes). ``surely`` is by how
    much the amount grew at least, ``confidence`` (0 to 1) the probability that it grows at all,
    ``r_squared`` the part of its variance that a straight line explains, and ``not_falling`` the
    share of steps from one snapshot to the next that don't fall.
    """

    key: Hashable
    count_first: int
    count_last: int
    amount_first: int
    amount_last: int
    count_per_hour: float
    amount_per_hour: float
    late_amount_per_hour: float
    surely: float
    confidence: float
    r_squared: float
    not_falling: float

    @property
    def suspect(self) -> bool:
        """Whether it looks like a leak."""
        grown = self.amount_last - self.amount_first
        goes_on = self.surely > max(0.0, _OF_ALL_GROWTH * grown)
        return goes_on and self.confidence >= SURE


def _rank(trend: Trend) -> tuple[bool, float]:
    return not trend.suspect, -trend.surely if trend.suspect else -trend.amount_per_hour


class History:
    """The numbers and amounts of many keys at many moments, in 16 bytes each.

    ``last`` is the profile of the last moment: only what is still there then can have leaked, so
    its keys are those that are followed.
    """

    def __init__(self, last: Profile, moments: int, by: Literal["stack", "type"]) -> None:
        self._by = by
        self._moments = moments
        self._measure = Measure.of(last)
        found = totals(last, by, self._measure)
        greatest = sorted(found, key=lambda key: -found[key][1])[:MAX_KEYS]
        self.left_out = len(found) - len(greatest)
        """How many keys are not followed."""
        self._rows = {key: row for row, key in enumerate(greatest)}
        self._counts = array("d", bytes(8 * moments * len(greatest)))
        self._amounts = array("d", bytes(8 * moments * len(greatest)))

    def add(self, moment: int, profile: Profile) -> None:
        """Take in the profile of a moment, counted from 0."""
        row_of, take, width = self._rows.get, self._measure.take, self._moments
        counts, amounts, by_type = self._counts, self._amounts, self._by == "type"
        for sample in profile.samples:
            row = row_of(type_of(sample) if by_type else sample.stack)
            if row is not None:
                count, amount = take(sample)
                counts[row * width + moment] += count
                amounts[row * width + moment] += amount

    def trends(self, times_h: Sequence[float]) -> list[Trend]:
        """Return the trends, the most suspicious first.

        ``times_h`` are the times in hours of the moments that were added, which may be fewer than
        there was room for; at least one.
        """
        line = _Line(times_h)

        def series(values: array[float], row: int) -> array[float]:
            return values[row * self._moments : row * self._moments + len(times_h)]

        steepest = sorted(
            self._rows.items(), key=lambda item: -line.slope(series(self._amounts, item[1]))
        )
        found = [
            trend(key, times_h, series(self._counts, row), series(self._amounts, row))
            for key, row in steepest[:_TESTED]
        ]
        return sorted(found, key=_rank)


def trend(
    key: Hashable, times_h: Sequence[float], counts: Sequence[float], amounts: Sequence[float]
) -> Trend:
    """Return the trend of a series. With less than MIN_SNAPSHOTS moments nothing is sure."""
    line = _Line(times_h)
    slope, least, r_squared = line.fit(amounts)
    late_slope, confidence, hours = slope, _upward(amounts), times_h[-1] - times_h[0]
    surely = max(least * hours, _risen(amounts))
    if len(times_h) >= _HALVES_FROM:
        half = len(times_h) // 2
        late_slope, late_least, _ = _Line(times_h[half:]).fit(amounts[half:])
        late_hours = times_h[-1] - times_h[half]
        late_risen = _risen(amounts[half:]) * hours / late_hours if late_hours else 0.0
        surely = max(min(least, late_least) * hours, min(_risen(amounts), late_risen))
        confidence = min(confidence, _upward(amounts[half:]))
    steps = [after >= before for before, after in pairwise(amounts)]
    return Trend(
        key=key,
        count_first=round(counts[0]),
        count_last=round(counts[-1]),
        amount_first=round(amounts[0]),
        amount_last=round(amounts[-1]),
        count_per_hour=line.slope(counts),
        amount_per_hour=slope,
        late_amount_per_hour=late_slope,
        surely=surely,
        confidence=confidence,
        r_squared=r_squared,
        not_falling=sum(steps) / len(steps) if steps else 1.0,
    )


class _Line:
    """Straight lines through values at given times, by least squares."""

    def __init__(self, times: Sequence[float]) -> None:
        middle = math.fsum(times) / len(times)
        self._times = [time - middle for time in times]
        self._spread = math.fsum(time * time for time in self._times)

    def slope(self, values: Sequence[float]) -> float:
        return sum(map(mul, self._times, values)) / self._spread if self._spread else 0.0

    def fit(self, values: Sequence[float]) -> tuple[float, float, float]:
        """Return the slope, the least that it may well be, and R squared."""
        slope, number = self.slope(values), len(values)
        middle = math.fsum(values) / number
        residuals = [
            value - middle - slope * time for time, value in zip(self._times, values, strict=True)
        ]
        unexplained = math.fsum(residual * residual for residual in residuals)
        total = math.fsum((value - middle) ** 2 for value in values)
        if number < MIN_SNAPSHOTS or not total:
            return slope, 0.0, 0.0
        if not unexplained or not self._spread:
            return slope, slope, 1.0
        correlation = sum(map(mul, residuals, residuals[1:])) / unexplained
        # Residuals of a line seem less correlated than they are, the more so the fewer there are
        # (Kendall 1954, for a trend).
        correlation += (2 + 4 * correlation) / number
        correlation = max(0.0, min(correlation, _MOST_CORRELATED))
        # As if there were only as many values as are independent of each other.
        inflation = math.sqrt((1 + correlation) / (1 - correlation))
        error = math.sqrt(unexplained / (number - 2) / self._spread) * inflation
        return slope, slope - _STANDARD_ERRORS * error, 1 - unexplained / total


def _risen(values: Sequence[float]) -> float:
    """Return how far all of the last third is above all of the first third."""
    third = len(values) // 3
    return min(values[-third:]) - max(values[:third]) if third else 0.0


def _upward(values: Sequence[float]) -> float:
    """Return the one-sided confidence of the Mann-Kendall test that values rise; 0.5: no trend."""
    score = 0
    smaller_first: list[float] = []
    for value in values:
        below = bisect_left(smaller_first, value)
        up_to = bisect_right(smaller_first, value)
        score += below - (len(smaller_first) - up_to)
        smaller_first.insert(up_to, value)
    number = len(values)
    variance = number * (number - 1) * (2 * number + 5)
    variance -= sum(tied * (tied - 1) * (2 * tied + 5) for tied in Counter(values).values())
    if not variance:
        return 0.5
    deviations = (score - math.copysign(1, score)) / math.sqrt(variance / 18) if score else 0.0
    return (1 + math.erf(deviations / math.sqrt(2))) / 2
