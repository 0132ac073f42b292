"""The table of kinds against what pprof's tools take."""

import pytest
from onlooker.profile.kinds import KINDS, Kind
from onlooker.profile.rows import HOLDS_GIL, HOLDS_LOCK, ON_CPU, WAITS, WAITS_GIL, Row

ALL_FACTS = (
    *(0, ON_CPU, HOLDS_GIL, ON_CPU | HOLDS_GIL, HOLDS_LOCK),
    *(WAITS, WAITS | HOLDS_GIL, WAITS_GIL),
)


def row(facts: int) -> Row:
    return Row(1, 2, facts, samples=3, wall_ns=500, cpu_ns=70, begun=2, held_up=4, held_up_ns=90)


@pytest.mark.parametrize(
    ("kind", "taken", "values"),
    [
        ("cpu", {ON_CPU, ON_CPU | HOLDS_GIL}, (3, 70)),
        ("wall", set(ALL_FACTS), (3, 500)),
        ("goroutine", set(ALL_FACTS), (3,)),
        ("threadcreate", set(ALL_FACTS), (3,)),
        ("gil", {HOLDS_GIL, ON_CPU | HOLDS_GIL, WAITS | HOLDS_GIL}, (3, 500)),
        ("block", {WAITS, WAITS | HOLDS_GIL}, (2, 500)),
        ("mutex", {HOLDS_GIL, ON_CPU | HOLDS_GIL, WAITS | HOLDS_GIL, HOLDS_LOCK}, (4, 90)),
    ],
)
def test_kind_takes_its_rows_and_values(kind: str, taken: set[int], values: object) -> None:
    assert {facts for facts in ALL_FACTS if KINDS[kind].takes(row(facts))} == taken
    assert KINDS[kind].values(row(0)) == values


def test_cpu_is_what_go_writes() -> None:
    """StartCPUProfile: samples/count, cpu/nanoseconds; period 10 ms of cpu/nanoseconds."""
    cpu = KINDS["cpu"]
    types = [(sample_type.type, sample_type.unit) for sample_type in cpu.sample_types]
    assert types == [("samples", "count"), ("cpu", "nanoseconds")]
    assert (cpu.period_type.type, cpu.period_type.unit) == ("cpu", "nanoseconds")
    assert cpu.period(100) == 10_000_000


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())
def test_kind_suits_every_reader(kind: Kind) -> None:
    types = [sample_type.type for sample_type in kind.sample_types]
    assert len(kind.values(row(0))) == len(types)
    assert len(set(types)) == len(types)
    assert len(types) <= 4, "Alloy's fastdelta has room for 4"
    assert not any("-" in name for name in types), "Pyroscope refuses the dash"
    assert kind.default_sample_type in {"", *types}
    assert kind.help
    assert kind.name == kind.name.lower()
