"""The whole way, on every interpreter: programs that nobody here wrote, and Go's own pprof."""

import http.client
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

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
        heap = ("heap", "--pid", target.pid, "--json", "-o", tmp_path / "heap.pb.gz")
        rows = onlooker(*heap).ok().json["resident"]
    assert re.search(r" __main__\.catalogue$", cpu.top(), re.MULTILINE)
    total = sum(rows.values())
    assert rows["native memory"] + rows["pymalloc: free blocks and pools"] < 0.05 * total, rows
    assert rows["Python objects"] > 0.5 * total
    held = Views(tmp_path / "heap.pb.gz", interpreter).top()
    assert re.search(r" PRODUCTS: dict$", held, re.MULTILINE)
    status = Path(f"/proc/{target.pid}/status").read_text()
    (resident,) = re.findall(r"VmRSS:\s+(\d+) kB", status)
    assert abs(total - int(resident) * 1024) < 0.05 * total
