"""The command `onlooker`, run as its users run it."""

import fcntl
import json
import os
import pty
import re
import shutil
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.interpreters import DEADLINE_S, target_environment

Argument = str | int | float | Path

ONLOOKER = (sys.executable, "-m", "onlooker")


@dataclass(frozen=True)
class Finished:
    """What a command did."""

    exit_code: int
    stdout: bytes
    stderr: str

    @property
    def text(self) -> str:
        """What it wrote to stdout."""
        return self.stdout.decode()

    @property
    def json(self) -> Any:
        """What it wrote to stdout, decoded."""
        return json.loads(self.stdout)

    def ok(self) -> "Finished":
        """Itself; fails the test if the command failed."""
        assert self.exit_code == 0, f"exit code {self.exit_code}: {self.stderr}"
        return self


class Command:
    """A running `onlooker`. Its stderr is a pipe, or a terminal if so wished."""

    def __init__(
        self,
        *arguments: Argument,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        enter: tuple[str, ...] = (),
        stdin: int = subprocess.DEVNULL,
        stdout: int | None = subprocess.PIPE,
        terminal: bool = False,
        preexec: Callable[[], object] | None = None,
        deadline_s: float = DEADLINE_S,
    ) -> None:
        self._terminal = terminal
        self._read_fd, write_fd = pty.openpty() if terminal else os.pipe()
        if terminal:
            fcntl.ioctl(write_fd, termios.TIOCSWINSZ, b"\x28\x00\xc8\x00\x00\x00\x00\x00")
        self._stderr = bytearray()
        self.process = subprocess.Popen(
            [*enter, *ONLOOKER, *map(str, arguments)],
            cwd=cwd,
            env=target_environment({"TERM": "xterm", **(env or {})}),
            stdin=stdin,
            stdout=stdout,
            stderr=write_fd,
            preexec_fn=preexec,
        )
        os.close(write_fd)
        # Reaching it means that the command hangs; the test then fails for what is missing.
        self._watchdog = threading.Timer(deadline_s, self.process.kill)
        self._watchdog.daemon = True
        self._watchdog.start()

    @property
    def pid(self) -> int:
        return self.process.pid

    def wait_for(self, pattern: str) -> None:
        """Waits until stderr has a match of the pattern."""
        while not re.search(pattern, so_far := self._stderr.decode(errors="replace")):
            assert self._read(), f"ended without saying {pattern!r}: {so_far}"

    def wait_until_it_records(self) -> None:
        """Waits for the beginning (--verbose tells it), or on a terminal for some samples."""
        self.wait_for(r"samples \d{2}" if self._terminal else "recording process")

    def finish(self) -> Finished:
        """What it did, once it has ended."""
        stdout = self.process.stdout.read() if self.process.stdout else b""
        while self._read():
            pass
        code = self.process.wait(DEADLINE_S)
        return Finished(code, stdout, self._stderr.decode(errors="replace"))

    def _read(self) -> bool:
        try:
            received = os.read(self._read_fd, 65536)
        except OSError:  # what a terminal says when its other end is closed
            received = b""
        self._stderr += received
        return bool(received)

    def __enter__(self) -> "Command":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._watchdog.cancel()
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            if stream:
                stream.close()
        os.close(self._read_fd)


def onlooker(
    *arguments: Argument,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    enter: tuple[str, ...] = (),
    preexec: Callable[[], object] | None = None,
) -> Finished:
    """Runs a whole command."""
    with Command(*arguments, cwd=cwd, env=env, enter=enter, preexec=preexec) as command:
        return command.finish()


def go_pprof(*arguments: str | Path, cwd: Path) -> str:
    """What `go tool pprof` prints; it must not complain."""
    go = shutil.which("go")
    assert go, "go is not here: apt install golang-go"
    done = subprocess.run(
        [go, "tool", "pprof", *map(str, arguments)],
        check=False,
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, "HOME": str(cwd), "PPROF_TMPDIR": str(cwd), "TZ": "UTC"},
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def wait_until(condition: Callable[[], bool]) -> None:
    """Asks, again and again, until it is so; fails the test if that takes too long."""
    ends_at = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < ends_at, "it is still not so"
        os.sched_yield()
