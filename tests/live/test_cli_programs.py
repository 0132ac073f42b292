"""The whole way, on every interpreter: programs that nobody here wrote, and Go's own pprof."""

import http.client
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.commands import go_pprof, onlooker, wait_until
from tests.conftest import StartTarget
from tests.interpreters import Interpreter, Target
from tests.packages import packages

pytestmark = pytest.mark.slow


@contextmanager
def load(port: int, path: str) -> Iterator[None]:
    """Keeps a server of this machine busy."""
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            with suppress(OSError, http.client.HTTPException):
                connection.request("GET", path)
                connection.getresponse().read()
            connection.close()

    asking = [threading.Thread(target=ask) for _ in range(2)]
    for thread in asking:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in asking:
            thread.join()


class Views:
    """What Go's pprof shows of a profile. Its -list reads the sources where the target has them."""

    def __init__(self, file: Path, interpreter: Interpreter) -> None:
        self._file = file
        root = interpreter.root
        self._sources = ("-trim_path=/", f"-source_path={root}") if root else ()

    def top(self) -> str:
        return self._show("-top", "-cum", "-nodecount=0", "-nodefraction=0")

    def traces(self) -> str:
        return self._show("-traces")

    def tags(self) -> str:
        return self._show("-tags")

    def list(self, function: str) -> str:
        return self._show(*self._sources, f"-list={function}")

    def _show(self, *arguments: str) -> str:
        return go_pprof(*arguments, self._file, cwd=self._file.parent)


def attach(target: Target, interpreter: Interpreter, folder: Path) -> tuple[Views, Views]:
    """Profiles a process for a while: its CPU and its wall profile."""
    arguments = ("--seconds", 2, "--rate", 500, "--profile", "cpu,wall", "-o", "it.pb.gz")
    summary = onlooker("attach", "--pid", target.pid, *arguments, "--json", cwd=folder).ok().json
    assert summary["samples"] > 0
    cpu, wall = (Views(folder / file, interpreter) for file in summary["files"])
    assert "Type: cpu" in cpu.top()
    assert "Type: wall" in wall.top()
    return cpu, wall


def resident_bytes(target: Target) -> int:
    status = Path(f"/proc/{target.pid}/status").read_text()
    (size,) = re.findall(r"VmRSS:\s+(\d+) kB", status)
    return int(size) * 1024


def look_at_heap(
    target: Target, interpreter: Interpreter, folder: Path, *arguments: str
) -> tuple[dict[str, Any], Views]:
    """What Onlooker tells of a process's memory, and its profile; nearly all of it is known."""
    file = folder / "heap.pb.gz"
    before = resident_bytes(target)
    told = onlooker("heap", "--pid", target.pid, "--json", "-o", file, *arguments).ok().json
    resident = sorted((before, resident_bytes(target)))  # it may grow
    total = sum(told["resident"].values())
    assert 0.95 * resident[0] < total < 1.05 * resident[1]
    assert -0.01 * total < told["resident"]["native memory"] < 0.05 * total, told["resident"]
    assert told["totals"]["broken"] == 0
    return told, Views(file, interpreter)


def test_http_server(interpreter: Interpreter, tmp_path: Path) -> None:
    argv = interpreter.argv("-um", "http.server", "0", "--bind", "127.0.0.1", "--directory", "/usr")
    with Target(argv) as target:
        port = re.search(r"port (\d+)", target.read_line())
        assert port
        with load(int(port[1]), "/"):
            cpu, wall = attach(target, interpreter, tmp_path)
    assert "do_GET" in cpu.top()
    (row,) = [row for row in wall.top().splitlines() if row.endswith("serve_forever")]
    assert re.search(r"socketserver\.(BaseServer\.)?serve_forever$", row)
    assert re.search(r"^ +thread: +MainThread\n +thread_id: +\d+\n", wall.traces(), re.MULTILINE)
    assert re.search(r"^ thread: Total .*\n.*: MainThread\n", wall.tags(), re.MULTILINE)
    assert re.search(rf"^ thread_id: Total .*\n.*: {target.pid}\n", wall.tags(), re.MULTILINE)
    assert re.search(r"\d+: +ready = selector\.select\(", wall.list("serve_forever"))


def test_uvicorn(interpreter: Interpreter, tmp_path: Path) -> None:
    """asyncio, with a thread pool for the application that comes with Python."""
    path = interpreter.path_in_target(packages(interpreter))
    argv = interpreter.argv(
        *("-m", "uvicorn", "--loop", "asyncio", "--http", "h11", "--no-access-log"),
        *("--interface", "wsgi", "--port", "0", "wsgiref.simple_server:demo_app"),
    )
    running = re.compile(r"running on http://127\.0\.0\.1:(\d+)")
    with Target(argv, {"PYTHONPATH": path}) as target:
        wait_until(lambda: running.search(target.stderr) is not None)
        port = running.search(target.stderr)
        assert port
        with load(int(port[1]), "/"):
            cpu, wall = attach(target, interpreter, tmp_path)
    assert re.search(
        r"uvicorn\.protocols\.http\.h11_impl\.(H11Protocol\.)?data_received", cpu.top()
    )
    assert "uvicorn.middleware.wsgi." in wall.top()
    assert re.search(r"thread: +ThreadPoolExecutor-0_0\n", wall.traces())
    assert re.search(r": ThreadPoolExecutor-0_0\n", wall.tags())
    assert re.search(r"\d+: +self\.conn\.receive_data\(data\)", cpu.list("data_received"))


def test_pytest(interpreter: Interpreter, tmp_path: Path) -> None:
    """From its start to its end: it runs the tests that modules of Python have in their texts."""
    path = interpreter.path_in_target(packages(interpreter))
    argv = interpreter.argv(
        *(
            "-c",
            (
                f"import sys; sys.path.insert(0, {path!r}); import pytest\n"
                "for _ in range(8): pytest.main(sys.argv[1:])"
            ),
        ),
        *("-q", "-p", "no:cacheprovider", "--doctest-modules"),
        *("--pyargs", "difflib", "statistics", "fractions", "enum"),
    )
    arguments = ("--rate", 500, "--profile", "cpu,wall", "-o", "it.pb.gz", "-q")
    done = onlooker("run", *arguments, "--", *argv, cwd=tmp_path).ok()
    assert re.search(r"\d+ passed", done.text)
    cpu, wall = (Views(tmp_path / f"it-{kind}.pb.gz", interpreter) for kind in ("cpu", "wall"))
    assert "_pytest.main.pytest_runtestloop" in cpu.top()
    assert " doctest." in wall.top()
    assert re.search(r" pluggy\.\w+\._multicall\n", wall.traces())
    assert re.search(r"\(  100%\): MainThread\n", wall.tags())
    assert "def pytest_runtestloop(session" in cpu.list("pytest_runtestloop")


@pytest.mark.interpreters(since=(3, 12), kinds=("pyenv",))
def test_django(interpreter: Interpreter, start_target: StartTarget, tmp_path: Path) -> None:
    """Nearly all of a web application's memory is known for what it is, and its views are named."""
    folder = packages(interpreter, ("django<7", "waitress<4"))
    arguments = (Path("shop.py"), str(tmp_path / "shop.db"))
    target = start_target(interpreter, *arguments, env={"PYTHONPATH": str(folder)})
    port = int(target.read_line())
    with load(port, "/catalogue"):
        cpu, _ = attach(target, interpreter, tmp_path)
        told, held = look_at_heap(target, interpreter, tmp_path)
    assert re.search(r" __main__\.catalogue$", cpu.top(), re.MULTILINE)
    assert told["resident"]["Python objects"] > 0.5 * sum(told["resident"].values())
    assert re.search(r" PRODUCTS: dict$", held.top(), re.MULTILINE)


@pytest.mark.interpreters(since=(3, 13), kinds=("pyenv",))
def test_aiohttp(interpreter: Interpreter, start_target: StartTarget, tmp_path: Path) -> None:
    folder = packages(interpreter, ("aiohttp<4",))
    target = start_target(interpreter, Path("service.py"), env={"PYTHONPATH": str(folder)})
    port = int(target.read_line())
    with load(port, "/visit"):
        cpu, _ = attach(target, interpreter, tmp_path)
        _, held = look_at_heap(target, interpreter, tmp_path)
    assert re.search(r" __main__\.visit$", cpu.top(), re.MULTILINE)
    assert re.search(r" VISITS: dict$", held.top(), re.MULTILINE)


DATA = Path("data.py")


def types_of(
    target: Target, interpreter: Interpreter, folder: Path
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The program's own account, and what Onlooker tells by type; pprof names them, too."""
    account = target.read_json()
    told, held = look_at_heap(target, interpreter, folder, "--by", "type")
    top = held.top()
    types = {row["type"]: row for row in told["types"]}
    for name, row in types.items():  # static objects have no bytes
        assert re.search(rf" {re.escape(name)}$", top, re.MULTILINE) or not row["bytes"], name
    return account, types


@pytest.mark.interpreters(since=(3, 11), until=(3, 11))
def test_pandas(interpreter: Interpreter, start_target: StartTarget, tmp_path: Path) -> None:
    environment = {"PYTHONPATH": str(packages(interpreter, ("pandas<3",)))}
    target = start_target(interpreter, DATA, "tables", env=environment)
    told, types = types_of(target, interpreter, tmp_path)
    arrays, texts = (types[name]["bytes"] / told[name] for name in ("numpy.ndarray", "str"))
    assert 1 <= arrays < 1.02
    assert 1 <= texts < 4  # the blocks of the frame's texts, and the program's own


@pytest.mark.interpreters(since=(3, 13), kinds=("pyenv",))
def test_json(interpreter: Interpreter, start_target: StartTarget, tmp_path: Path) -> None:
    target = start_target(interpreter, DATA, "documents")
    told, types = types_of(target, interpreter, tmp_path)
    for name, objects in told.items():
        assert objects <= types[name]["objects"] < 1.05 * objects, name


@pytest.mark.interpreters(since=(3, 12), until=(3, 12), kinds=("pyenv",))
def test_sqlalchemy(interpreter: Interpreter, start_target: StartTarget, tmp_path: Path) -> None:
    environment = {"PYTHONPATH": str(packages(interpreter, ("sqlalchemy<3",)))}
    target = start_target(interpreter, DATA, "session", env=environment)
    told, types = types_of(target, interpreter, tmp_path)
    assert {name: types[name]["objects"] for name in told} == told
