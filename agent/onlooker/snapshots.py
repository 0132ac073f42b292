"""A directory of snapshots: heap profiles of the same programs, taken again and again by cron.

Names tell whose a snapshot is and when it was taken, and sort by that. Several runs may work in a
directory at once, and files that Onlooker didn't write are never touched.
"""

from __future__ import annotations

import fcntl
import os
import re
import stat
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import Final, NamedTuple

from onlooker.errors import OnlookerError, OutputError, UsageError
from onlooker.outputs import files

LOCK_NAME: Final = ".onlooker.lock"
LOCK_WAIT_S: Final = 60.0
_LOCK_POLL_S: Final = 0.05

STALE_AFTER_S: Final = 3600.0
"""A temporary file of ours that nobody has written to for so long is a killed run's."""

# A start time is the difference of two clocks, which is never read twice the same.
_SAME_START_NS: Final = 2_000_000_000

_SUFFIX: Final = ".pb.gz"
_TIME: Final = r"\d{8}T\d{6}\.\d{3}Z"
_NAME: Final = re.compile(
    rf"(\w[\w.-]*)-(\d{{1,10}})-({_TIME})-({_TIME})-([a-z]+){re.escape(_SUFFIX)}", re.ASCII
)
_TEMPORARY: Final = re.compile(r"\.onlooker-[0-9a-f]{16}\.tmp")
_OUR_COMMENT: Final = re.compile(r"onlooker \d")


class Snapshot(NamedTuple):
    """A file by its name: the program and process, when that started, when it was taken.

    Times are since the Unix epoch and exact to the millisecond.
    """

    path: Path
    program: str
    pid: int
    start_ns: int
    time_ns: int
    kind: str


def snapshot_name(program: str, pid: int, start_time_ns: int, time_ns: int, kind: str) -> str:
    """Return the name of a snapshot; times are since the Unix epoch.

    The start tells a process from a later one with the same id. ``time_ns`` is that of the run: all
    processes that a run takes get the same, since ``retain`` counts runs by it.
    """
    start, moment = files.utc_time(start_time_ns), files.utc_time(time_ns)
    return f"{files.plain_name(program)}-{pid}-{start}-{moment}-{kind}{_SUFFIX}"


def parse_name(path: Path) -> Snapshot | None:
    """Return what the name of a file tells; None if it is no snapshot's."""
    match = _NAME.fullmatch(path.name)
    if not match:
        return None
    program, pid, start, moment, kind = match.groups()
    try:
        return Snapshot(path, program, int(pid), _time_ns(start), _time_ns(moment), kind)
    except ValueError:  # the 31st of February
        return None


def _time_ns(text: str) -> int:
    seconds, milliseconds = text.removesuffix("Z").split(".")
    moment = datetime.strptime(seconds, "%Y%m%dT%H%M%S").replace(tzinfo=timezone.utc)
    return int(moment.timestamp()) * 1_000_000_000 + int(milliseconds) * 1_000_000


def snapshots(directory: Path) -> list[Snapshot]:
    """Return the snapshots in a directory, oldest first. What is no regular file is left out.

    Raises UsageError if the directory can't be read.
    """
    try:
        found = [
            snapshot
            for path in directory.iterdir()
            if (snapshot := parse_name(path)) and _is_regular(path)
        ]
    except OSError as error:
        raise UsageError(f"can't read the directory {directory}: {files.reason(error)}") from error
    return sorted(found, key=lambda snapshot: (snapshot.time_ns, snapshot.path.name))


def lifetimes(found: Sequence[Snapshot]) -> list[list[Snapshot]]:
    """Return the snapshots of each process and kind, in their order.

    The process whose newest snapshot is newest comes first.
    """
    by_process: dict[tuple[str, int, str], list[list[Snapshot]]] = defaultdict(list)
    for snapshot in found:
        started = by_process[snapshot.program, snapshot.pid, snapshot.kind]
        for lifetime in started:
            if abs(lifetime[0].start_ns - snapshot.start_ns) <= _SAME_START_NS:
                lifetime.append(snapshot)
                break
        else:
            started.append([snapshot])
    every = [lifetime for started in by_process.values() for lifetime in started]
    return sorted(every, key=lambda lifetime: (-lifetime[-1].time_ns, lifetime[-1].path.name))


@contextmanager
def lock(directory: Path, wait_s: float = LOCK_WAIT_S) -> Iterator[None]:
    """Have the directory for oneself, among runs of Onlooker. It is made if it is missing.

    The kernel holds the lock (flock), so that a killed run leaves none behind; the file stays, and
    has the process id of the last one that held it. Raises OutputError if the directory can't be
    written to, or if another run is still at work there after ``wait_s`` seconds.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(directory / LOCK_NAME, flags, 0o666)
    except OSError as error:
        raise OutputError(
            f"can't write to the directory {directory}: {files.reason(error)}",
            files.hint(error, "--dir"),
        ) from error
    try:
        _acquire(descriptor, directory, wait_s)
        with suppress(OSError):  # a full disk: only the message to others is poorer
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _acquire(descriptor: int, directory: Path, wait_s: float) -> None:
    until = time.monotonic() + wait_s
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() >= until:
                break
        except OSError as error:
            raise OutputError(
                f"can't lock the directory {directory}: {files.reason(error)}",
                "Choose a directory on a file system that has locks with --dir.",
            ) from error
        time.sleep(_LOCK_POLL_S)
    holder = re.match(rb"\d{1,10}\n", os.pread(descriptor, 16, 0))
    who = f"process {holder.group().decode().strip()}" if holder else "another run"
    raise OutputError(
        f"{who} has been at work in {directory} for more than {wait_s:g} s",
        "Let it end, or take snapshots less often.",
    )


def save(directory: Path, name: str, write: files.Writer) -> None:
    """Write a snapshot, whole or not at all; the directory is made if it is missing.

    Raises OutputError if it can't be written; the data is then in a temporary folder, as the
    message says.
    """
    with suppress(OSError):  # which is said when the file can't be written either
        directory.mkdir(parents=True, exist_ok=True)
    files.save(str(directory / name), write, option="--dir")


def retain(
    directory: Path,
    *,
    keep: int | None = None,
    max_bytes: int | None = None,
    max_age_s: float | None = None,
    now_ns: int,
) -> list[Path]:
    """Remove the oldest snapshots, and return which. What other runs remove meanwhile is fine.

    ``keep``: of each program and kind those of the newest runs stay, so many, whatever the number
    of processes that a run took. ``max_bytes``: the oldest go, whose they may be, until all that
    stay have no more; but the newest stays in any case. ``max_age_s``: older ones go.

    Only regular files go whose names are snapshots' and whose contents Onlooker wrote, and the
    temporary files of runs that were killed an hour ago or longer. Raises UsageError if the
    directory can't be read, and OutputError if something can't be removed.
    """
    removal = _Removal()
    for path in _stale_temporaries(directory, now_ns):
        removal.remove(path)
    left = snapshots(directory)
    if max_age_s is not None:
        oldest_ns = now_ns - round(max_age_s * 1e9)
        left = removal.remove_ours(left, lambda snapshot: snapshot.time_ns < oldest_ns)
    if keep is not None:
        first_ns = _first_kept_ns(left, keep)
        left = removal.remove_ours(
            left, lambda snapshot: snapshot.time_ns < first_ns[snapshot.program, snapshot.kind]
        )
    if max_bytes is not None:
        excess = sum(map(_size, left)) - max_bytes
        for snapshot in left[:-1]:
            if excess <= 0:
                break
            # A file that isn't ours takes no part in this: neither does it go nor does it count.
            excess -= _size(snapshot)
            removal.remove_ours([snapshot], lambda _: True)
    if removal.failure:
        raise removal.failure
    return removal.paths


class _Removal:
    """Removes files, goes on where one can't be removed, and notes what happened."""

    def __init__(self) -> None:
        self.paths: list[Path] = []
        self.failure: OutputError | None = None

    def remove_ours(
        self, found: Sequence[Snapshot], unwanted: Callable[[Snapshot], bool]
    ) -> list[Snapshot]:
        """Remove the unwanted that Onlooker wrote, and return the others."""
        left = []
        for snapshot in found:
            if not unwanted(snapshot):
                left.append(snapshot)
            elif _is_ours(snapshot.path):
                self.remove(snapshot.path)
        return left

    def remove(self, path: Path) -> None:
        try:
            path.unlink()
        except FileNotFoundError:
            return  # another run was quicker
        except OSError as error:
            self.failure = self.failure or OutputError(
                f"can't remove the old snapshot {path}: {files.reason(error)}",
                "Run as the user whose file it is, or remove it by hand.",
            )
            return
        self.paths.append(path)


def _is_ours(path: Path) -> bool:
    from onlooker.outputs import reading  # not before it is needed, for it loads protobuf

    try:
        return any(_OUR_COMMENT.match(comment) for comment in reading.comments(path))
    except OnlookerError:
        return False


def _first_kept_ns(found: Sequence[Snapshot], keep: int) -> dict[tuple[str, str], int]:
    """Return the time of the oldest run that stays, for each program and kind."""
    runs: dict[tuple[str, str], set[int]] = defaultdict(set)
    for snapshot in found:
        runs[snapshot.program, snapshot.kind].add(snapshot.time_ns)
    return {whose: sorted(times)[-keep:][0] for whose, times in runs.items()}


def _stale_temporaries(directory: Path, now_ns: int) -> list[Path]:
    oldest_ns = now_ns - round(STALE_AFTER_S * 1e9)
    stale = []
    with suppress(OSError):  # which is said when the snapshots can't be listed either
        for path in directory.iterdir():
            if _TEMPORARY.fullmatch(path.name) and _is_regular(path):
                with suppress(FileNotFoundError):
                    if path.stat().st_mtime_ns < oldest_ns:
                        stale.append(path)
    return stale


def _is_regular(path: Path) -> bool:
    """Whether it is a file and no link to one."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except FileNotFoundError:
        return False


def _size(snapshot: Snapshot) -> int:
    try:
        return snapshot.path.stat().st_size
    except FileNotFoundError:
        return 0
