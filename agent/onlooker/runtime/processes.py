"""The Python processes of a machine."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Final, NamedTuple

from onlooker.errors import (
    MemoryFault,
    NoSuchProcess,
    NotPermitted,
    NotPython,
    OnlookerError,
    TargetGone,
    UsageError,
)
from onlooker.memory import ProcessMemory
from onlooker.permission import not_permitted, user_name

from .elf import LoadedElf
from .identity import program_name, read_command, read_status
from .locate import locate
from .maps import PYTHON_NAMES, image_starts, read_maps

# What only a Python exports; the last one is of PyPy and others that are made with RPython.
_PYTHON_SYMBOLS: Final = ("_PyRuntime", "Py_GetVersion", "rpython_startup_code")


class PythonProcess(NamedTuple):
    """A process that runs Python, or that looks as if it did.

    `version` is PY_VERSION_HEX, and 0 if unknown. `problem` is the error that stands in the way of
    looking into it, or None. `program` is short, `command` the whole command line.
    """

    pid: int
    user: str
    version: int
    program: str
    command: str
    problem: OnlookerError | None


def python_processes() -> Iterator[PythonProcess]:
    """Yield the Python processes in our pid namespace by rising pid, but not this one.

    A program or library under any name counts that exports Python's symbols. Processes that end
    meanwhile are left out.
    """
    known: dict[tuple[str, int], bool] = {}
    for pid in sorted(int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()):
        if pid != os.getpid() and (process := _inspect(pid, known)):
            yield process


def find_by_name(pattern: str) -> list[PythonProcess]:
    """Return the Python processes whose command line has a match of a regular expression.

    This process and those that started it are left out: their command lines have the pattern.
    Raises UsageError for a pattern that is no regular expression.
    """
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise UsageError(f"{pattern!r} is not a regular expression: {error}") from None
    ancestors = set(_ancestors())
    return [
        process
        for process in python_processes()
        if process.pid not in ancestors and expression.search(process.command)
    ]


def _inspect(pid: int, known: dict[tuple[str, int], bool]) -> PythonProcess | None:
    """Return what process `pid` is if it is Python. `known` remembers files by device and inode."""
    version = 0
    problem: OnlookerError | None = None
    try:
        status, argv = read_status(pid), read_command(pid)
        if not _may_be_python(pid, known):
            return None
        with closing(locate(pid)) as runtime:
            version = runtime.version
    except (NoSuchProcess, NotPython, TargetGone, OSError):
        return None
    except NotPermitted as error:
        names = (status["Name"], argv[0].rpartition("/")[2])
        if not any(name.startswith(PYTHON_NAMES) for name in names):
            return None
        problem = error
    except OnlookerError as error:
        problem = error
    uid = int(status["Uid"].split()[1])
    return PythonProcess(
        pid=pid,
        user=user_name(uid),
        version=version,
        program=program_name(argv[0] or status["Name"], argv),
        command=" ".join(argv).rstrip(),  # programs that rename themselves leave empty arguments
        problem=problem,
    )


def _may_be_python(pid: int, known: dict[tuple[str, int], bool]) -> bool:
    """Whether a mapped file has a Python's name or symbols.

    Raises OSError, NoSuchProcess or NotPermitted.
    """
    try:
        starts = image_starts(read_maps(pid), "")
    except PermissionError:
        raise not_permitted(pid) from None
    if any(region.name.startswith(PYTHON_NAMES) for region in starts):
        return True
    unknown = [region for region in starts if (region.device, region.inode) not in known]
    if unknown:
        with closing(ProcessMemory(pid)) as memory:
            for region in unknown:
                exports = False
                with suppress(ValueError, MemoryFault):
                    exports = bool(LoadedElf(memory, region.start).symbols(_PYTHON_SYMBOLS))
                known[region.device, region.inode] = exports
    return any(known[region.device, region.inode] for region in starts)


def _ancestors() -> Iterator[int]:
    """Yield our process id, that of the process which started us, and so on."""
    pid = os.getpid()
    with suppress(OSError):
        while pid > 0:
            yield pid
            pid = int(read_status(pid)["PPid"])
