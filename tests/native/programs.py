"""Compiles the reader with the sanitizers, and C programs that test it."""

import fcntl
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from tests.interpreters import ROOT, target_environment

NATIVE: Final = ROOT / "native"
HERE: Final = ROOT / "tests" / "native"

#: As native/build.py compiles it, with warnings for errors and every sanitizer's finding an end.
FLAGS: Final = [
    "-std=c11",
    "-D_GNU_SOURCE",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-g",
    "-O1",
    "-fno-omit-frame-pointer",
    "-fsanitize=address,undefined",
    "-fno-sanitize-recover=all",
    "-pthread",
    f"-I{NATIVE}",
]

#: As native/build.py optimizes it, and without sanitizers.
OPTIMIZED: Final = ["-O2", "-fno-sanitize=all", "-fomit-frame-pointer"]

#: Far beyond what a program needs: reaching it means that it hangs.
DEADLINE_S: Final = 600.0

#: As check.h has it.
SKIPPED: Final = 77


class Programs:
    """C programs beside this file and the reader, compiled when first asked for."""

    def __init__(self, folder: Path, compiler: str = "gcc", flags: Sequence[str] = ()) -> None:
        self._folder = folder
        self._command = [compiler, *FLAGS, *flags]

    def build(self, *sources: str, link: Sequence[str] = ()) -> Path:
        """The program made of these sources. What they define takes the place of the reader's."""
        program = self._folder / Path(sources[0]).stem
        with self._lock():
            if not program.exists():
                self._compile(
                    [*(str(HERE / source) for source in sources), str(self._reader()), *link],
                    program,
                )
        return program

    def _reader(self) -> Path:
        """The reader as an archive, of which the linker takes what a program does not have."""
        archive = self._folder / "reader.a"
        if not archive.exists():
            objects = []
            for source in sorted(NATIVE.glob("*.c")):
                objects.append(self._folder / f"{source.stem}.o")
                self._compile(["-c", str(source)], objects[-1])
            _run(["ar", "rc", str(archive), *map(str, objects)])
        return archive

    def _compile(self, arguments: Sequence[str], output: Path) -> None:
        unfinished = output.with_suffix(".unfinished")
        _run([*self._command, *arguments, "-o", str(unfinished)])
        unfinished.rename(output)

    @contextmanager
    def _lock(self) -> Iterator[None]:
        with (self._folder / "lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stderr}"


def run_program(program: Path, *arguments: str | Path) -> str:
    """What the program printed; fails the test with all that it and the sanitizers said."""
    done = subprocess.run(
        [program, *arguments],
        check=False,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=DEADLINE_S,
        env=target_environment({"ASAN_OPTIONS": "detect_leaks=1", "UBSAN_OPTIONS": ""}),
    )
    if done.returncode == SKIPPED:
        pytest.skip(done.stdout)
    command = " ".join(map(str, [program.name, *arguments]))
    assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout
