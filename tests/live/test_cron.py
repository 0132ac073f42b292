"""`onlooker heap --dir`: what cron runs, again and again."""

import os
from pathlib import Path

from onlooker.outputs import reading
from onlooker.snapshots import snapshots

from tests.commands import onlooker
from tests.conftest import StartTarget
from tests.interpreters import Interpreter

PROGRAM = Path("holds.py")


def test_snapshots_are_kept_and_go(
    any_interpreter: Interpreter, start_target: StartTarget, tmp_path: Path
) -> None:
    target = start_target(any_interpreter, PROGRAM)
    target.read_json()
    directory = tmp_path / "snapshots"
    foreign = directory / "holds-1-20200101T000000.000Z-20200101T000000.000Z-heap.pb.gz"
    for run in range(4):
        done = onlooker("heap", "--pid", target.pid, "--dir", directory, "--keep", 3).ok()
        (path,) = done.text.splitlines()
        assert Path(path).exists()
        if run == 0:
            foreign.write_bytes(b"not ours")
    kept = [each for each in snapshots(directory) if each.path != foreign]
    assert len(kept) == 3
    assert {each.pid for each in kept} == {target.pid}
    assert foreign.read_bytes() == b"not ours"
    profile = reading.read(str(kept[-1].path))
    assert [each.type for each in profile.sample_types] == [
        *("alloc_objects", "alloc_space", "inuse_objects", "inuse_space")
    ]
    assert any("REGISTRY" in step.function.name for each in profile.samples for step in each.stack)
    text = onlooker("growth", directory).ok().text
    assert f"pid {target.pid}" in text


def test_all_processes_of_a_name(
    any_interpreter: Interpreter, start_target: StartTarget, tmp_path: Path
) -> None:
    """One that refuses is told, and the others are written."""
    mark = f"mark-{os.getpid()}"
    targets = [start_target(any_interpreter, PROGRAM, mark) for _ in range(3)]
    for target in targets:
        target.read_json()
    directory = tmp_path / "snapshots"
    done = onlooker("heap", "--name", f"holds.py {mark}", "--dir", directory, "-q")
    assert done.exit_code == 0, done.stderr
    assert {each.pid for each in snapshots(directory)} == {target.pid for target in targets}
    assert len({each.time_ns for each in snapshots(directory)}) == 1
    done = onlooker("heap", "--name", "no such program", "--dir", directory)
    assert done.exit_code == 3


def test_directory_that_cannot_be_written(
    any_interpreter: Interpreter, start_target: StartTarget, tmp_path: Path
) -> None:
    target = start_target(any_interpreter, PROGRAM)
    target.read_json()
    place = tmp_path / "file"
    place.write_text("a file")
    done = onlooker("heap", "--pid", target.pid, "--dir", place)
    assert done.exit_code == 7
    assert str(place) in done.stderr
    assert place.read_text() == "a file"
