"""What grows across snapshots: a leak is found among all that a heap does anyway."""

import math
import random
from collections.abc import Callable
from typing import Literal

import pytest
from onlooker.profile import growth
from onlooker.profile.growth import History, Trend, trend
from onlooker.profile.model import Profile, Sample

from tests.profiles import heap_profile, held

HEAP_BYTES = 1 << 30
SNAPSHOTS = 96
QUARTERS_H = [number / 4 for number in range(SNAPSHOTS)]

Shape = Callable[[float], float]
"""The part of the heap that something holds, by the part of the time that has passed."""


def heap(seed: int) -> dict[tuple[str, ...], Shape]:
    """A heap that a program of some size has: its owner paths and what becomes of them."""
    choose = random.Random(seed)
    shapes: dict[tuple[str, ...], Shape] = {
        ("app", "STEADY", "{...}", "bytes"): lambda _: 0.4,
        ("app", "LEAK", "[...]", "Session"): lambda t: 0.02 + 0.01 * t + choose.gauss(0, 0.0005),
    }

    def cache(size: float, full_at: float) -> Shape:
        return lambda t: size * min(1, t / full_at) + choose.gauss(0, 0.0003)

    def sawtooth(size: float, period: float, phase: float) -> Shape:
        return lambda t: size * ((t / period + phase) % 1)

    def noise(size: float) -> Shape:
        return lambda _: size * choose.random()

    for number in range(10):
        full_at, size = choose.uniform(0.02, 0.4), choose.uniform(0.01, 0.1)
        shapes["lib", f"cache{number}", "{...}", "dict"] = cache(size, full_at)
        period, phase = choose.uniform(0.02, 0.3), choose.random()
        saw = sawtooth(choose.uniform(0.01, 0.1), period, phase)
        shapes["gc", f"garbage{number}", "list"] = saw
        shapes["web", f"requests{number}", "Request"] = noise(choose.uniform(0.01, 0.1))
    for number in range(200):
        shapes["small", f"global{number}", "str"] = noise(choose.uniform(0, 0.001))
    return shapes


def moment(shapes: dict[tuple[str, ...], Shape], part: float) -> Profile:
    samples = []
    for path, shape in shapes.items():
        size = 100 if path[0] == "lib" else 64
        samples.append(held(*path, count=max(0, round(HEAP_BYTES * shape(part) / size)), size=size))
    return heap_profile(samples)


def names(found: Trend) -> tuple[str, ...]:
    assert isinstance(found.key, tuple)
    return tuple(at.function.name for at in reversed(found.key))


@pytest.fixture(scope="module", params=range(5))
def moments(request: pytest.FixtureRequest) -> list[Profile]:
    shapes = heap(request.param)
    return [moment(shapes, number / (SNAPSHOTS - 1)) for number in range(SNAPSHOTS)]


def followed(moments: list[Profile], by: Literal["stack", "type"]) -> list[Trend]:
    history = History(moments[-1], len(moments), by)
    for number, profile in enumerate(moments):
        history.add(number, profile)
    assert history.left_out == 0
    return history.trends(QUARTERS_H[: len(moments)])


def test_leak_of_one_per_cent_is_found(moments: list[Profile]) -> None:
    first, *others = followed(moments, "stack")
    assert first.suspect
    assert names(first) == ("app", "LEAK", "[...]", "Session")
    hours = QUARTERS_H[-1]
    assert first.amount_per_hour == pytest.approx(0.01 * HEAP_BYTES / hours, rel=0.1)
    assert first.count_per_hour == pytest.approx(first.amount_per_hour / 64, rel=0.01)
    assert first.late_amount_per_hour == pytest.approx(first.amount_per_hour, rel=0.3)
    assert 0.5 < first.surely / (0.01 * HEAP_BYTES) < 1
    assert first.confidence > 0.999
    caches = [found for found in others if names(found)[0] == "lib"]
    assert caches
    assert not any(found.suspect for found in caches), "it is full and grows no more"
    assert sum(found.suspect for found in others) <= 2, "chance"


def test_leaking_type_is_found(moments: list[Profile]) -> None:
    first, *_ = followed(moments, "type")
    assert (first.key, first.suspect) == ("Session", True)


def test_without_a_leak_nothing_much_is_suspected() -> None:
    suspected = 0
    for seed in range(5):
        shapes = heap(seed)
        del shapes["app", "LEAK", "[...]", "Session"]
        found = followed([moment(shapes, n / (SNAPSHOTS - 1)) for n in range(SNAPSHOTS)], "stack")
        suspected += sum(one.suspect and one.surely > 0.001 * HEAP_BYTES for one in found)
    assert suspected == 0


# Single series.


def by_hour(shape: Callable[[int], float], number: int = 24) -> Trend:
    values = [shape(hour) for hour in range(number)]
    return trend("it", list(range(number)), [value / 10 for value in values], values)


def test_straight_line() -> None:
    found = by_hour(lambda hour: 1000 + 50 * hour)
    assert found.amount_per_hour == pytest.approx(50)
    assert found.count_per_hour == pytest.approx(5)
    assert found.surely == pytest.approx(50 * 23)
    assert found.r_squared == pytest.approx(1)
    assert found.not_falling == 1
    assert (found.amount_first, found.amount_last) == (1000, 2150)
    assert (found.count_first, found.count_last) == (100, 215)
    assert found.suspect


def test_least_squares_is_that_of_the_textbook() -> None:
    """Against the normal equations, solved plainly."""
    choose = random.Random(3)
    values = [choose.randrange(1000) for _ in range(30)]
    n = len(values)
    sum_t, sum_y = sum(range(n)), sum(values)
    sum_ty, sum_tt = sum(t * y for t, y in enumerate(values)), sum(t * t for t in range(n))
    slope = (n * sum_ty - sum_t * sum_y) / (n * sum_tt - sum_t**2)
    found = by_hour(lambda hour: values[hour], n)
    assert found.amount_per_hour == pytest.approx(slope)
    rest = sum((y - sum_y / n - slope * (t - sum_t / n)) ** 2 for t, y in enumerate(values))
    total = sum((y - sum_y / n) ** 2 for y in values)
    assert found.r_squared == pytest.approx(1 - rest / total)


@pytest.mark.parametrize("ties", [2, 1000])
def test_mann_kendall_is_that_of_the_definition(ties: int) -> None:
    choose = random.Random(ties)
    values = [choose.randrange(ties) + hour / 10 // 1 for hour in range(7)]
    n = len(values)
    pairs = [(values[j] > values[i]) - (values[j] < values[i]) for j in range(n) for i in range(j)]
    groups = [values.count(value) for value in set(values)]
    variance = (n * (n - 1) * (2 * n + 5) - sum(g * (g - 1) * (2 * g + 5) for g in groups)) / 18
    score = sum(pairs)
    z = (score - math.copysign(1, score)) / math.sqrt(variance) if score else 0
    expected = (1 + math.erf(z / math.sqrt(2))) / 2
    assert by_hour(lambda hour: values[hour], n).confidence == pytest.approx(expected)


@pytest.mark.parametrize(
    ("shape", "suspect"),
    [
        pytest.param(lambda hour: 7, False, id="steady"),
        pytest.param(lambda hour: 1000 - hour, False, id="shrinking"),
        pytest.param(lambda hour: min(hour, 5), False, id="cache-filled-early"),
        pytest.param(lambda hour: 100 * (hour >= 15), False, id="jumped-once"),
        pytest.param(lambda hour: 100 * (hour == 23), False, id="jumped-just-now"),
        pytest.param(lambda hour: hour % 4, False, id="sawtooth"),
        pytest.param(lambda hour: hour // 3, True, id="stairs"),
        pytest.param(lambda hour: hour * hour, True, id="faster-and-faster"),
        pytest.param(lambda hour: hour - 5 * math.sin(hour / 4), True, id="day-and-night"),
        pytest.param(lambda hour: 100 * (1 - math.exp(-hour / 4)), False, id="cache-nearly-full"),
        pytest.param(lambda hour: hour + 3 * (hour % 2), True, id="leak-and-noise"),
        pytest.param(lambda hour: 10 * hour - 10 * hour * (hour == 11), True, id="one-outlier"),
    ],
)
def test_suspicion(shape: Callable[[int], float], suspect: bool) -> None:
    assert by_hour(shape).suspect == suspect


@pytest.mark.parametrize("number", [1, 2])
def test_few_snapshots_make_no_suspect(number: int) -> None:
    found = by_hour(lambda hour: 100 * hour, number)
    assert not found.suspect
    assert found.amount_per_hour == (100 if number == 2 else 0)


def test_snapshots_of_one_moment_have_no_slope() -> None:
    found = trend("it", [0, 0, 0], [1, 2, 3], [1, 2, 3])
    assert (found.amount_per_hour, found.suspect) == (0, False)


# What is followed.


def test_what_is_gone_at_the_end_is_not_followed() -> None:
    gone, stays = held("gone", count=9, size=9), held("stays", count=1, size=9)
    history = History(heap_profile([stays]), 2, "type")
    history.add(0, heap_profile([gone]))
    history.add(1, heap_profile([stays]))
    (found,) = history.trends([0, 1])
    assert (found.key, found.amount_first, found.amount_last) == ("stays", 0, 9)


def test_only_the_greatest_are_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(growth, "MAX_KEYS", 2)
    last = heap_profile([held(name, count=n, size=9) for n, name in enumerate("abcd", start=1)])
    history = History(last, 1, "type")
    history.add(0, last)
    assert history.left_out == 2
    assert {found.key for found in history.trends([0.0])} == {"c", "d"}


def test_sizes_of_objects_do_not_set_paths_apart() -> None:
    """The label ``bytes`` is an average, which changes."""
    moments = [heap_profile([held("a", "b", count=4, size=50 + number)]) for number in range(9)]
    (found,) = followed(moments, "stack")
    assert (found.amount_first, found.amount_last) == (200, 232)


def test_samples_of_one_path_are_added() -> None:
    double = [held("a", "b", count=1, size=50), held("a", "b", count=1, size=70)]
    (found,) = followed([heap_profile(double)] * 3, "stack")
    assert (found.count_last, found.amount_last) == (2, 120)


def test_allocs_are_followed_by_what_was_allocated() -> None:
    def profile(number: int) -> Profile:
        sample = Sample(held("a", count=1, size=1).stack, (number, 10 * number, 1, 1), ())
        return heap_profile([sample])._replace(default_sample_type="alloc_space")

    (found,) = followed([profile(number) for number in range(1, 10)], "stack")
    assert (found.count_last, found.amount_last) == (9, 90)
