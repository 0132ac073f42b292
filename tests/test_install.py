"""What a user gets from a wheel or an sdist, in an environment that has nothing else."""

import fcntl
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.conftest import StartTarget
from tests.interpreters import ROOT, Interpreter, target_environment

pytestmark = pytest.mark.slow

BUSY = """
def spin_here():
    while True:
        sum(range(1000))

print(flush=True)
spin_here()
"""


def run(*command: str | Path, cwd: Path) -> str:
    """What the command printed; fails the test with all that it said."""
    done = subprocess.run(
        command,
        cwd=cwd,
        env=target_environment({}),
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def repository_files() -> list[str]:
    """What a clone of the working tree would hold."""
    listing = subprocess.run(
        ["git", "-C", ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        capture_output=True,
        text=True,
        check=False,
    )
    if listing.returncode != 0:
        pytest.skip(f"not a git repository: {listing.stderr.strip()}")
    return [name for name in listing.stdout.split("\0") if name and (ROOT / name).is_file()]


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist of the working tree and a wheel that was built from that sdist."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent  # all workers share it, and what the first of them builds
    with (folder / "build.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        dist = folder / "dist"
        if not dist.exists():
            clone = folder / "clone"
            for name in repository_files():
                (clone / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, clone / name)
            run(sys.executable, "-m", "build", "--outdir", folder / "building", clone, cwd=clone)
            (folder / "building").rename(dist)
    return dist


@pytest.fixture(scope="session")
def wheel(built: Path) -> Path:
    (path,) = built.glob("*.whl")
    return path


def install(python: str, wheel: Path, into: Path) -> Path:
    """Installs the wheel into an empty environment; its folder of commands."""
    run(python, "-m", "venv", into, cwd=into.parent)
    pip = (into / "bin" / "python", "-m", "pip", "--quiet", "--disable-pip-version-check")
    run(*pip, "install", "--only-binary=:all:", wheel, cwd=into)
    run(*pip, "check", cwd=into)
    return into / "bin"


def test_sdist_holds_the_repository(built: Path) -> None:
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    wanted = {name for name in repository_files() if not name.startswith(".")}
    assert wanted - names == set()


def test_one_wheel_holds_the_package_for_every_python(wheel: Path) -> None:
    assert wheel.name.startswith("onlooker-")
    assert "-cp310-abi3-linux_" in wheel.name
    packaged = {
        str(Path(name).relative_to("agent"))
        for name in repository_files()
        if name.startswith("agent/")
    }
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    metadata = {name for name in names if ".dist-info/" in name}
    assert names - metadata == packaged | {"onlooker/_native.abi3.so"}
    assert any(name.endswith("/LICENSE") for name in metadata)


def test_wheel_profiles_in_an_empty_environment(
    wheel: Path, tmp_path: Path, any_interpreter: Interpreter, start_target: StartTarget
) -> None:
    commands = install(any_interpreter.path, wheel, tmp_path / "venv")
    onlooker = commands / "onlooker"
    assert run(onlooker, "--version", cwd=tmp_path).split() == [
        "onlooker",
        wheel.name.split("-")[1],
    ]
    target = start_target(any_interpreter, BUSY)
    target.read_line()
    listed = run(onlooker, "list", cwd=tmp_path)
    assert str(target.pid) in listed.split()
    run(
        *(onlooker, "attach", "--pid", str(target.pid), "--seconds", "1", "-o", "it.pb.gz"),
        cwd=tmp_path,
    )
    top = run("go", "tool", "pprof", "-top", "it.pb.gz", cwd=tmp_path)
    assert "spin_here" in top


@pytest.mark.interpreters(since=(3, 10), kinds=("pyenv",))
def test_wheel_works_on_each_python(
    interpreter: Interpreter, wheel: Path, tmp_path: Path, start_target: StartTarget
) -> None:
    commands = install(interpreter.path, wheel, tmp_path / "venv")
    target = start_target(interpreter, BUSY)
    target.read_line()
    dumped = run(commands / "onlooker", "dump", "--pid", str(target.pid), cwd=tmp_path)
    assert "spin_here" in dumped
