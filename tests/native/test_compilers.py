"""The reader compiles without a warning, also for aarch64."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.native.programs import NATIVE

SOURCES = sorted(NATIVE.glob("*.c"))

#: More than a user's build asks for. Sizes and signs are where untrusted numbers do harm.
WARNINGS = [
    "-Wall",
    "-Wextra",
    "-Wconversion",
    "-Wsign-conversion",
    "-Wcast-align",
    "-Wformat=2",
    "-Wmissing-prototypes",
    "-Wpointer-arith",
    "-Wstrict-prototypes",
    "-Wvla",
]


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
@pytest.mark.parametrize("compiler", ["gcc", "aarch64-linux-gnu-gcc"])
def test_no_warnings(compiler: str, source: Path) -> None:
    if not shutil.which(compiler):
        pytest.skip(f"{compiler} is missing (apt-get install gcc-aarch64-linux-gnu)")
    command = [
        compiler,
        "-std=c11",
        "-D_GNU_SOURCE",
        "-O1",
        *WARNINGS,
        "-Werror",
        "-c",
        str(source),
    ]
    done = subprocess.run(
        [*command, "-o", "/dev/null"], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
