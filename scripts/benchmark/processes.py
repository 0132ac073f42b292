"""Runs a command to its end and tells what the kernel charged it."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import NoReturn

# Debian sid's packages are unpacked, not configured, so no locale but C exists there.
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": os.environ.get("HOME", "/"),
    "LC_ALL": "C",
    "PYTHONUTF8": "1",
    "NO_COLOR": "1",
    **{name: value for name, value in os.environ.items() if name.startswith(("ONLOOKER", "XDG_"))},
}


class CommandFailed(Exception):
    """A measured command ended with an error; the message has the end of what it printed."""


@dataclass(frozen=True)
class Finished:
    """A command that ended."""

    command: tuple[str, ...]
    exit_code: int
    """Negative: the number of the signal that ended it."""
    stdout: str
    stderr: str
    start_ns: int
    """CLOCK_MONOTONIC just before it was started."""
    wall_s: float
    cpu_s: float
    """User and system time of the process and of the children it waited for, from wait4."""
    peak_rss_kib: int
    """ru_maxrss. The kernel counts what the process held before its exec too, so nothing below this
    program's own size (some 20 MiB) can be seen."""

    def checked(self, allowed: Sequence[int] = (0,)) -> Finished:
        """Itself; raises CommandFailed if the exit code is not an allowed one."""
        if self.exit_code not in allowed:
            self.fail(f"exit code {self.exit_code}")
        return self

    def fail(self, why: str) -> NoReturn:
        """Raises CommandFailed."""
        printed = (self.stderr.strip() or self.stdout.strip())[-600:]
        raise CommandFailed(f"{' '.join(self.command)}: {why}; it printed: {printed}")


class Running:
    """A command under way; a context that leaves none behind."""

    def __init__(self, command: Sequence[str]) -> None:
        self._command = tuple(command)
        self._stdout = tempfile.TemporaryFile()  # a file never fills up as a pipe would
        self._stderr = tempfile.TemporaryFile()
        self._start_ns = time.monotonic_ns()
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.DEVNULL,
            stdout=self._stdout,
            stderr=self._stderr,
            env=ENVIRONMENT,
            start_new_session=True,
        )
        self._pidfd = os.pidfd_open(self._process.pid)

    def __enter__(self) -> Running:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._process.returncode is None:
            self.finish(limit_s=0)

    def suspend(self) -> None:
        """Stops the command and what it started, as Ctrl-Z does."""
        os.killpg(self._process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Lets it go on."""
        os.killpg(self._process.pid, signal.SIGCONT)

    def finish(self, *, interrupt_after_s: float | None = None, limit_s: float = 120) -> Finished:
        """Waits for the end, having sent SIGINT after some time if asked to.

        It is killed `limit_s` after that, which the exit code then tells.
        """
        if interrupt_after_s is not None and not self._ends_within(interrupt_after_s):
            signal.pidfd_send_signal(self._pidfd, signal.SIGINT)
        if not self._ends_within(limit_s):
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
        _, status, usage = os.wait4(self._process.pid, 0)
        wall_s = (time.monotonic_ns() - self._start_ns) / 1e9
        self._process.returncode = os.waitstatus_to_exitcode(status)
        os.close(self._pidfd)
        outputs = []
        for file in (self._stdout, self._stderr):
            file.seek(0)
            outputs.append(file.read().decode("utf-8", "replace"))
            file.close()
        return Finished(
            self._command,
            self._process.returncode,
            outputs[0],
            outputs[1],
            self._start_ns,
            wall_s,
            usage.ru_utime + usage.ru_stime,
            usage.ru_maxrss,
        )

    def _ends_within(self, seconds: float) -> bool:
        poll = select.poll()
        poll.register(self._pidfd, select.POLLIN)
        return bool(poll.poll(seconds * 1000))


def run(command: Sequence[str], *, limit_s: float = 120) -> Finished:
    """Runs a command to its end."""
    with Running(command) as running:
        return running.finish(limit_s=limit_s)
