"""Finds or fetches what is measured: the peers' packages, the interpreters of Debian sid."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

CLONE = Path(__file__).resolve().parents[2]
PROGRAMS = Path(__file__).resolve().parent / "programs"
PEERS = ("py-spy==0.4.3", "austin-dist==4.0.0")
_PRIVATE_MOUNTS = "ONLOOKER_BENCH_PRIVATE_MOUNTS"


class SetupFailed(Exception):
    """Something that the measurement needs is missing; the message says what and what to do."""


@dataclass(frozen=True)
class Interpreter:
    """A CPython in a root of its own."""

    version: str
    """With the patch release, as 3.14.10."""
    path: str
    """As seen inside the root."""
    root: Path

    @property
    def minor(self) -> str:
        """As 3.14."""
        return self.version.rpartition(".")[0]

    def command(self, *arguments: str) -> list[str]:
        """The command that runs it in its root. The process id stays the same."""
        return ["chroot", str(self.root), self.path, *arguments]


@dataclass(frozen=True)
class Tools:
    """All that is measured, ready to run; a context that removes what was written meanwhile."""

    onlooker: tuple[str, ...]
    py_spy: str
    austin: tuple[str, ...]
    """Runs inside the root: it looks for its target's files there, and needs glibc 2.38."""
    interpreters: dict[str, Interpreter]
    scratch: Path
    """A folder inside the root, seen there as `inside(scratch)`."""

    def __enter__(self) -> Tools:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        shutil.rmtree(self.scratch, ignore_errors=True)

    def inside(self, path: Path) -> str:
        """The path as seen by what runs in the root."""
        return "/" + str(path.relative_to(self.interpreters["3.15"].root))


def use_private_mounts() -> None:
    """Starts this program again in a mount namespace of its own, so that /proc can be mounted in
    the root that the interpreters run in, and no mount outlives the run."""
    if os.geteuid() != 0:
        raise SetupFailed("the interpreters run by chroot, which needs root: run it as root")
    if os.environ.get(_PRIVATE_MOUNTS) != "1":
        os.environ[_PRIVATE_MOUNTS] = "1"
        os.execvp("unshare", ["unshare", "--mount", sys.executable, *sys.argv])


def set_up(onlooker: tuple[str, ...]) -> Tools:
    """Makes everything ready; what was fetched once stays in the cache folder."""
    cache = _cache_folder()
    bin_folder = _peers(cache / "bench" / "venv")
    interpreters = _sid_interpreters()
    root = interpreters["3.15"].root
    if not (root / "proc/self").exists():
        subprocess.run(["mount", "-t", "proc", "proc", str(root / "proc")], check=True)
    scratch = Path(tempfile.mkdtemp(prefix="onlooker-bench.", dir=root / "tmp"))
    scratch.chmod(0o755)
    shutil.copytree(PROGRAMS, scratch, dirs_exist_ok=True)
    shutil.copy(bin_folder / "austin", scratch / "austin")
    austin = ("chroot", str(root), f"/{scratch.relative_to(root)}/austin")
    return Tools(onlooker, str(bin_folder / "py-spy"), austin, interpreters, scratch)


def _cache_folder() -> Path:
    if named := os.environ.get("ONLOOKER_CACHE"):
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "onlooker"


def _peers(venv: Path) -> Path:
    """The folder of the peers' commands, installed if the marker is not that of these versions."""
    marker = venv / "made-of"
    wanted = " ".join(PEERS)
    if not marker.exists() or marker.read_text() != wanted:
        print("setting up the peers (once) ...", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(venv)], check=True)
        pip = [str(venv / "bin/python"), "-m", "pip", "--quiet", "--disable-pip-version-check"]
        install = [*pip, "install", "--only-binary=:all:", *PEERS]
        done = subprocess.run(install, check=False, stderr=subprocess.PIPE, text=True)
        if done.returncode != 0:
            raise SetupFailed(f"the peers could not be installed: {done.stderr.strip()[-600:]}")
        marker.write_text(wanted)
    return venv / "bin"


def _sid_interpreters() -> dict[str, Interpreter]:
    script = str(CLONE / "scripts" / "interpreters")
    subprocess.run(["bash", script, "--install"], check=False, stdout=subprocess.DEVNULL)
    # It ends with an error if any of 3.8 to 3.15 is missing; only sid's are needed here.
    listing = subprocess.run(
        ["bash", script, "--list"], check=False, stdout=subprocess.PIPE, text=True
    ).stdout
    found = {}
    for line in listing.splitlines():
        version, kind, path, root = line.split("\t")
        if kind == "sid":
            interpreter = Interpreter(version, path, Path(root))
            found[interpreter.minor] = interpreter
    if missing := {"3.14", "3.15"} - set(found):
        raise SetupFailed(f"no CPython {' and '.join(sorted(missing))} of Debian sid: {script}")
    return found
