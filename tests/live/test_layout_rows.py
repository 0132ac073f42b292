"""The generated layouts are what the headers of the interpreters say."""

import os
import shutil
import subprocess

import pytest

from tests.interpreters import ROOT


@pytest.mark.slow
def test_rows_are_what_the_generator_writes() -> None:
    if not shutil.which("pyenv") and os.environ.get("ONLOOKER_REQUIRE_ALL") != "1":
        pytest.skip("pyenv, whose headers of CPython 3.8 to 3.13 are needed, isn't here")
    checked = subprocess.run(
        [ROOT / "scripts" / "layouts", "--check"],
        check=False,
        capture_output=True,
        text=True,
    )
    assert checked.returncode == 0, checked.stderr
