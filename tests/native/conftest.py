"""Fixtures for tests of the native reader."""

import os
from pathlib import Path

import pytest

from tests.native.programs import OPTIMIZED, Programs


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Programs:
    return Programs(_folder(tmp_path_factory, "native"))


@pytest.fixture(scope="session")
def optimized_programs(tmp_path_factory: pytest.TempPathFactory) -> Programs:
    """The reader as it is shipped: sanitizers keep the compiler from much that it does there."""
    return Programs(_folder(tmp_path_factory, "optimized"), flags=OPTIMIZED)


def _folder(tmp_path_factory: pytest.TempPathFactory, name: str) -> Path:
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent  # all workers share what the first of them compiles
    folder = folder / name
    folder.mkdir(exist_ok=True)
    return folder
