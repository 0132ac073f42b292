"""Fixtures for tests of the native reader."""

import os

import pytest

from tests.native.programs import Programs


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Programs:
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent  # all workers share what the first of them compiles
    folder = folder / "native"
    folder.mkdir(exist_ok=True)
    return Programs(folder)
