"""Writing files: whole or not at all, and never lost. Failures here are the kernel's own."""

import os
import re
import resource
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import pytest
from onlooker.errors import OutputError
from onlooker.outputs import files

DATA = b"a profile" * 1000


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def write_data(file: IO[bytes]) -> None:
    file.write(DATA)


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The one temporary folder that data can be rescued to."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setattr(files, "_MORE_TEMPORARY_FOLDERS", ())
    return folder


@pytest.fixture
def umask() -> Iterator[Callable[[int], int]]:
    """Sets it until the test ends."""
    before = os.umask(0)
    os.umask(before)
    yield os.umask
    os.umask(before)


# Names.


def test_name_tells_program_process_time_and_kind() -> None:
    name = files.default_name("gunicorn", 1234, 1_770_091_506_789_000_000, "cpu", ".pb.gz")
    assert name == "gunicorn-1234-20260203T040506.789Z-cpu.pb.gz"


def test_names_sort_by_time() -> None:
    times = [0, 1, 999_000_000, 10**9, 10**18, 10**18 + 5_000_000, 3 * 10**18]
    names = [files.default_name("p", 1, time_ns, "cpu", ".pb.gz") for time_ns in times]
    assert names == sorted(names)


@pytest.mark.parametrize(
    "program", ["../../etc/passwd", "-rf", ".hidden", "a b\n\x1b[2J", "é" * 300, "x" * 999, "", "/"]
)
def test_any_program_name_makes_a_safe_file_name(program: str) -> None:
    name = files.default_name(program, 1, 0, "cpu", ".pb.gz")
    assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]*", name)
    assert len(name) <= 255


# Whole or not at all.


def test_file_is_written(tmp_path: Path) -> None:
    path = tmp_path / "out.pb.gz"
    files.save(str(path), write_data)
    assert path.read_bytes() == DATA
    assert names_in(tmp_path) == ["out.pb.gz"]


def test_file_appears_only_when_complete(tmp_path: Path) -> None:
    path = tmp_path / "out.pb.gz"
    path.write_bytes(b"before")

    def write(file: IO[bytes]) -> None:
        file.write(DATA[:100])
        file.flush()
        assert path.read_bytes() == b"before"
        file.write(DATA[100:])

    files.save(str(path), write)
    assert path.read_bytes() == DATA


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_interrupted_writing_leaves_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "out.pb.gz"
    path.write_bytes(b"before")

    def write(file: IO[bytes]) -> None:
        file.write(DATA)
        raise error

    with pytest.raises(error):
        files.save(str(path), write)
    assert path.read_bytes() == b"before"
    assert names_in(tmp_path) == ["out.pb.gz"]


def test_permissions_are_the_users_choice(tmp_path: Path, umask: Callable[[int], int]) -> None:
    umask(0o027)
    path = tmp_path / "out"
    files.save(str(path), write_data)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    path.chmod(0o604)
    files.save(str(path), write_data)
    assert stat.S_IMODE(path.stat().st_mode) == 0o604


def test_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    link = tmp_path / "latest"
    link.symlink_to("real/out")
    for _ in "new", "there":
        files.save(str(link), write_data)
        assert link.is_symlink()
        assert (tmp_path / "real" / "out").read_bytes() == DATA


def test_fifo_stays_a_fifo(tmp_path: Path) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    received: list[bytes] = []
    reader = threading.Thread(target=lambda: received.append(path.read_bytes()))
    reader.start()
    files.save(str(path), write_data)
    reader.join()
    assert received == [DATA]
    assert path.is_fifo()


def test_closed_fifo_ends_quietly(tmp_path: Path) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    reader = threading.Thread(target=lambda: path.open("rb").close())
    reader.start()

    def write(file: IO[bytes]) -> None:
        reader.join()
        file.write(DATA * 100)

    files.save(str(path), write)


# Never lost.

SAVE = """
import sys
from onlooker.errors import OutputError
from onlooker.outputs import files
try:
    files.save(sys.argv[1], lambda file: file.write(b"x" * 9))
except OutputError as error:
    print(error, file=sys.stderr)
    sys.exit(error.exit_code)
"""

# Without these capabilities root, too, may do only what a file's mode says.
OBEY_MODES = "setpriv --bounding-set=-dac_override,-dac_read_search" if os.geteuid() == 0 else ""


def save(path: str, command: str = "$0", **env: str) -> subprocess.CompletedProcess[bytes]:
    """Save in a process of its own, started by a shell command in which $0 is the process's."""
    shell = "exec " + command.replace("$0", '"$0" -W error -c "$1" "$2"')
    return subprocess.run(
        ["sh", "-c", shell, sys.executable, SAVE, path],
        check=False,
        capture_output=True,
        env={**os.environ, **env},
    )


def unwritable(tmp_path: Path) -> list[str]:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    return [
        str(tmp_path / "missing" / "out.pb.gz"),
        str(tmp_path / "file" / "out.pb.gz"),
        str(tmp_path / "folder"),
        f"{tmp_path / 'folder'}/",
        str(tmp_path / ("x" * 256)),
        "/proc/out.pb.gz",
    ]


@pytest.mark.parametrize("number", range(6))
def test_unwritable_path_is_told_before_and_after(
    tmp_path: Path, temporary: Path, number: int
) -> None:
    path = unwritable(tmp_path)[number]
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(OutputError, match=re.escape(f"can't write {path}: ")) as checked:
        files.check(path)
    assert checked.value.hint
    assert sorted(tmp_path.rglob("*")) == before
    with pytest.raises(OutputError, match="the data is in") as failed:
        files.save(path, write_data)
    (rescued,) = temporary.glob("onlooker-*/*")
    assert rescued.name == Path(path).name[-120:]
    assert rescued.read_bytes() == DATA
    assert str(rescued) in str(failed.value)
    assert failed.value.exit_code == 7


def test_full_disk(temporary: Path) -> None:
    with pytest.raises(OutputError, match="No space left on device; the data is in") as failed:
        files.save("/dev/full", write_data)
    assert "free some space" in failed.value.hint
    (rescued,) = temporary.glob("onlooker-*/full")
    assert rescued.read_bytes() == DATA


def test_disk_that_fills_up_while_writing(tmp_path: Path, temporary: Path) -> None:
    """The kernel refuses what is beyond RLIMIT_FSIZE, so a part has been written by then."""
    path = tmp_path / "out"
    path.write_bytes(b"before")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    calls = []

    def write(file: IO[bytes]) -> None:
        calls.append(file)
        limited = len(calls) == 1
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096 if limited else soft, hard))
        file.write(DATA)
        file.flush()

    try:
        with pytest.raises(OutputError, match="File too large; the data is in"):
            files.save(str(path), write)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == b"before"
    assert names_in(tmp_path) == ["out", "temporary"]
    (rescued,) = temporary.glob("onlooker-*/out")
    assert rescued.read_bytes() == DATA


@pytest.mark.parametrize("read_only", ["file", "folder"])
def test_read_only_output_is_kept(tmp_path: Path, read_only: str) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    path = folder / "out"
    path.write_bytes(b"precious")
    path.chmod(0o444 if read_only == "file" else 0o644)
    folder.chmod(0o555 if read_only == "folder" else 0o755)
    done = save(str(path), f"{OBEY_MODES} $0", TMPDIR=str(tmp_path))
    assert done.returncode == 7
    assert b"Permission denied; the data is in" in done.stderr
    assert path.read_bytes() == b"precious"
    (rescued,) = tmp_path.glob("onlooker-*/out")
    assert rescued.read_bytes() == b"x" * 9


@pytest.mark.parametrize("there", [True, False])
def test_check_leaves_no_trace(tmp_path: Path, there: bool) -> None:
    path = tmp_path / "out"
    if there:
        path.write_bytes(b"before")
    files.check(str(path))
    files.check(files.STDOUT)
    assert names_in(tmp_path) == (["out"] if there else [])
    assert not there or path.read_bytes() == b"before"


# Standard output.


def test_standard_output() -> None:
    done = save("-")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"x" * 9, b"")


def test_closed_pipe_ends_quietly() -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    try:
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", SAVE, "-"],
            check=False,
            stdout=write_end,
            stderr=subprocess.PIPE,
        )
    finally:
        os.close(write_end)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("redirection", ["> /dev/full", ">&-"])
def test_unwritable_standard_output_is_rescued(tmp_path: Path, redirection: str) -> None:
    done = save("-", f"$0 {redirection}", TMPDIR=str(tmp_path))
    assert done.stderr.startswith(b"can't write standard output: ")
    assert done.returncode == 7
    (rescued,) = tmp_path.glob("onlooker-*/profile")
    assert rescued.read_bytes() == b"x" * 9
