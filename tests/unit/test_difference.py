"""What differs between two profiles, against ``go tool pprof -diff_base``."""

import os
import random
import re
import shutil
from pathlib import Path

import pytest
from onlooker import outputs
from onlooker.profile.difference import Measure, changes, difference, totals
from onlooker.profile.model import Function, Location, Profile, Sample, ValueType

from tests.commands import go_pprof
from tests.profiles import cpu_profile, heap_profile, held, sample


def test_difference() -> None:
    a, b, c = (Location(Function(name, name, "a.py", 1), 1) for name in "abc")
    before = cpu_profile([sample(a, count=3), sample(b, count=2), sample(b, a, count=1)])
    after = cpu_profile([sample(a, count=5), sample(b, a, count=1), sample(c, count=4)])
    after = after._replace(time_ns=before.time_ns + 9)
    changed = difference(before, after)
    assert {s.stack: s.values[0] for s in changed.samples} == {(a,): 2, (b,): -2, (c,): 4}
    assert (changed.time_ns, changed.duration_ns) == (after.time_ns, 9)


def test_labels_set_samples_apart() -> None:
    a = Location(Function("a", "a", "a.py", 1), 1)
    changed = difference(
        cpu_profile([sample(a, thread="one")]), cpu_profile([sample(a, thread="two")])
    )
    assert [s.values[0] for s in changed.samples] == [1, -1]


def test_what_a_profile_cannot_hold_is_the_nearest() -> None:
    most, least = (1 << 63) - 1, -(1 << 63)
    a = Location(Function("a", "a", "a.py", 1), 1)
    before = cpu_profile([Sample((a,), (most, least), ())])
    after = cpu_profile([Sample((a,), (least, most), ())])
    (changed,) = difference(before, after).samples
    assert changed.values == (least, most)


def test_what_counts_other_things_is_refused() -> None:
    cpu = cpu_profile([])
    other = cpu._replace(sample_types=(cpu.sample_types[0],))
    with pytest.raises(ValueError, match="one counts samples/count, cpu/nanoseconds, the other"):
        difference(cpu, other)
    with pytest.raises(ValueError, match="one counts"):
        changes(cpu, heap_profile([]), "stack")
    other = cpu._replace(period_type=ValueType("wall", "nanoseconds"))
    with pytest.raises(ValueError, match="period types"):
        difference(cpu, other)


def test_changes() -> None:
    before = heap_profile(
        [
            held("app", "CACHE", "dict", count=2, size=100),
            held("app", "CACHE", "str", count=10, size=10),
            held("lib", "str", count=1, size=50),
        ]
    )
    after = heap_profile(
        [
            held("app", "CACHE", "dict", count=2, size=100),
            held("app", "CACHE", "str", count=30, size=12),
            held("app", "NEW", "str", count=1, size=5),
        ]
    )

    def rows(by: str) -> list[tuple[object, int, int]]:
        assert by in ("stack", "type", "function")
        found = changes(before, after, by)  # type: ignore[arg-type]
        return [(change.key, change.number, change.amount) for change in found]

    assert rows("type") == [("str", 20, 215)]
    assert rows("function") == [
        ("app", 21, 265),
        ("CACHE", 20, 260),
        ("str", 20, 215),
        ("NEW", 1, 5),
        ("lib", -1, -50),
    ]
    (grown, new, gone) = changes(before, after, "stack")
    assert isinstance(grown.key, tuple)
    assert [at.function.name for at in grown.key] == ["str", "CACHE", "app"]
    assert (grown.number_before, grown.number_after) == (10, 30)
    assert (grown.amount_before, grown.amount_after) == (100, 360)
    assert (new.amount_before, new.amount_after) == (0, 5)
    assert (gone.amount_before, gone.amount_after) == (50, 0)


def test_measure_is_what_is_shown_first() -> None:
    heap = heap_profile([])
    assert Measure.of(heap) == Measure(3, 2)
    assert Measure.of(heap._replace(default_sample_type="alloc_space")) == Measure(1, 0)
    only = heap._replace(sample_types=(ValueType("goroutine", "count"),))
    assert Measure.of(only) == Measure(0, None)


def heaps(seed: int) -> tuple[Profile, Profile]:
    """Two heap profiles that have most paths in common, and object sizes that change."""
    choose = random.Random(seed)
    paths = [tuple(choose.choices("abcdefghij", k=choose.randrange(1, 6))) for _ in range(80)]

    def moment(time_ns: int) -> Profile:
        samples = {
            path: held(
                *(f"m.{name}" for name in path),
                count=choose.randrange(1, 9000),
                size=choose.choice([48, 64]),
            )
            for path in choose.sample(paths, 60)
        }
        return heap_profile(list(samples.values()), time_ns)

    return moment(10**18), moment(10**18 + 10**12)


def table(top_output: str) -> dict[str, tuple[int, int]]:
    _, _, rows = top_output.partition("cum%\n")
    found = {}
    for row in rows.splitlines():
        flat, _, _, cum, _, name = row.split(maxsplit=5)
        found[name] = int(re.sub(r"B$", "", flat)), int(re.sub(r"B$", "", cum))
    return found


@pytest.mark.skipif(
    shutil.which("go") is None and os.environ.get("ONLOOKER_REQUIRE_ALL") != "1",
    reason="go is not here: apt install golang-go",
)
@pytest.mark.parametrize("sample_index", ["inuse_space", "inuse_objects"])
@pytest.mark.parametrize("seed", range(3))
def test_go_finds_the_same(tmp_path: Path, seed: int, sample_index: str) -> None:
    before, after = heaps(seed)
    paths = [tmp_path / name for name in ("before.pb.gz", "after.pb.gz", "difference.pb.gz")]
    for path, profile in zip(paths, (before, after, difference(before, after)), strict=True):
        with path.open("wb") as file:
            outputs.load("pprof").write(profile, file)
    every_row = "-top", "-nodecount=0", "-nodefraction=0", "-unit=B"
    choice = f"-sample_index={sample_index}"
    of_go = table(go_pprof(*every_row, choice, f"-diff_base={paths[0]}", paths[1], cwd=tmp_path))
    assert of_go
    assert table(go_pprof(*every_row, choice, paths[2], cwd=tmp_path)) == of_go
    index = 1 if sample_index == "inuse_space" else 0
    measure = Measure.of(after)
    was, is_now = totals(before, "function", measure), totals(after, "function", measure)
    ours = {
        str(name): is_now.get(name, (0, 0))[index] - was.get(name, (0, 0))[index]
        for name in {**was, **is_now}
    }
    assert {name: cum for name, (_, cum) in of_go.items()} == ours
