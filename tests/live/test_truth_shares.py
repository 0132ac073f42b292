"""Shares of profiles are those of the target's own account, whatever the target does."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from onlooker import Recording, Target
from onlooker.observe.recorder import Pause

from tests.conftest import StartTarget
from tests.enough import MEASURES, Enough
from tests.interpreters import Interpreter
from tests.interpreters import Target as Program
from tests.stacks import short_name

pytestmark = MEASURES

PROGRAM = Path("truth_shares.py")

Spent = dict[str, float]


def record(
    target: Program, kinds: Sequence[str], enough: Enough, rate_hz: float, pause: Pause = "auto"
) -> tuple[Recording, Spent]:
    """A recording, and what the target says that it did meanwhile."""
    with Target(target.pid) as opened:
        before = account(target)
        recording = opened.record(
            kinds, rate_hz=rate_hz, pause=pause, stop=enough.stop, progress=enough.progress
        )
        after = account(target)
    return recording, {name: after[name] - before.get(name, 0.0) for name in after}


def account(target: Program) -> Spent:
    target.send("")
    spent: Spent = target.read_json()
    return spent


def found(recording: Recording, kind: str, function: str) -> list[int]:
    """The values of what has this function on its stack."""
    profile = recording.profile(kind)
    values = [0] * len(profile.sample_types)
    for sample in profile.samples:
        if function in map(short_name, sample.stack):
            values = [one + other for one, other in zip(values, sample.values, strict=True)]
    return values


def assert_shares(
    recording: Recording, kind: str, spent: Spent, one: str, other: str, *, only_time: bool = False
) -> None:
    """`one` has its share of both, in samples and in nanoseconds."""
    truth = spent[one] / (spent[one] + spent[other])
    ones, others = found(recording, kind, one), found(recording, kind, other)
    samples = ones[0] + others[0]
    error = (truth * (1 - truth) / samples) ** 0.5
    shares = [x / (x + y) for x, y in zip(ones, others, strict=True)]
    # What a sample stands for varies as the time between two of them does. Were that as random as
    # can be, exponential, it would double the variance.
    errors = error, error * 2**0.5
    off = [(share - truth) / one_error for share, one_error in zip(shares, errors, strict=True)]
    print(f"{kind} {one}: {truth:.3f}, found {shares} of {samples}, off by {off} standard errors")
    print(recording.counters)
    assert all(abs(errors_off) < 5 for errors_off in off[only_time:])


@pytest.mark.parametrize("pause", ["auto", "never"])
@pytest.mark.parametrize("slice_s", [20e-6, 5e-3], ids=["20us", "5ms"])
@pytest.mark.alone
def test_moving_and_still(
    interpreter: Interpreter, start_target: StartTarget, slice_s: float, pause: Pause
) -> None:
    """Calls and returns without end count for no more and no less than standing still."""
    target = start_target(interpreter, PROGRAM, "ratio", str(slice_s))
    target.read_line()
    recording, spent = record(target, ["cpu"], Enough(0.6, ticks=100), 1000, pause)
    assert_shares(recording, "cpu", spent, "moving", "still")


def test_sleeping_half_of_the_time(interpreter: Interpreter, start_target: StartTarget) -> None:
    target = start_target(interpreter, PROGRAM, "naps")
    target.read_line()
    recording, spent = record(target, ["wall"], Enough(0.9, ticks=60), 200)
    # Samples of a thread that is awake may be fewer, each for a longer time (`late` says so).
    assert_shares(recording, "wall", spent, "nap", "awake", only_time=True)


def test_contending_for_the_gil(interpreter: Interpreter, start_target: StartTarget) -> None:
    target = start_target(interpreter, PROGRAM, "contend")
    target.read_line()
    recording, spent = record(target, ["gil"], Enough(0.7, ticks=60), 500)
    # A thread that is hard to read has fewer samples, each for a longer time (`spared` says so).
    assert_shares(recording, "gil", spent, "hold_long", "hold_short", only_time=True)
    assert found(recording, "gil", "sleep") == [0, 0]
