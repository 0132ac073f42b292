"""Where a profile is written: whole or not at all, and somewhere in any case."""

from __future__ import annotations

import errno
import os
import re
import stat
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, Final

from onlooker.errors import OutputError

Writer = Callable[[IO[bytes]], None]
"""Writes the data; it may be called again, for another file, when it raised OSError."""

STDOUT: Final = "-"

# Beside the usual one: a disk other than a full /tmp, and memory, when no disk will do.
_MORE_TEMPORARY_FOLDERS: Final = ("/var/tmp", "/dev/shm")

# Well below 255, what Linux's file systems take; eCryptfs takes 143.
_SHORT_NAME_BYTES: Final = 120

_HINTS: Final = {
    errno.ENOSPC: "free some space, or choose a folder on another disk",
    errno.EDQUOT: "free some space, or choose a folder on another disk",
    errno.EROFS: "choose a folder on a writable disk",
    errno.EACCES: "choose a folder that you may write to",
    errno.EPERM: "choose a folder that you may write to",
    errno.ENOENT: "make the folder first, or choose another one",
    errno.EISDIR: "name a file in the folder",
}


def default_name(program: str, pid: int, time_ns: int, kind: str, suffix: str) -> str:
    """Return a file name by which one program's profiles sort in the order of their time.

    ``time_ns`` is since the Unix epoch and is given in UTC. The program may be any text.
    """
    return f"{plain_name(program)}-{pid}-{utc_time(time_ns)}-{kind}{suffix}"


def plain_name(text: str) -> str:
    """Return a part of a file name, at most 64 characters, that is like the text."""
    # ASCII, since a name may have 255 bytes; no leading dot or dash, to be seen and be no option.
    return re.sub(r"[^A-Za-z0-9._-]+", "_", text).lstrip(".-")[:64] or "python"


def utc_time(time_ns: int) -> str:
    """Return a time since the Unix epoch so that it sorts: 20260203T040506.789Z."""
    seconds, rest_ns = divmod(time_ns, 1_000_000_000)
    moment = time.strftime("%Y%m%dT%H%M%S", time.gmtime(seconds))
    return f"{moment}.{rest_ns // 1_000_000:03}Z"


def check(path: str) -> None:
    """Raise OutputError if the path plainly can't be written, before anything is recorded."""
    if path == STDOUT:
        return
    try:
        target = _replaceable(path)
        if target is not None:
            descriptor, temporary = _temporary_beside(target)
            os.close(descriptor)
            temporary.unlink()
    except OSError as error:
        raise OutputError(f"can't write {path}: {reason(error)}", hint(error)) from error


def save(path: str, write: Writer, *, option: str = "--output") -> None:
    """Write to the path, to standard output if it is ``-``. ``option`` is what gave the path.

    A file appears when it is complete, in place of one that was there; what isn't a regular file,
    such as /dev/null or a FIFO, is written to directly. A reader that closes a pipe ends the
    writing, which is no error.

    Where the path can't be written the data goes to a temporary folder, and OutputError says why,
    and where it is.
    """
    try:
        if path == STDOUT:
            _write_stdout(write)
        elif (target := _replaceable(path)) is not None:
            _write_whole(target, write)
        else:
            with suppress(BrokenPipeError), open(path, "wb") as file:
                write(file)
    except OSError as error:
        name = "standard output" if path == STDOUT else path
        failure = f"can't write {name}: {reason(error)}"
        rescued = _rescue(_short_name(path), write)
        if rescued is None:
            raise OutputError(
                f"{failure}; no temporary folder took it either", hint(error, option)
            ) from error
        raise OutputError(f"{failure}; the data is in {rescued}", hint(error, option)) from error


def _replaceable(path: str) -> Path | None:
    """Return the regular file that may be replaced, links resolved; None if it isn't regular."""
    target = Path(os.path.realpath(path))
    if path.endswith("/"):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    try:
        mode = target.stat().st_mode
    except FileNotFoundError:
        return target
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    # Renaming needs no permission for the file itself, but replacing a read-only one is rude.
    if not os.access(target, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    return target if stat.S_ISREG(mode) else None


def _temporary_beside(target: Path) -> tuple[int, Path]:
    """Create a file in the target's folder, with the permissions that the target shall have."""
    mode = None
    with suppress(FileNotFoundError):
        mode = stat.S_IMODE(target.stat().st_mode)
    temporary = target.with_name(f".onlooker-{os.urandom(8).hex()}.tmp")
    # Without a target to be like, the permissions are what the umask leaves of these.
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    if mode is not None:
        os.fchmod(descriptor, mode)
    return descriptor, temporary


def _write_whole(target: Path, write: Writer) -> None:
    descriptor, temporary = _temporary_beside(target)
    try:
        with open(descriptor, "wb") as file:
            write(file)
            file.flush()
            # Else a crash of the machine could leave the new name with an empty file.
            os.fsync(file.fileno())
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _write_stdout(write: Writer) -> None:
    if sys.stdout is None:  # closed by the caller
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    try:
        write(sys.stdout.buffer)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        # What is still buffered would be tried again, and complained about, when Python exits.
        with open(os.devnull, "wb") as null:
            os.dup2(null.fileno(), sys.stdout.fileno())


def _rescue(name: str, write: Writer) -> Path | None:
    """Write to the first temporary folder that takes it, and return the file."""
    import tempfile  # seldom needed, and slow to load

    for folder in (None, *_MORE_TEMPORARY_FOLDERS):
        try:
            made = Path(tempfile.mkdtemp(prefix="onlooker-", dir=folder))
        except OSError:
            continue
        try:
            _write_whole(made / name, write)
        except OSError:
            made.rmdir()
            continue
        return made / name
    return None


def _short_name(path: str) -> str:
    """Return a name that every folder takes, like that of the path and with its suffix."""
    name = "profile" if path == STDOUT else Path(path).name
    return os.fsdecode(os.fsencode(name)[-_SHORT_NAME_BYTES:])


def reason(error: OSError) -> str:
    """Return what the kernel says was wrong."""
    return error.strerror or str(error)


def hint(error: OSError, option: str = "--output") -> str:
    """Return what to do next, with the option that gave the path."""
    return f"{_HINTS.get(error.errno or 0, 'choose another file')} with {option}"
