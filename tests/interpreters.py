"""The interpreters that tests look into, and programs that run under them."""

import dataclasses
import functools
import json
import os
import selectors
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PROGRAMS = ROOT / "tests" / "programs"
SCRIPT = ROOT / "scripts" / "interpreters"

#: Every minor version that Onlooker supports.
MINOR_VERSIONS = tuple((3, minor) for minor in range(8, 16))

#: How long a target may take to answer. Far beyond what it needs: reaching it means that it hangs.
DEADLINE_S = 120.0


@dataclasses.dataclass(frozen=True)
class Interpreter:
    """A Python of this machine. `root` is the folder that it needs to be run under, if any."""

    version: tuple[int, int, int]
    kind: str
    path: str
    root: Path | None = None

    @property
    def name(self) -> str:
        return f"{'.'.join(map(str, self.version))}-{self.kind}"

    def argv(self, *args: str) -> list[str]:
        """The command that runs it. Each part of it executes the next: the process id stays.

        One with a root gets a mount namespace with its own /proc, as in a container.
        """
        enter = ["unshare", "--mount", f"--root={self.root}", "--mount-proc"] if self.root else []
        return [*enter, self.path, *args]

    def path_in_target(self, path: Path) -> str:
        """What the interpreter calls this file or folder, copied to where it can read it."""
        path = path.resolve()
        if self.root is None:
            return str(path)
        inside = Path("/tmp") / _copies_name() / path.relative_to("/")
        copy = self.path_outside(str(inside))
        copy.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            shutil.copytree(path, copy, dirs_exist_ok=True)
        else:
            shutil.copyfile(path, copy)
        return str(inside)

    def path_outside(self, path_in_target: str) -> Path:
        """Where this process finds what the interpreter calls `path_in_target`."""
        return (self.root or Path("/")) / Path(path_in_target).relative_to("/")

    def remove_copies(self) -> None:
        """Removes what path_in_target copied."""
        if self.root is not None:
            shutil.rmtree(self.root / "tmp" / _copies_name(), ignore_errors=True)


def _copies_name() -> str:
    return f"onlooker-tests-{os.getpid()}"


@functools.cache
def find_interpreters() -> tuple[Interpreter, ...]:
    """Every interpreter that scripts/interpreters finds on this machine, oldest first."""
    listing = subprocess.run([SCRIPT, "--list"], check=False, stdout=subprocess.PIPE, text=True)
    found = []
    for line in listing.stdout.splitlines():
        version, kind, path, root = line.split("\t")
        major, minor, micro = map(int, version.split("."))
        found.append(
            Interpreter((major, minor, micro), kind, path, None if root == "-" else Path(root))
        )
    return tuple(sorted(found, key=lambda interpreter: (interpreter.version, interpreter.kind)))


def missing_versions() -> list[tuple[int, int]]:
    """The supported minor versions of which this machine has no interpreter."""
    found = {interpreter.version[:2] for interpreter in find_interpreters()}
    return [version for version in MINOR_VERSIONS if version not in found]


def host_interpreter() -> Interpreter:
    """The Python that runs the tests, outside of its virtual environment."""
    major, minor, micro = sys.version_info[:3]
    path = Path(sys.base_prefix) / "bin" / f"python{major}.{minor}"
    return Interpreter((major, minor, micro), "host", str(path))


class TargetError(Exception):
    """A target ended or hung where a test waits for it; says what it wrote to stderr."""


class Target:
    """A running program. It speaks by lines: it prints one when it is ready, and may read some."""

    def __init__(
        self,
        argv: Sequence[str],
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        self.argv = list(argv)
        self._stderr = tempfile.TemporaryFile()
        self._received = bytearray()
        self.process = subprocess.Popen(
            # No target outlives the tests, even if they are killed.
            ["setpriv", "--pdeathsig", "KILL", "--", *argv],
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            env=target_environment(env or {}),
            cwd=cwd,
        )

    @property
    def pid(self) -> int:
        """The id of the Python process itself."""
        return self.process.pid

    def read_line(self, deadline_s: float = DEADLINE_S) -> str:
        """The next line that the target prints, without its end.

        Raises TargetError if the target closes its output or the deadline passes first.
        """
        assert self.process.stdout is not None
        ends_at = time.monotonic() + deadline_s
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            while b"\n" not in self._received:
                if not selector.select(ends_at - time.monotonic()):
                    raise TargetError(f"{self} printed no line within {deadline_s} s{self.stderr}")
                received = os.read(self.process.stdout.fileno(), 65536)
                if not received:
                    raise TargetError(f"{self} closed its output{self.stderr}")
                self._received += received
        line, _, self._received = self._received.partition(b"\n")
        return line.decode()

    def read_json(self, deadline_s: float = DEADLINE_S) -> Any:
        """The next line, decoded."""
        return json.loads(self.read_line(deadline_s))

    def send(self, line: str) -> None:
        """Writes a line to the target's standard input."""
        assert self.process.stdin is not None
        self.process.stdin.write(line.encode() + b"\n")

    def wait(self, deadline_s: float = DEADLINE_S) -> int:
        """Closes the target's input, and returns its exit code when it has ended."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.process.wait(deadline_s)

    @property
    def stderr(self) -> str:
        """What the target wrote to stderr so far, after a line break; empty if nothing."""
        text = os.pread(self._stderr.fileno(), 1 << 20, 0).decode(errors="replace")
        return f"\n{text}" if text else ""

    def close(self) -> None:
        """Kills the target, if it still runs, and waits for it."""
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self._stderr):
            if stream is not None:
                stream.close()

    def __enter__(self) -> "Target":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Target {self.pid}: {' '.join(self.argv)}>"


def target_environment(extra: Mapping[str, str]) -> dict[str, str]:
    """This process's environment without what would change how a Python runs."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return {**env, "LC_ALL": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1", **extra}
