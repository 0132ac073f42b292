"""Fixtures for tests on real interpreters; refuses to start where they could only fail."""

import os
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol

import pytest

from tests.interpreters import (
    PROGRAMS,
    Interpreter,
    Target,
    find_interpreters,
    host_interpreter,
    missing_versions,
)
from tests.permission import missing_permission

INSTALL_HINT = "scripts/interpreters says how to install it"


class StartTarget(Protocol):
    def __call__(
        self,
        interpreter: Interpreter,
        program: Path | str,
        *args: str,
        python_args: tuple[str, ...] = (),
        env: Mapping[str, str] | None = None,
    ) -> Target: ...


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update", action="store_true", help="write the golden files anew")
    parser.addoption("--alone", choices=("only", "never"), help="choose by the marker `alone`")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "interpreters(since=(3, 8), until=(3, 15), kinds=('pyenv', 'debian', 'sid')): "
        "the minor versions, both included, and the kinds that `interpreter` goes through",
    )
    if hasattr(config, "workerinput"):  # a worker of pytest-xdist: its controller has checked
        return
    problem = missing_permission()
    if problem is not None:
        raise pytest.UsageError(problem)
    missing = ", ".join(_dotted(version) for version in missing_versions())
    if missing and os.environ.get("ONLOOKER_REQUIRE_ALL") == "1":
        raise pytest.UsageError(f"no interpreter of {missing} is here: {INSTALL_HINT}")


def pytest_report_header() -> str:
    names = [interpreter.name for interpreter in find_interpreters()]
    missing = [_dotted(version) for version in missing_versions()]
    return f"interpreters: {', '.join(names)}" + (
        f"; MISSING, so not tested: {', '.join(missing)}; {INSTALL_HINT}" if missing else ""
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "interpreter" not in metafunc.fixturenames:
        return
    since, until, kinds = (3, 0), (4, 0), ("pyenv", "debian", "sid")
    for marker in metafunc.definition.iter_markers("interpreters"):
        since = marker.kwargs.get("since", since)
        until = marker.kwargs.get("until", until)
        kinds = marker.kwargs.get("kinds", kinds)
    params = [
        pytest.param(interpreter, id=interpreter.name)
        for interpreter in find_interpreters()
        if since <= interpreter.version[:2] <= until and interpreter.kind in kinds
    ]
    params += [
        pytest.param(
            None,
            id=f"{_dotted(version)}-missing",
            marks=pytest.mark.skip(reason=f"no interpreter of {_dotted(version)} is here"),
        )
        for version in missing_versions()
        if since <= version <= until
    ]
    metafunc.parametrize("interpreter", params, indirect=True, scope="session")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    choice = config.getoption("--alone")
    if choice is None:
        return
    chosen: list[pytest.Item] = []
    others: list[pytest.Item] = []
    for item in items:
        is_alone = item.get_closest_marker("alone") is not None
        (chosen if is_alone == (choice == "only") else others).append(item)
    config.hook.pytest_deselected(items=others)
    items[:] = chosen


def _dotted(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"


@pytest.fixture(scope="session")
def interpreter(request: pytest.FixtureRequest) -> Iterator[Interpreter]:
    """Each interpreter of this machine in turn; one missing of 3.8 to 3.15 is a skipped test."""
    found: Interpreter = request.param
    yield found
    found.remove_copies()


@pytest.fixture(scope="session")
def any_interpreter() -> Interpreter:
    """The Python that runs the tests, for what does not depend on the version."""
    return host_interpreter()


@pytest.fixture
def start_target(tmp_path: Path) -> Iterator[StartTarget]:
    """Starts programs under an interpreter, and ends them when the test does.

    A program is a path, relative to tests/programs, or the source text itself. It must print a line
    when it is ready (`print(..., flush=True)`): wait for it with read_line() or read_json().
    """
    targets: list[Target] = []

    def start(
        interpreter: Interpreter,
        program: Path | str,
        *args: str,
        python_args: tuple[str, ...] = (),
        env: Mapping[str, str] | None = None,
    ) -> Target:
        if isinstance(program, str):
            path = tmp_path / f"program{len(targets)}.py"
            path.write_text(textwrap.dedent(program), encoding="utf-8")
        else:
            path = PROGRAMS / program
        argv = interpreter.argv(*python_args, interpreter.path_in_target(path), *args)
        targets.append(Target(argv, env))
        return targets[-1]

    yield start
    for target in targets:
        target.close()


@pytest.fixture
def update(request: pytest.FixtureRequest) -> bool:
    """Whether golden files are to be written instead of compared with."""
    return bool(request.config.getoption("--update"))
