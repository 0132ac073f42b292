"""What ``go tool pprof`` makes of our files. It is the reader that the format belongs to."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from onlooker import outputs
from onlooker.profile import top
from onlooker.profile.build import Recording, build
from onlooker.profile.kinds import KINDS, Kind
from onlooker.profile.model import Location, Mapping, Profile
from onlooker.profile.rows import Row

from tests import profiles

GO = shutil.which("go")
pytestmark = pytest.mark.skipif(
    GO is None and os.environ.get("ONLOOKER_REQUIRE_ALL") != "1",
    reason="go is not here: apt install golang-go",
)

Pprof = Callable[..., str]


@pytest.fixture
def go_pprof(tmp_path: Path) -> Pprof:
    """Runs ``go tool pprof`` with the arguments, profiles among them; it must not complain."""
    home = tmp_path / "home"
    home.mkdir()

    def run(*arguments: str | Profile) -> str:
        assert GO is not None, "go is not here: apt install golang-go"
        command = [GO, "tool", "pprof"]
        for number, argument in enumerate(arguments):
            if isinstance(argument, Profile):
                path = tmp_path / f"{number}.pb.gz"
                with path.open("wb") as file:
                    outputs.load("pprof").write(argument, file)
                argument = str(path)
            command.append(argument)
        done = subprocess.run(
            command,
            check=False,
            capture_output=True,
            text=True,
            env={**os.environ, "HOME": str(home), "PPROF_TMPDIR": str(home), "TZ": "UTC"},
            cwd=home,
        )
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    return run


def table(top_output: str) -> dict[str, tuple[int, int]]:
    """The flat and cumulative numbers of -top's table by name."""
    _, _, rows = top_output.partition("cum%\n")
    found = {}
    for row in rows.splitlines():
        flat, _, _, cum, _, name = row.split(maxsplit=5)
        found[name] = (number(flat), number(cum))
    return found


def number(text: str) -> int:
    return int(text.removesuffix("ns"))


EVERY_ROW = ("-top", "-nodecount=0", "-nodefraction=0", "-unit=ns")


def test_header(go_pprof: Pprof) -> None:
    lines = go_pprof("-top", profiles.small_profile()).splitlines()
    assert lines[:6] == [
        "File: python3.13",
        "Build ID: 8f2c1de0a4b95d03e7f6",
        "onlooker 0.1.0",
        "Type: cpu",
        "Time: Feb 3, 2026 at 4:05am (UTC)",
        "Duration: 2s, Total samples = 270ms (13.50%)",
    ]


def test_names_are_unchanged(go_pprof: Pprof) -> None:
    profile = profiles.small_profile()
    names = {at.function.name for sample in profile.samples for at in sample.stack}
    assert names > set(profiles.ODD_NAMES)
    assert set(table(go_pprof(*EVERY_ROW, profile))) == names


def test_names_are_readable_when_demangling_is_forced(go_pprof: Pprof) -> None:
    """``-symbolize=demangle=full`` puts the system name in the name's place, and demangles it."""
    # It also looks into the program's file.
    program = Mapping(str(Path(sys.executable).resolve()), "")
    profile = profiles.small_profile()._replace(mapping=program)
    allowed = {*profiles.ODD_NAMES, *profiles.ODD_NAMES.values(), "<module>", "walk", "work"}
    shown = table(go_pprof("-symbolize=demangle=full", *EVERY_ROW, profile))
    assert set(shown) <= allowed
    assert {"walk", "work", "outer.<locals>.<lambda>", "app.<module>"} <= set(shown)


@pytest.mark.parametrize("seed", range(3))
def test_sums(go_pprof: Pprof, seed: int) -> None:
    """Also for our own summary: its numbers are pprof's."""
    profile = profiles.random_profile(seed)
    ours = {total.name: (total.flat, total.cum) for total in top.functions(profile, 0)}
    assert ours
    assert table(go_pprof("-sample_index=samples", *EVERY_ROW, profile)) == ours


def test_raw(go_pprof: Pprof) -> None:
    profile = profiles.small_profile()
    raw = go_pprof("-raw", profile)
    assert "PeriodType: cpu nanoseconds\nPeriod: 10000000\n" in raw
    assert "samples/count cpu/nanoseconds" in raw
    _, _, mappings = raw.partition("Mappings\n")
    assert re.fullmatch(
        r"1: 0x\w+/0x\w+/0x0 /usr/local/bin/python3\.13 8f2c1de0a4b95d03e7f6 \[FN\]\[FL\]\[LN\]\n",
        mappings,
    )
    places = {at for sample in profile.samples for at in sample.stack}
    for at in places:
        place = f" M=1 {at.function.name} {at.function.filename}:{at.line} "
        assert raw.count(place) == 1


def test_traces(go_pprof: Pprof) -> None:
    main = Location(profiles.function("app.<module>"), 3)
    work = Location(profiles.function("app.work"), 9)
    profile = profiles.cpu_profile(
        [
            profiles.sample(work, work, main, count=5),
            profiles.sample(main, count=2, thread="worker", thread_id=9),
        ]
    )
    _, *traces = re.split(r"-{5,}\+-+\n", go_pprof("-traces", profile))
    shown = [" ".join(trace.split()).replace(": ", ":") for trace in traces if trace.strip()]
    assert shown == [
        "thread:MainThread thread_id:7 50ms app.work app.work app.<module>",
        "thread:worker thread_id:9 20ms app.<module>",
    ]


def test_tags(go_pprof: Pprof) -> None:
    tags = go_pprof("-tags", profiles.small_profile())
    assert re.search(r"thread: Total 270\.0ms\n\s+250\.0ms \(92\.59%\): MainThread\n", tags)
    assert re.search(r"thread_id: Total 270\.0ms\n\s+250\.0ms \(92\.59%\): 7\n", tags)
    # pprof takes a plain 9 for a range of numbers, and only a number can be in one.
    focused = go_pprof("-tagfocus=thread_id=^9$", *EVERY_ROW, profiles.small_profile())
    assert table(focused) == {"app.work": (20_000_000, 20_000_000)}


def test_list(go_pprof: Pprof, tmp_path: Path) -> None:
    path, profile = profiles.write_source(tmp_path)
    listed = go_pprof("-list=listed.total", profile)
    assert f"ROUTINE ======================== listed.total in {path}" in listed
    assert re.search(r"^ +20ms +20ms +3: +for x in xs:$", listed, re.MULTILINE)
    assert re.search(r"^ +70ms +70ms +4: +s \+= x$", listed, re.MULTILINE)
    assert re.search(r"^ +\. +\. +5: +return s$", listed, re.MULTILINE)


def test_base(go_pprof: Pprof) -> None:
    work = Location(profiles.function("app.work"), 9)
    idle = Location(profiles.function("app.idle"), 20)
    before = profiles.cpu_profile([profiles.sample(work, count=5), profiles.sample(idle, count=2)])
    # In another order, so with other ids: addresses and names are what they share.
    after = profiles.cpu_profile([profiles.sample(idle, count=2), profiles.sample(work, count=9)])
    shown = go_pprof(*EVERY_ROW, "-base", before, after)
    assert table(shown) == {"app.work": (40_000_000, 40_000_000)}


def test_merge_knows_the_same_locations(go_pprof: Pprof) -> None:
    """Two files of one program have one mapping, and one location for each line."""
    profile = profiles.random_profile(1)
    half = profiles.cpu_profile(list(profile.samples[::2]))
    merged = go_pprof("-raw", profile, half)
    alone = go_pprof("-raw", profile)

    def count(raw: str) -> int:
        return len(re.findall(r"^ +\d+: 0x\w+ M=1 ", raw, re.MULTILINE))

    assert count(merged) == count(alone) > 0


def test_empty_profile_is_read(go_pprof: Pprof) -> None:
    assert "samples/count cpu/nanoseconds" in go_pprof("-raw", profiles.cpu_profile([]))


def test_percentages_of_our_summary(go_pprof: Pprof) -> None:
    profile = profiles.small_profile()

    def columns(lines: list[str]) -> dict[str, list[str]]:
        rows = [line.split(maxsplit=5) for line in lines]
        return {name: [flat, cum] for _, flat, _, _, cum, name in rows}

    _, _, rows = go_pprof(*EVERY_ROW, profile).partition("cum%\n")
    _, _, *ours = top.lines(profile, rows=100)
    assert columns(ours) == {
        name: [f"{float(column[:-1]):.2f}%" if column != "100%" else column for column in found]
        for name, found in columns(rows.splitlines()).items()
    }


@pytest.mark.parametrize(
    "kind", [kind for kind in KINDS.values() if not kind.heap], ids=lambda kind: kind.name
)
def test_every_kind_that_is_made_of_rows(go_pprof: Pprof, kind: Kind) -> None:
    at = Location(profiles.function("app.work"), 9)
    recording = Recording(100, 10**18, 10**9, (), profiles.PYTHON)
    row = Row(1, 5, kind.wanted, 3, wall_ns=400, cpu_ns=200, begun=1, held_up=2, held_up_ns=70)
    profile = build(kind, [row], lambda _: [at], {}, recording)
    shown = go_pprof(*EVERY_ROW, profile)
    value = kind.values(row)[profile.default_index]
    assert f"Type: {profile.sample_types[profile.default_index].type}\n" in shown
    assert table(shown) == {"app.work": (value, value)}
