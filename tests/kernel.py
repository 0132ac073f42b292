"""What the kernel tells of a process and its threads, any of which may end meanwhile."""

import platform
import re
from contextlib import suppress
from pathlib import Path

from tests.commands import wait_until


def of_threads(pid: int, name: str) -> list[str]:
    """A file of /proc/PID/task/TID, for each thread that has not ended.

    Raises FileNotFoundError if the process has.
    """
    texts = []
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):
            texts.append((thread / name).read_text())
    return texts


def status(pid: int, field: str) -> set[str]:
    """The first words of a field of /proc/PID/status, of all threads."""
    texts = of_threads(pid, "status")
    return {word for text in texts for word in re.findall(rf"^{field}:\t(\S+)", text, re.MULTILINE)}


def children(pid: int) -> list[int]:
    """The processes that its threads have started and not waited for."""
    return [int(child) for text in of_threads(pid, "children") for child in text.split()]


def cpu_s(pid: int) -> float:
    """The CPU time of the threads that have not ended."""
    return sum(int(text.split()[0]) for text in of_threads(pid, "schedstat")) / 1e9


def await_reading(pid: int) -> None:
    """Waits until the main thread waits for input: nothing that the process said before changes."""
    calls = {"x86_64": "0", "aarch64": "63"}  # read(2)
    waiting = [calls[platform.machine()], "0x0"]
    wait_until(lambda: Path(f"/proc/{pid}/syscall").read_text().split()[:2] == waiting)
