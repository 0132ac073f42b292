"""A directory of snapshots: whose are whose, one run at a time, and what goes and what stays."""

import io
import os
import random
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import IO

import pytest
from onlooker import outputs, snapshots
from onlooker.errors import OutputError, UsageError
from onlooker.snapshots import lifetimes, lock, parse_name, retain, save, snapshot_name

from tests.profiles import heap_profile, held

HOUR_NS = 3_600_000_000_000
START_NS = 1_770_091_506_789_000_000
NOW_NS = START_NS + 100 * HOUR_NS


def written(comment: str = "onlooker 0.1.0: onlooker heap --pid 7") -> bytes:
    file = io.BytesIO()
    profile = heap_profile([held("app", "dict", count=1, size=64)])
    outputs.load("pprof").write(profile._replace(comments=(comment,)), file)
    return file.getvalue()


OURS = written()


def take(folder: Path, hour: float, pid: int = 7, program: str = "app", data: bytes = OURS) -> Path:
    """A snapshot that was taken so many hours after the process began."""
    time_ns = START_NS + round(hour * HOUR_NS)
    path = folder / snapshot_name(program, pid, START_NS, time_ns, "heap")
    path.write_bytes(data)
    return path


def names(paths: Iterable[Path]) -> list[str]:
    return sorted(path.name for path in paths)


# Names.


def test_name_tells_all() -> None:
    name = snapshot_name("gunicorn", 1234, START_NS, NOW_NS, "heap")
    assert name == "gunicorn-1234-20260203T040506.789Z-20260207T080506.789Z-heap.pb.gz"
    found = parse_name(Path("x", name))
    assert found == snapshots.Snapshot(Path("x", name), "gunicorn", 1234, START_NS, NOW_NS, "heap")


@pytest.mark.parametrize("program", ["a-b-1-c", "../../x", "-rf", "é\n", "a b", "", "x" * 999])
def test_any_program_has_a_name_that_parses(program: str) -> None:
    name = snapshot_name(program, 7, START_NS, NOW_NS, "heap")
    found = parse_name(Path(name))
    assert found
    assert (found.pid, found.start_ns, found.time_ns) == (7, START_NS, NOW_NS)
    assert "/" not in name
    assert snapshot_name(found.program, 7, START_NS, NOW_NS, "heap") == name


@pytest.mark.parametrize(
    "name",
    [
        "app-7-20260203T040506.789Z-heap.pb.gz",  # what attach writes
        "app-7-20260203T040506.789Z-20260231T040506.789Z-heap.pb.gz",
        "app-7-20260203T040506.789Z-20260203T040506.789Z-heap.pb.gz~",
        "app-7-20260203T040506.789Z-20260203T040506.789Z-heap.pb.gz\n",
        "app-٣-20260203T040506.789Z-20260203T040506.789Z-heap.pb.gz",
        "notes.txt",
        "-7-20260203T040506.789Z-20260203T040506.789Z-heap.pb.gz",
    ],
)
def test_other_names_are_others(name: str) -> None:
    assert parse_name(Path(name)) is None


def test_lifetimes(tmp_path: Path) -> None:
    """A process is known by its start, which is told a little differently each time."""
    first = [take(tmp_path, hour) for hour in (1, 2)]
    later = tmp_path / snapshot_name("app", 7, START_NS + 900_000_000, NOW_NS, "heap")
    later.write_bytes(OURS)
    again = tmp_path / snapshot_name("app", 7, START_NS + 50 * HOUR_NS, NOW_NS + 1_000_000, "heap")
    again.write_bytes(OURS)
    other = take(tmp_path, 3, pid=8)
    cpu = tmp_path / snapshot_name("app", 7, START_NS, START_NS, "cpu")
    cpu.write_bytes(OURS)
    (tmp_path / "link-7-20260203T040506.789Z-20260203T040506.789Z-heap.pb.gz").symlink_to(other)
    found = lifetimes(snapshots.snapshots(tmp_path))
    assert [[s.path for s in lifetime] for lifetime in found] == [
        [again],
        [*first, later],
        [other],
        [cpu],
    ]


def test_unreadable_directory(tmp_path: Path) -> None:
    for path in (tmp_path / "missing", take(tmp_path, 1)):
        with pytest.raises(UsageError, match="can't read the directory"):
            snapshots.snapshots(path)


# One run at a time.

HOLD = """
import sys
from pathlib import Path
from onlooker.snapshots import lock
with lock(Path(sys.argv[1])):
    print("locked", flush=True)
    sys.stdin.readline()
"""


def holder(directory: Path) -> subprocess.Popen[str]:
    """Another run that has the directory until its stdin is closed."""
    command = [sys.executable, "-c", HOLD, str(directory)]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    )
    assert process.stdout
    assert process.stdout.readline() == "locked\n"
    return process


def test_lock_is_had_by_one(tmp_path: Path) -> None:
    directory = tmp_path / "made" / "when missing"
    with holder(directory) as other:
        with (
            pytest.raises(OutputError, match=f"process {other.pid} has been at work") as failed,
            lock(directory, wait_s=0),
        ):
            raise AssertionError
        assert failed.value.exit_code == 7
        other.communicate("\n")
    with lock(directory, wait_s=0):
        pass


def test_lock_waits(tmp_path: Path) -> None:
    with holder(tmp_path) as other:
        assert other.stdin
        other.stdin.close()
        with lock(tmp_path):
            pass


def test_killed_run_leaves_no_lock(tmp_path: Path) -> None:
    with holder(tmp_path) as other:
        other.kill()
        other.wait()
    with lock(tmp_path, wait_s=0):
        pass


def test_lock_of_a_directory_that_takes_none(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "dangling").mkdir()
    (tmp_path / "dangling" / snapshots.LOCK_NAME).symlink_to(tmp_path / "elsewhere")
    for path in (Path("/proc/onlooker"), tmp_path / "file", tmp_path / "dangling"):
        with pytest.raises(OutputError, match="can't write to the dir") as failed, lock(path):
            raise AssertionError
        assert "--dir" in failed.value.hint
    assert not (tmp_path / "elsewhere").exists()


# Writing.


def write_precious(file: IO[bytes]) -> None:
    file.write(b"precious")


def test_save_makes_the_directory(tmp_path: Path) -> None:
    save(tmp_path / "a" / "b", "name", write_precious)
    assert (tmp_path / "a" / "b" / "name").read_bytes() == b"precious"


def test_nothing_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    with pytest.raises(OutputError, match="the data is in") as failed:
        save(Path("/proc/onlooker"), "name", write_precious)
    assert failed.value.exit_code == 7
    assert "--dir" in failed.value.hint
    (rescued,) = tmp_path.glob("onlooker-*/name")
    assert rescued.read_bytes() == b"precious"


# What stays.


def test_newest_stay(tmp_path: Path) -> None:
    taken = [take(tmp_path, hour) for hour in range(10)]
    assert names(retain(tmp_path, keep=4, now_ns=NOW_NS)) == names(taken[:6])
    assert names(tmp_path.iterdir()) == names(taken[6:])
    assert retain(tmp_path, keep=4, now_ns=NOW_NS) == []


def test_runs_are_kept_and_not_files(tmp_path: Path) -> None:
    """Of a pool of workers, some of which are replaced, all that the last runs took stay."""
    pool = {
        hour: [take(tmp_path, hour, pid=pid) for pid in range(100 + hour, 103 + hour)]
        for hour in range(6)
    }
    other = take(tmp_path, 0, program="other")
    removed = retain(tmp_path, keep=2, now_ns=NOW_NS)
    assert names(removed) == names(path for hour in range(4) for path in pool[hour])
    assert names(tmp_path.iterdir()) == names([*pool[4], *pool[5], other])


def test_age(tmp_path: Path) -> None:
    taken = [take(tmp_path, hour) for hour in (0, 89, 91, 99)]
    assert names(retain(tmp_path, max_age_s=36000, now_ns=NOW_NS)) == names(taken[:2])


def test_bytes(tmp_path: Path) -> None:
    taken = [take(tmp_path, hour, pid=hour % 2) for hour in range(10)]
    limit = 3 * len(OURS)
    assert names(retain(tmp_path, max_bytes=limit + 5, now_ns=NOW_NS)) == names(taken[:7])
    assert names(retain(tmp_path, max_bytes=1, now_ns=NOW_NS)) == names(taken[7:9])
    assert names(tmp_path.iterdir()) == names([taken[9]])


def test_all_three(tmp_path: Path) -> None:
    taken = [take(tmp_path, hour) for hour in range(50, 60)]
    limits = {"keep": 8, "max_bytes": 5 * len(OURS), "max_age_s": 43 * 3600.0}
    removed = retain(tmp_path, now_ns=NOW_NS, **limits)  # type: ignore[arg-type]
    assert names(removed) == names(taken[:7])


def test_nothing_foreign_is_touched(tmp_path: Path) -> None:
    for hour in range(3):
        take(tmp_path, hour)
    outside = tmp_path.parent / f"{tmp_path.name}-outside"
    outside.write_bytes(OURS)
    foreign = [
        take(tmp_path, 0, pid=1, data=b"not a profile"),
        take(tmp_path, 0, pid=2, data=written("another tool's: onlooker 1")),
        take(tmp_path, 0, pid=3, data=OURS[:-9]),
        tmp_path / "notes.txt",
        tmp_path / "app-7-20200203T040506.789Z-heap.pb.gz",
    ]
    for path in foreign[3:]:
        path.write_bytes(OURS)
    link = tmp_path / snapshot_name("app", 4, 0, 0, "heap")
    link.symlink_to(outside)
    folder = tmp_path / snapshot_name("app", 5, 0, 0, "heap")
    folder.mkdir()
    fifo = tmp_path / snapshot_name("app", 6, 0, 0, "heap")
    os.mkfifo(fifo)
    removed = retain(tmp_path, keep=1, max_bytes=0, max_age_s=1, now_ns=NOW_NS)
    assert len(removed) == 3
    assert names(tmp_path.iterdir()) == names([*foreign, link, folder, fifo])
    assert outside.read_bytes() == OURS


def test_bytes_of_others_do_not_count(tmp_path: Path) -> None:
    take(tmp_path, 0, pid=1, data=b"x" * 100 * len(OURS))
    taken = [take(tmp_path, hour) for hour in (1, 2)]
    assert retain(tmp_path, max_bytes=2 * len(OURS), now_ns=NOW_NS) == []
    assert all(path.exists() for path in taken)


def test_temporaries_of_killed_runs_go_after_a_while(tmp_path: Path) -> None:
    stale, fresh, other = (
        tmp_path / name
        for name in (f".onlooker-{'0' * 16}.tmp", f".onlooker-{'1' * 16}.tmp", ".onlooker-x.tmp")
    )
    for path, age_hours in ((stale, 1.01), (fresh, 0.99), (other, 99)):
        path.touch()
        modified_ns = NOW_NS - round(age_hours * HOUR_NS)
        os.utime(path, ns=(modified_ns, modified_ns))
    assert retain(tmp_path, now_ns=NOW_NS) == [stale]
    assert names(tmp_path.iterdir()) == names([fresh, other])


def test_other_runs_may_remove_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = [take(tmp_path, hour) for hour in range(10)]
    gone = random.Random(1).sample(taken[:9], 4)
    listed = snapshots.snapshots(tmp_path)
    for path in gone:
        path.unlink()
    monkeypatch.setattr(snapshots, "snapshots", lambda _: listed)
    assert names(retain(tmp_path, keep=1, max_bytes=1, now_ns=NOW_NS)) == names(
        set(taken[:9]) - set(gone)
    )


def test_what_cannot_be_removed_is_said_and_the_others_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = [take(tmp_path, hour) for hour in range(3)]
    unlink = Path.unlink

    def refuse(path: Path, missing_ok: bool = False) -> None:
        if path == taken[0]:
            raise PermissionError(13, "Permission denied")
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(OutputError, match=r"can't remove .*: Permission denied"):
        retain(tmp_path, keep=1, now_ns=NOW_NS)
    assert [path.exists() for path in taken] == [True, False, True]
