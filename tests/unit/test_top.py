"""The table of top functions. That its numbers are pprof's is tested in test_go_pprof."""

from pathlib import Path

import pytest
from onlooker.profile import top
from onlooker.profile.model import Location, Profile, Sample, ValueType

from tests import profiles

GOLDEN = Path(__file__).parent.parent / "golden" / "top.txt"


def test_golden(update: bool) -> None:
    text = "".join(f"{line}\n" for line in top.lines(profiles.small_profile(), rows=5))
    if update:
        GOLDEN.write_text(text, encoding="utf-8")
    assert text == GOLDEN.read_text(encoding="utf-8")


def test_recursion_counts_once() -> None:
    walk = Location(profiles.function("app.walk"), 3)
    again = Location(profiles.function("app.walk"), 4)
    profile = profiles.cpu_profile([profiles.sample(walk, again, again, count=2)])
    assert top.functions(profile, 0) == [top.FunctionTotal("app.walk", flat=2, cum=2)]


def test_a_name_cannot_command_the_terminal() -> None:
    evil = Location(profiles.function("app.\x1b]0;owned\x07\nforged 100%"), 1)
    *_, row = top.lines(profiles.cpu_profile([profiles.sample(evil)]))
    assert row.endswith(r"app.\x1b]0;owned\x07\nforged 100%")


def test_nothing_sampled() -> None:
    assert next(top.lines(profiles.cpu_profile([]))).startswith("0 of 0 cpu")
    no_stack = profiles.cpu_profile([Sample((), (1, 10), ())])
    assert top.functions(no_stack) == []


@pytest.mark.parametrize(
    ("unit", "value", "shown"),
    [
        ("nanoseconds", 999, "999ns"),
        ("nanoseconds", 1_500, "1.50us"),
        ("nanoseconds", 2_000_000, "2.00ms"),
        ("nanoseconds", 59_990_000_000, "59.99s"),
        ("nanoseconds", 5_400_000_000_000, "5400.00s"),
        ("bytes", 1_023, "1023B"),
        ("bytes", 1_536, "1.50kB"),
        ("bytes", 3 << 30, "3.00GB"),
        ("count", 1_000_000, "1000000"),
    ],
)
def test_units(unit: str, value: int, shown: str) -> None:
    at = Location(profiles.function("app.f"), 1)
    value_type = ValueType("x", unit)
    profile = Profile(
        "x", (value_type,), value_type, 1, 0, 0, [Sample((at,), (value,), ())], (), profiles.PYTHON
    )
    *_, row = top.lines(profile)
    assert row.split()[0] == shown
