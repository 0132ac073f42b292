"""Runs that share a directory, are killed in it, or find that it takes nothing."""

import os
import random
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from onlooker import snapshots
from onlooker.outputs import reading

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount a disk")

#: What a run of cron does, again and again: each line that it reads is the hour of another one.
RUN = """
import sys
from pathlib import Path
from onlooker import outputs, snapshots
from onlooker.errors import OutputError
from tests.profiles import heap_profile, held

directory, pid = Path(sys.argv[1]), int(sys.argv[2])
profile = heap_profile([held("app", f"name{n}", "dict", count=n, size=64) for n in range(3000)])

def write(file):
    print("writing", flush=True)
    outputs.load("pprof").write(profile, file)

try:
    for line in sys.stdin:
        time_ns = 10**18 + int(line) * 3_600_000_000_000
        with snapshots.lock(directory):
            name = snapshots.snapshot_name("app", pid, 10**18, time_ns, "heap")
            snapshots.save(directory, name, write)
            snapshots.retain(directory, keep=3, now_ns=time_ns)
        print("done", flush=True)
except OutputError as error:
    print(error, file=sys.stderr)
    sys.exit(error.exit_code)
"""


def start(directory: Path, pid: int, *enter: str, temporary: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*enter, sys.executable, "-c", RUN, str(directory), str(pid)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        bufsize=1,
        env={**os.environ, "TMPDIR": str(temporary)},
    )


def names(directory: Path) -> Iterator[str]:
    return (path.name for path in directory.iterdir())


def test_several_at_once(tmp_path: Path) -> None:
    """Each saves and removes, and in the end there is what one alone would have left."""
    directory = tmp_path / "snapshots"
    with ExitStack() as stack:
        runs = [
            stack.enter_context(start(directory, pid, temporary=tmp_path)) for pid in range(1, 4)
        ]
        for run in runs:
            assert run.stdin
            run.stdin.write("".join(f"{hour}\n" for hour in range(8)))
            run.stdin.close()
        for run in runs:
            assert run.stdout
            assert run.stdout.read().split() == ["writing", "done"] * 8
            assert run.wait() == 0
    found = snapshots.snapshots(directory)
    hours = sorted((s.pid, (s.time_ns - 10**18) // 3_600_000_000_000) for s in found)
    assert hours == [(pid, hour) for pid in (1, 2, 3) for hour in (5, 6, 7)]
    assert len(list(names(directory))) == len(found) + 1, "the lock's file, and no other"
    for snapshot in found:
        assert len(reading.read(snapshot.path).samples) == 3000


def test_killed_while_it_writes(tmp_path: Path) -> None:
    """What is there is whole, and the next run can work."""
    directory = tmp_path / "snapshots"
    choose = random.Random(1)
    for hour in range(6):
        with start(directory, 7, temporary=tmp_path) as run:
            assert run.stdin
            assert run.stdout
            run.stdin.write(f"{hour}\n")
            assert run.stdout.readline() == "writing\n"
            for _ in range(choose.randrange(30)):
                os.sched_yield()
            run.kill()
    with start(directory, 7, temporary=tmp_path) as run:
        assert run.communicate("9\n")[0].split() == ["writing", "done"]
    assert snapshots.snapshots(directory)
    for snapshot in snapshots.snapshots(directory):
        assert len(reading.read(snapshot.path).samples) == 3000
    (newest,) = (s for s in snapshots.snapshots(directory) if s.time_ns > 10**18 + 8 * 3600 * 10**9)
    others = set(names(directory)) - {s.path.name for s in snapshots.snapshots(directory)}
    left = others - {snapshots.LOCK_NAME}
    assert all(re.fullmatch(r"\.onlooker-[0-9a-f]{16}\.tmp", name) for name in left)
    # In this test's time they are all old.
    later_ns = int((directory.stat().st_mtime + 2 * snapshots.STALE_AFTER_S) * 1e9)
    assert {path.name for path in snapshots.retain(directory, now_ns=later_ns)} == left
    assert newest.path.exists()


@needs_root
@pytest.mark.parametrize(
    ("options", "fill", "why", "rescued"),
    [
        ("size=64k", "head -c 60000 /dev/zero >full;", "No space left on device", True),
        ("ro", "", "Read-only file system", False),
    ],
    ids=["full", "read-only"],
)
def test_disk_that_takes_nothing(
    tmp_path: Path, options: str, fill: str, why: str, rescued: bool
) -> None:
    """What was gathered is kept elsewhere; where nothing can be, nothing is gathered."""
    directory, temporary = tmp_path / "disk", tmp_path / "temporary"
    directory.mkdir()
    temporary.mkdir()
    mount = f'mount -t tmpfs -o {options} none "$1"; cd "$1"; {fill} cd "$2"; shift 2; exec "$@"'
    enter = ("unshare", "--mount", "sh", "-c", mount, "sh", str(directory), str(Path.cwd()))
    with start(directory, 7, *enter, temporary=temporary) as run:
        out, error = run.communicate("0\n")
    assert run.returncode == 7
    assert why in error
    files = list(temporary.glob("onlooker-*/*"))
    if rescued:
        assert out.split() == ["writing"] * 2
        assert len(reading.read(files[0]).samples) == 3000
        assert str(files[0]) in error
    else:
        assert (out, files) == ("", [])
