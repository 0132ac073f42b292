"""`onlooker diff` and `onlooker growth`, on files: no process is needed."""

import argparse
import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from onlooker import cli, outputs
from onlooker.cli import growth, quantities
from onlooker.outputs import reading
from onlooker.profile.model import Function, Location, Profile, Sample
from onlooker.snapshots import snapshot_name

from tests import profiles
from tests.commands import Command, go_pprof, onlooker
from tests.profiles import heap_profile, held

HOUR_NS = 3_600_000_000_000
START_NS = 1_770_091_506_000_000_000

needs_go = pytest.mark.skipif(
    shutil.which("go") is None and os.environ.get("ONLOOKER_REQUIRE_ALL") != "1",
    reason="go is not here: apt install golang-go",
)


def write(path: Path, profile: Profile) -> Path:
    with path.open("wb") as file:
        outputs.load("pprof").write(profile, file)
    return path


def run(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    """What a command that succeeds prints on stdout."""
    assert cli.main(list(map(str, arguments))) == 0
    return capsys.readouterr().out


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """Two heap profiles, taken six hours apart."""
    before = [
        held("app", "SESSIONS", "{...}", "Session", count=100, size=64),
        held("app", "CACHE", "{...}", "bytes", count=10, size=1 << 20),
        held("lib", "STEADY", "dict", count=7, size=232),
    ]
    after = [
        held("app", "SESSIONS", "{...}", "Session", count=164, size=64),
        held("app", "CACHE", "{...}", "bytes", count=4, size=1 << 20),
        held("app", "NEW", "[...]", "Session", count=2, size=64),
        held("lib", "STEADY", "dict", count=7, size=232),
    ]
    return (
        write(tmp_path / "before.pb.gz", heap_profile(before, START_NS)),
        write(tmp_path / "after.pb.gz", heap_profile(after, START_NS + 6 * HOUR_NS)),
    )


# diff.


def test_diff(pair: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "diff", *pair) == (
        "2026-02-03 04:05:06 UTC to 2026-02-03 10:05:06 UTC, 6.0 h\n"
        "inuse_space: 10.01MB to 4.01MB, -6.00MB\n"
        "inuse_objects: 117 to 177, +60\n"
        "\n"
        "     change       count     before      after  what\n"
        "    +4.00kB         +64     6.25kB    10.25kB  app -> SESSIONS -> {...} -> Session\n"
        "      +128B          +2          0       128B  app -> NEW -> [...] -> Session\n"
        "    -6.00MB          -6    10.00MB     4.00MB  app -> CACHE -> {...} -> bytes\n"
    )


def test_diff_by_type_and_function(
    pair: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    def table(by: str) -> dict[str, tuple[str, str]]:
        *_, rows = run(capsys, "diff", *pair, "--by", by).partition("what\n")
        split = (row.split(maxsplit=4) for row in rows.splitlines())
        return {name: (change, count) for change, count, _, _, name in split}

    assert table("type") == {"Session": ("+4.12kB", "+66"), "bytes": ("-6.00MB", "-6")}
    assert table("function")["app"] == ("-6.00MB", "+60")
    assert "STEADY" not in table("function")


def test_diff_shows_the_greatest(
    pair: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    text = run(capsys, "diff", *pair, "--top", "2")
    assert "NEW" not in text
    assert text.endswith("and 1 more; --top 3 shows all\n")
    assert text.index("SESSIONS") < text.index("CACHE")


def test_diff_as_json(pair: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    found: dict[str, Any] = json.loads(run(capsys, "diff", *pair, "--json", "--top", "2"))
    assert (found["sample_type"], found["unit"], found["seconds"]) == (
        "inuse_space",
        "bytes",
        21600,
    )
    assert found["not_shown"] == 1
    first, _ = found["changes"]
    assert [step["function"] for step in first["what"]] == ["app", "SESSIONS", "{...}", "Session"]
    assert {key: value for key, value in first.items() if key != "what"} == {
        "amount": 4096,
        "amount_before": 6400,
        "amount_after": 10496,
        "count": 64,
        "count_before": 100,
        "count_after": 164,
    }


@needs_go
def test_diff_writes_what_go_finds(
    pair: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written = tmp_path / "difference.pb.gz"
    assert "SESSIONS" in run(capsys, "diff", *pair, "-o", written)

    def table(*arguments: str | Path) -> list[list[str]]:
        every_row = "-top", "-nodecount=0", "-nodefraction=0", "-unit=B"
        _, _, rows = go_pprof(*every_row, *arguments, cwd=tmp_path).partition("cum%\n")
        split = (row.split(maxsplit=5) for row in rows.splitlines())
        return sorted([name, flat, cum] for flat, _, _, cum, _, name in split)

    before, after = pair
    assert table(written) == table(f"-diff_base={before}", after) != []
    comments = go_pprof("-comments", written, cwd=tmp_path)
    assert f"difference: {after} minus {before}" in comments


def test_diff_to_standard_output(pair: tuple[Path, Path], tmp_path: Path) -> None:
    done = onlooker("diff", *pair, "-o", "-").ok()
    path = tmp_path / "received.pb.gz"
    path.write_bytes(done.stdout)
    assert sum(sample.values[3] for sample in reading.read(path).samples) == 4224 - (6 << 20)
    assert "SESSIONS" in done.stderr


def test_diff_of_one_and_the_same(
    pair: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(capsys, "diff", pair[0], pair[0]).endswith("nothing differs\n")


def test_diff_of_what_has_no_count(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of goroutine there is only how many; and odd names stay in their line."""
    odd = Function("odd\x1b[2J\nname", "", "/srv/a\nb.py", 1)

    def profile(number: int) -> Profile:
        like = profiles.cpu_profile([Sample((Location(odd, 7),), (number,), ())])
        count = like.sample_types[0]._replace(type="goroutine")
        return like._replace(sample_types=(count,), period_type=count)

    paths = [write(tmp_path / f"{number}.pb.gz", profile(number)) for number in (3, 5)]
    *_, last = run(capsys, "diff", *paths).splitlines()
    assert last.split(maxsplit=3) == ["+2", "3", "5", r"odd\x1b[2J\nname (/srv/a\nb.py:7)"]


@pytest.mark.parametrize("other", ["cpu", "text", "missing"])
def test_diff_of_what_cannot_be_compared(
    pair: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], other: str
) -> None:
    path = tmp_path / "other.pb.gz"
    if other == "cpu":
        write(path, profiles.small_profile())
    elif other == "text":
        path.write_text("hello")
    for arguments in ((path, pair[1]), (pair[0], path)):
        assert cli.main(["diff", *map(str, arguments)]) == 2
        said = capsys.readouterr()
        assert said.out == ""
        assert str(path) in said.err


# growth.


def fill(folder: Path, number: int = 24, pid: int = 7, program: str = "app") -> list[Path]:
    """Hourly snapshots of a process that leaks sessions and keeps much else."""
    taken = []
    for hour in range(number):
        time_ns = START_NS + hour * HOUR_NS
        samples = [
            held("app", "SESSIONS", "{...}", "Session", count=1000 + 100 * hour, size=64),
            held("app", "CACHE", "{...}", "bytes", count=min(hour, 4), size=1 << 20),
            held("app", "STEADY", "dict", count=7000, size=232),
            held("app", "GARBAGE", "list", count=1000 * (hour % 5), size=64),
        ]
        name = snapshot_name(program, pid, START_NS, time_ns, "heap")
        taken.append(write(folder / name, heap_profile(samples, time_ns)))
    return taken


def test_growth(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fill(tmp_path)
    first, total, _, stacks, headline, leak, _, types, _, of_type = run(
        capsys, "growth", tmp_path
    ).splitlines()
    assert first == ("app, pid 7, started 2026-02-03 04:05:06 UTC: 24 heap snapshots in 23.0 h")
    assert total.startswith("inuse_space: 1.61MB to 5.93MB, +")
    assert stacks == "by stack: 1 leak suspect"
    assert " ".join(headline.split()) == "per hour count/h at least sure first last stack"
    assert leak.split(maxsplit=6) == [
        *("+6.25kB", "+100", "+143.75kB", "99.9%", "62.50kB", "206.25kB"),
        "app -> SESSIONS -> {...} -> Session",
    ]
    assert types == "by type: 1 leak suspect"
    assert of_type.split()[-1] == "Session"


def test_growth_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    taken = fill(tmp_path)
    found: dict[str, Any] = json.loads(run(capsys, "growth", tmp_path, "--json", "--top", "2"))
    (process,) = found["processes"]
    assert (process["program"], process["pid"], process["kind"]) == ("app", 7, "heap")
    assert process["snapshots"] == list(map(str, taken))
    assert process["last_seconds"] - process["first_seconds"] == 23 * 3600
    leak, other = process["stacks"]
    assert (leak["suspect"], other["suspect"]) == (True, False)
    assert leak["what"][-1]["function"] == "Session"
    assert leak["amount_per_hour"] == pytest.approx(6400)
    assert leak["count_per_hour"] == pytest.approx(100)
    assert process["types"][0]["what"] == "Session"
    assert process["total"]["amount_last"] == 3300 * 64 + (4 << 20) + 7000 * 232 + 3000 * 64


def test_growth_writes_last_minus_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, *_, last = fill(tmp_path)
    path = tmp_path / "grown.pb.gz"
    run(capsys, "growth", tmp_path, "-o", path)
    grown = reading.read(path)
    assert {sample.stack[0].function.name: sample.values[2:] for sample in grown.samples} == {
        "Session": (2300, 2300 * 64),
        "bytes": (4, 4 << 20),
        "list": (3000, 3000 * 64),
    }
    assert f"growth: {last} minus {first}" in grown.comments
    assert grown.duration_ns == 23 * HOUR_NS


def test_growth_since(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fill(tmp_path)
    text = run(capsys, "growth", tmp_path, "--since", "9.5h")
    assert ": 10 heap snapshots in 9.0 h\n" in text


def test_growth_of_several_processes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fill(tmp_path, 9)
    fill(tmp_path, 10, pid=8)
    fill(tmp_path, 12, program="other")
    text = run(capsys, "growth", tmp_path)
    sections = [line for line in text.splitlines() if ", pid " in line]
    assert [re.sub(r", started.*UTC: (\d+).*", r" \1", line) for line in sections] == [
        "other, pid 7 12",
        "app, pid 8 10",
        "app, pid 7 9",
    ]
    assert run(capsys, "growth", tmp_path, "--pid", "8").startswith("app, pid 8")
    assert cli.main(["growth", str(tmp_path), "-o", str(tmp_path / "x")]) == 2
    assert "--pid" in capsys.readouterr().err
    assert cli.main(["growth", str(tmp_path), "--pid", "9"]) == 2
    assert "7, 8" in capsys.readouterr().err


def test_growth_with_few_snapshots_says_what_it_can(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    taken = fill(tmp_path, 5)
    assert "so few snapshots tell little; 8 are better" in run(capsys, "growth", tmp_path)
    for path in taken[2:]:
        path.unlink()
    text = run(capsys, "growth", tmp_path)
    assert "for trends it takes 3 snapshots, better 8" in text
    assert "by stack: 0 leak suspects" in text
    assert "app -> SESSIONS" in text
    assert "STEADY" not in text
    taken[1].unlink()
    assert "nothing to compare it with yet" in run(capsys, "growth", tmp_path)


def test_broken_snapshots_are_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    taken = fill(tmp_path)
    taken[-1].write_bytes(taken[-1].read_bytes()[:-50])
    taken[5].write_bytes(b"")
    write(taken[6], profiles.small_profile())
    found = onlooker("growth", tmp_path).ok()
    assert ": 21 heap snapshots in 22.0 h\n" in found.text
    assert "1 leak suspect\n" in found.text
    for path in (taken[-1], taken[5], taken[6]):
        assert re.search(rf"note: left out: .*{re.escape(str(path))}", found.stderr)
    assert onlooker("growth", tmp_path, "--quiet").ok().stderr == ""


def test_growth_tells_a_terminal_how_far_it_is(tmp_path: Path) -> None:
    *_, last = fill(tmp_path, 3)
    with Command("growth", tmp_path, terminal=True) as command:
        done = command.finish()
    assert done.exit_code == 0
    assert f"\r\x1b[Ksnapshot 3 of 3: {last.name}" in done.stderr
    assert done.stderr.endswith("\r\x1b[K")
    assert b"snapshot 3 of 3" not in done.stdout


def test_growth_of_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path, why in ((tmp_path, "no snapshots"), (tmp_path / "x", "can't read the directory")):
        assert cli.main(["growth", str(path)]) == 2
        assert why in capsys.readouterr().err
    (path,) = fill(tmp_path, 1)
    path.write_bytes(b"broken")
    assert cli.main(["growth", str(tmp_path)]) == 2
    assert "can be read" in capsys.readouterr().err


def test_many_snapshots_and_processes_are_bounded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(growth, "MAX_SNAPSHOTS", 10)
    monkeypatch.setattr(growth, "MAX_PROCESSES", 2)
    fill(tmp_path)
    fill(tmp_path, 3, pid=8)
    fill(tmp_path, 2, pid=9)
    assert cli.main(["growth", str(tmp_path)]) == 0
    said = capsys.readouterr()
    assert ": 10 heap snapshots in 23.0 h\n" in said.out
    assert "10 of 24 snapshots are looked at" in said.err
    assert "1 more processes aren't shown" in said.err
    assert "pid 9" not in said.out


# Sizes and durations.


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0),
        ("123", 123),
        ("2G", 2 << 30),
        ("500m", 500 << 20),
        ("1.5 KiB", 1536),
        ("1TB", 1 << 40),
        ("7B", 7),
    ],
)
def test_sizes(text: str, value: int) -> None:
    assert quantities.size(text) == value


@pytest.mark.parametrize(
    ("text", "value"), [("90", 90), ("90s", 90), ("15M", 900), ("6h", 21600), ("1.5d", 129600)]
)
def test_durations(text: str, value: float) -> None:
    assert quantities.duration(text) == value


@pytest.mark.parametrize("text", ["", "x", "-1G", "2GG", "1e9", "٣G", "2 G B", "9" * 30])
def test_no_sizes(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="no size"):
        quantities.size(text)


@pytest.mark.parametrize("text", ["", "x", "0h", "-1h", "1y", "h", "nan", "9" * 15 + "w"])
def test_no_durations(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="no duration"):
        quantities.duration(text)
