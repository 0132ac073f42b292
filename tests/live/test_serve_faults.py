"""`onlooker serve` where things go wrong: targets that end, clients of the worse kind, signals."""

import json
import os
import re
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.background import Background
from tests.commands import wait_until
from tests.conftest import StartTarget
from tests.interpreters import Interpreter
from tests.kernel import cpu_s, status
from tests.server import (
    BUSY,
    TOO_LONG,
    Answer,
    Served,
    Server,
    error,
    finish,
    go_pprof_fetch,
    saved_as,
    serve_busy,
)


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with serve_busy() as it:
        yield it


ENDS_WHEN_TOLD = """
import os, signal, sys, threading
def work_before():
    while True:
        sum(range(100))
threading.Thread(target=work_before, daemon=True).start()
print(flush=True)
sys.stdin.readline()
"""


def test_target_that_dies_during_a_request(
    any_interpreter: Interpreter, start_target: StartTarget, tmp_path: Path
) -> None:
    target = start_target(any_interpreter, ENDS_WHEN_TOLD + "os.kill(os.getpid(), signal.SIGKILL)")
    target.read_line()
    with Server("--pid", target.pid) as server:
        # Some samples, so that there is something to be had of the second one.
        connection = server.connection()
        connection.request("GET", "/debug/pprof/wall?seconds=500")
        wait_until(lambda: server.metric("onlooker_profiles_in_progress") == 1)
        wait_until(lambda: cpu_s(server.pid) > 0 and has_read(server))
        target.send("")
        target.process.wait()
        answer = finish(connection)
        connection.close()
        assert answer.status == 200
        (tmp_path / "it.pb.gz").write_bytes(answer.body)
        comments = go_pprof_fetch("-comments", str(tmp_path / "it.pb.gz"), folder=tmp_path)
        assert "ended: the target ended" in comments
        # It is let go of, and not mistaken for whoever gets its id next.
        wait_until(lambda: server.metric("onlooker_targets") == 0)
        wait_until(lambda: not [file for file in server.files() if "mem" in file])
        assert "anon_inode:[pidfd]" not in server.files()
        gone = server.get(f"/pid/{target.pid}/debug/pprof/profile?seconds=1")
        assert gone == error(404, f"process {target.pid} is not served")
        assert server.get("/debug/pprof/").status == 404
        assert json.loads(server.get("/targets").body) == []


def has_read(server: Server) -> bool:
    """Whether a profile of moments, made beside another one, has something in it."""
    return len(server.get("/debug/pprof/wall?seconds=1").body) > 0


def test_target_that_becomes_another_program(
    any_interpreter: Interpreter, start_target: StartTarget, tmp_path: Path
) -> None:
    again = "import sys\nprint('again', flush=True)\ndef stay():\n    sys.stdin.read()\nstay()"
    target = start_target(
        any_interpreter, f"{ENDS_WHEN_TOLD}os.execv(sys.executable, ['x', '-uc', {again!r}])"
    )
    target.read_line()
    with Server("--pid", target.pid) as server:
        assert server.get("/debug/pprof/wall?seconds=1").status == 200
        target.send("")
        assert target.read_line() == "again"
        (tmp_path / "it.pb.gz").write_bytes(server.get("/debug/pprof/wall?seconds=1").body)
        assert "stay" in go_pprof_fetch("-top", str(tmp_path / "it.pb.gz"), folder=tmp_path)


def test_processes_that_come_and_go(
    any_interpreter: Interpreter, start_target: StartTarget
) -> None:
    word = f"come-and-go-{os.getpid()}"
    with Server("--name", word) as server:

        def pids() -> set[int]:
            return {
                int(group["labels"]["pid"]) for group in json.loads(server.get("/targets").body)
            }

        assert pids() == set()
        assert server.get("/debug/pprof/profile?seconds=1").status == 404
        first = start_target(any_interpreter, BUSY, word)
        first.read_line()
        wait_until(lambda: pids() == {first.pid})
        assert server.get("/debug/pprof/cmdline").text == "\0".join(first.argv)
        second = start_target(any_interpreter, BUSY, word)
        second.read_line()
        wait_until(lambda: pids() == {first.pid, second.pid})
        # Which one is meant must be said now.
        assert server.get("/debug/pprof/cmdline").status == 404
        path = f"/pid/{second.pid}/debug/pprof/wall?seconds=1"
        assert server.get(path).status == 200
        second.close()
        wait_until(lambda: pids() == {first.pid})
        assert server.get(path).status == 404


def test_nobody_asks(any_interpreter: Interpreter, start_target: StartTarget) -> None:
    """The server does not even run, so it reads nothing."""
    target = start_target(
        any_interpreter,
        """
        import sys, time
        for line in sys.stdin:
            end = time.thread_time() + 0.2
            while time.thread_time() < end:
                pass
            print("passed", flush=True)
        """,
    )
    with Server("--pid", target.pid, "--background-rate", 0) as server:

        def ran_meanwhile() -> bool:
            before_s = cpu_s(server.pid)
            target.send("")
            assert target.read_line() == "passed"
            return cpu_s(server.pid) > before_s

        wait_until(lambda: not ran_meanwhile())  # it may have something to do for its start


@pytest.mark.parametrize("asked", ["nothing", "profile", "many"])
def test_sigterm(any_interpreter: Interpreter, start_target: StartTarget, asked: str) -> None:
    target = start_target(any_interpreter, BUSY)
    target.read_line()
    paths = {
        "nothing": [],
        "profile": ["/debug/pprof/profile?seconds=500"],
        "many": [f"/debug/pprof/{kind}?seconds=500" for kind in ("profile", "wall", "gil")],
    }[asked]
    with Server("--pid", target.pid) as server:
        connections = [server.connection() for _ in paths]
        for connection, path in zip(connections, paths, strict=True):
            connection.request("GET", path)
        wait_until(lambda: server.metric("onlooker_profiles_in_progress") == len(paths))
        done = server.end()  # within the deadline, which is far less than the profiles
        assert (done.exit_code, done.stderr) == (0, "")
        for connection in connections:
            answer = finish(connection)
            connection.close()
            assert answer == error(503, "the server is ending")
    assert status(target.pid, "TracerPid") == {"0"}


def test_slow_clients_are_in_nobodys_way(served: Served) -> None:
    slow = [served.server.socket() for _ in range(40)]
    for number, client in enumerate(slow):
        client.sendall(b"GET /debug/pprof/ HTTP/1.1\r\nHost: 127.0.0.1\r\nX: "[: number + 1])
    answers: list[Answer] = []
    asking = [
        threading.Thread(target=lambda: answers.append(served.server.get("/debug/pprof/cmdline")))
        for _ in range(3)
    ]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join()
    assert [answer.status for answer in answers] == [200] * 3
    for client in slow:
        client.close()


BAD = {
    "nonsense": b"\x16\x03\x01\x02\x00\x01\x00\xff\r\n\r\n",
    "no method": b"NONSENSE / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    "a long line": b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    "a long header": b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
    "two lengths": b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    "a control character": b"GET /\x00 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    "many headers": b"GET / HTTP/1.1\r\n" + b"X: a\r\n" * 100_000 + b"\r\n",
}


@pytest.mark.parametrize("request_", BAD.values(), ids=BAD)
def test_bad_requests(served: Served, request_: bytes) -> None:
    with served.server.socket() as client:
        received = b""
        try:
            client.sendall(request_)
            while piece := client.recv(65536):
                received += piece
        except ConnectionError:
            pass  # it has heard enough
    assert not received or re.match(rb"HTTP/1\.[01] 4\d\d ", received)
    assert served.server.get("/debug/pprof/cmdline").status == 200
    assert served.server.command.process.poll() is None


def test_threads_can_be_watched_by_one_only(served: Served) -> None:
    asked = "/debug/pprof/threadcreate?seconds="
    with Background(served.target.pid, "threadcreate", own_child=True):
        refused = served.server.get(f"{asked}1")
        assert refused.status == 403
        assert "another tracer is attached" in refused.text
        assert served.server.get("/debug/pprof/threadcreate").status == 200
    with closing(served.server.connection()) as first:
        first.request("GET", f"{asked}100")
        status = Path(f"/proc/{served.target.pid}/status")
        wait_until(lambda: "TracerPid:\t0\n" not in status.read_text())
        refused = served.server.get(f"{asked}1")
        assert refused.status == 409
        assert "watched already" in refused.text
    wait_until(lambda: served.server.get(f"{asked}1").status == 200)


def test_what_takes_stops_where_none_may_be(served: Served) -> None:
    with Server("--pid", served.target.pid, "--pause", "never") as server:
        refused = server.get("/debug/pprof/threadcreate?seconds=1")
        assert refused.status == 400
        assert "threadcreate needs to stop" in refused.text
        assert server.get("/debug/pprof/threadcreate").status == 200


def test_large_body(served: Served) -> None:
    """It is not read, let alone kept."""
    with served.server.socket() as client:
        head = (
            b"POST /debug/pprof/symbol HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 999999999999"
        )
        client.sendall(head + b"\r\n\r\n" + b"0x1+" * 1000)
        assert client.recv(65536).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize(
    "query",
    ["seconds=" + "9" * 5000, "seconds=101", "seconds=%2B200", "seconds=100000000000000000000&a"],
)
def test_huge_parameters(served: Served, query: str) -> None:
    # Go takes a number beyond 64 bits for none, and none for 30.
    if len(query) > 20:
        answer = served.server.get(f"/debug/pprof/profile?{query}", "HEAD")
        assert answer == Answer(200, saved_as("profile"), b"")
    else:
        assert served.server.get(f"/debug/pprof/profile?{query}") == TOO_LONG
