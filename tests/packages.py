"""Programs of other people's that tests profile: packages from the registry, for each version."""

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.interpreters import Interpreter, target_environment

#: Pure Python, so that one folder does for every interpreter of a version.
REQUIREMENTS = ("pytest>=8,<10", "uvicorn<1")

CACHE = Path(
    os.environ.get("ONLOOKER_CACHE")
    or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "onlooker"
)


def packages(interpreter: Interpreter, requirements: tuple[str, ...] = REQUIREMENTS) -> Path:
    """The folder that they are in for this interpreter; skips the test where they can't be had.

    Requirements that are not pure Python are for interpreters of this platform.
    """
    version = "{}.{}".format(*interpreter.version)
    others = "" if requirements == REQUIREMENTS else "-" + "-".join(requirements)
    folder = CACHE / "packages" / f"{version}{others}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with open(folder.with_suffix(f"{folder.suffix}.lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            unfinished = folder.with_name(f"{folder.name}.unfinished")
            shutil.rmtree(unfinished, ignore_errors=True)
            # What a package needs on old versions only, pip tells by the version that it runs on.
            own = interpreter.version < (3, 11) and interpreter.root is None
            done = subprocess.run(
                [
                    *((interpreter.path,) if own else (sys.executable,)),
                    *("-m", "pip", "--quiet", "--disable-pip-version-check", "--no-input"),
                    *("install", "--only-binary=:all:", "--target", str(unfinished)),
                    *(() if own else ("--python-version", version)),
                    *requirements,
                ],
                check=False,
                capture_output=True,
                text=True,
                env=target_environment({}),
            )
            if done.returncode != 0:
                message = f"pip can't install {requirements}: {done.stderr[-600:]}"
                if os.environ.get("ONLOOKER_REQUIRE_ALL") == "1":
                    pytest.fail(message)
                pytest.skip(message)
            unfinished.rename(folder)
    return folder
