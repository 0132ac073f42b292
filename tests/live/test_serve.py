"""`onlooker serve`: what Go's tools and clients of all kinds get from it."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from onlooker.profile.kinds import KINDS
from prometheus_client.parser import text_string_to_metric_families

from tests.commands import wait_until
from tests.conftest import StartTarget
from tests.interpreters import Interpreter
from tests.kernel import cpu_s
from tests.server import (
    BUSY,
    ERROR,
    NOSNIFF,
    TEXT,
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

SPIN = re.compile(r"__main__\.spin_(left|right)")


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with serve_busy() as it:
        yield it


def test_go_tool_pprof(served: Served, tmp_path: Path) -> None:
    url = f"{served.server.url}/debug/pprof"
    top = go_pprof_fetch("-top", f"{url}/profile?seconds=1", folder=tmp_path)
    assert "Type: cpu" in top
    assert SPIN.search(top)
    assert "__main__.wait_here" in go_pprof_fetch(
        "-top", "-cum", "-seconds=1", f"{url}/wall", folder=tmp_path
    )
    gil = go_pprof_fetch("-traces", f"{url}/gil?seconds=1", folder=tmp_path)
    assert "Type: gil" in gil


def test_go_tool_pprof_with_bases(served: Served, tmp_path: Path) -> None:
    url = f"{served.server.url}/pid/{served.target.pid}/debug/pprof/wall?seconds=1"
    for base in ("-base", "-diff_base"):
        difference = go_pprof_fetch("-top", f"{base}={url}", url, folder=tmp_path)
        assert "Type: wall" in difference
        assert "Showing nodes accounting for" in difference


@pytest.mark.interpreters()
def test_cpu_profile_on_each_python(
    interpreter: Interpreter, start_target: StartTarget, tmp_path: Path
) -> None:
    target = start_target(interpreter, BUSY)
    assert target.read_line() == "ready"
    with Server("--pid", target.pid) as server:
        before_s = cpu_s(target.pid)
        answer = server.get("/debug/pprof/profile?seconds=1")
        most_s = cpu_s(target.pid) - before_s
    assert (answer.status, answer.headers) == (200, saved_as("profile"))
    file = tmp_path / "it.pb.gz"
    file.write_bytes(answer.body)
    raw = go_pprof_fetch("-raw", str(file), folder=tmp_path)
    assert SPIN.search(raw)
    samples = raw.partition("Samples:\n")[2].partition("Locations\n")[0]
    used_s = sum(int(ns) for ns in re.findall(r"^ +\d+ +(\d+):", samples, re.MULTILINE)) / 1e9
    # What a thread has used until its first sample may be up to a period's of each.
    assert 0 < used_s <= most_s + 0.1


UNKNOWN = error(404, "Unknown profile")
NOT_FOUND = Answer(404, TEXT, b"404 page not found\n")
BAD_SECONDS = error(400, 'invalid value for "seconds" - must be a positive integer')
INCOMPATIBLE = error(400, "seconds and debug params are incompatible")
NO_TRACE = error(501, "Could not enable tracing: not supported for Python processes")

ANSWERS = {
    "/debug/pprof/nothing": UNKNOWN,
    "/debug/pprof/nothing?debug=1&seconds=5": UNKNOWN,
    "/debug/pprof/profile/": UNKNOWN,
    "/debug/pprof/%2e%2e%2fetc": UNKNOWN,
    "/debug/pprof/<script>": UNKNOWN,
    "/debug": NOT_FOUND,
    "/nothing": NOT_FOUND,
    "/pid/x/debug/pprof/": NOT_FOUND,
    "/pid/99999999999999999999/debug/pprof/": NOT_FOUND,
    "/pid/4294967295/debug/pprof/": error(404, "process 4294967295 is not served"),
    "/pid/1/debug/pprof/profile?seconds=1": error(404, "process 1 is not served"),
    "/debug/pprof/trace": NO_TRACE,
    "/debug/pprof/trace?seconds=1": NO_TRACE,
    "/debug/pprof/symbol": Answer(200, TEXT, b"num_symbols: 1\n"),
    "/debug/pprof/symbol?0x1+0x2": Answer(200, TEXT, b"num_symbols: 1\n"),
    "/debug/pprof/profile?seconds=101": TOO_LONG,
    "/debug/pprof/wall?seconds=9223372036854775807": TOO_LONG,
    "/debug/pprof/mutex?seconds=0": BAD_SECONDS,
    "/debug/pprof/mutex?seconds=x": BAD_SECONDS,
    "/debug/pprof/mutex?seconds=-1&debug=1": BAD_SECONDS,
    "/debug/pprof/mutex?seconds=99999999999999999999": BAD_SECONDS,
    "/debug/pprof/mutex?seconds=1&debug=1": INCOMPATIBLE,
    "/debug/pprof/mutex?seconds=1&debug=99999999999999999999": INCOMPATIBLE,
    "/debug/pprof/block?seconds=101": TOO_LONG,
    "/debug/pprof": Answer(
        307,
        {"Content-Type": "text/html; charset=utf-8", "Location": "/debug/pprof/"},
        b'<a href="/debug/pprof/">Temporary Redirect</a>.\n\n',
    ),
    "/debug/pprof?a=1&b=%3C": Answer(
        307,
        {"Content-Type": "text/html; charset=utf-8", "Location": "/debug/pprof/?a=1&b=%3C"},
        b'<a href="/debug/pprof/?a=1&amp;b=%3C">Temporary Redirect</a>.\n\n',
    ),
}


@pytest.mark.parametrize("path", ANSWERS)
def test_answers_as_gos(served: Served, path: str) -> None:
    expected = ANSWERS[path]
    assert served.server.get(path) == expected
    assert served.server.get(path, "HEAD") == Answer(expected.status, expected.headers, b"")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("path", ["", "symbol", "profile?seconds=1", "nothing"])
def test_other_methods(served: Served, method: str, path: str) -> None:
    answer = served.server.get(f"/debug/pprof/{path}", method, body=b"0x1+0x2")
    if (method, path) == ("POST", "symbol"):
        assert answer == Answer(200, TEXT, b"num_symbols: 1\n")
        return
    allowed = {**TEXT, "Allow": "GET, HEAD"}
    assert answer == Answer(405, allowed, b"Method Not Allowed\n")


def test_head_of_a_profile_takes_none(served: Served) -> None:
    samples = served.server.metric("onlooker_samples_total")
    answer = served.server.get("/debug/pprof/profile?seconds=100", "HEAD")
    assert answer == Answer(200, saved_as("profile"), b"")
    assert served.server.metric("onlooker_samples_total") == samples


#: Kinds that Go has at any moment, and not only after some time. Memory is in test_tracemalloc.py.
MOMENTS = [name for name, kind in KINDS.items() if not (kind.timed or kind.heap)]


@pytest.mark.parametrize("name", MOMENTS)
def test_profile_of_a_moment(served: Served, name: str, tmp_path: Path) -> None:
    path = f"/debug/pprof/{name}"
    for query in ("", "?debug=0", "?debug=x", "?gc=1", "?seconds="):
        answer = served.server.get(path + query)
        assert (answer.status, answer.headers) == (200, saved_as(name))
        (tmp_path / "it.pb.gz").write_bytes(answer.body)
        go_pprof_fetch("-raw", str(tmp_path / "it.pb.gz"), folder=tmp_path)
    delta = served.server.get(f"{path}?seconds=1")
    assert (delta.status, delta.headers) == (200, saved_as(f"{name}-delta"))
    text = served.server.get(f"{path}?debug=1")
    assert (text.status, text.headers) == (200, TEXT)
    assert re.match(r"--- contention:\n|--- mutex:\n|\w+ profile: total \d+\n", text.text)
    assert served.server.get(f"{path}?debug=2").headers == TEXT
    assert served.server.get(f"{path}?debug=1", "HEAD") == Answer(200, TEXT, b"")
    assert served.server.get(path, "HEAD") == Answer(200, saved_as(name), b"")


def test_goroutine(served: Served, tmp_path: Path) -> None:
    """Each thread once: the main one, two that spin and one that waits."""
    url = f"{served.server.url}/debug/pprof/goroutine"
    raw = go_pprof_fetch("-raw", url, folder=tmp_path)
    assert "goroutine/count" in raw
    samples = raw.partition("Samples:\n")[2].partition("Locations\n")[0]
    assert sum(int(n) for n in re.findall(r"^ +(\d+):", samples, re.MULTILINE)) == 4
    assert "__main__.wait_here" in go_pprof_fetch("-traces", url, folder=tmp_path)
    assert served.server.get("/debug/pprof/goroutine?debug=1").text.startswith(
        "goroutine profile: total 4\n"
    )
    tracebacks = served.server.get("/debug/pprof/goroutine?debug=2").text
    assert set(re.findall(r'^thread \d+ "(\w+)" ', tracebacks, re.MULTILINE)) == {
        *("MainThread", "left", "right", "waiter")
    }
    index = served.server.get("/debug/pprof/").text
    assert "<tr><td>4</td><td><a href='goroutine?debug=1'>goroutine</a>" in index
    assert '<a href="goroutine?debug=2">full goroutine stack dump</a>' in index


def test_names_for_what_was_read_of_a_text(served: Served, tmp_path: Path) -> None:
    """go tool pprof asks for them by POST: Go's texts have them in comments, too."""
    url = f"{served.server.url}/debug/pprof"
    for name in ("goroutine", "threadcreate"):
        top = go_pprof_fetch("-top", "-cum", f"{url}/{name}?debug=1", folder=tmp_path)
        assert SPIN.search(top), top
        assert not re.search(r" 0x[0-9a-f]+\n", top)
    text = served.server.get("/debug/pprof/goroutine?debug=1").text
    places = re.findall(r"^#\t(0x[0-9a-f]+)\t+(\S+)\+0x", text, re.MULTILINE)
    asked = "+".join(address for address, _ in places)
    answer = served.server.get(f"/debug/pprof/symbol?0x1+{asked}+x")
    lines = "".join(f"{address} {name}\n" for address, name in places)
    assert answer == Answer(200, TEXT, f"num_symbols: 1\n{lines}".encode())


def test_what_only_grows(
    any_interpreter: Interpreter, start_target: StartTarget, tmp_path: Path
) -> None:
    """Block and mutex are about the time since the server began, whoever asks."""
    target = start_target(any_interpreter, BUSY)
    target.read_line()
    with Server("--pid", target.pid) as server:
        url = f"{server.url}/debug/pprof"
        amounts: dict[str, list[int]] = {"block": [], "mutex": []}
        for _ in range(3):
            for name, seen in amounts.items():
                raw = go_pprof_fetch("-raw", f"{url}/{name}", folder=tmp_path)
                assert "contentions/count delay/nanoseconds" in raw
                seen.append(sum(int(ns) for ns in DELAYS.findall(raw)))
        assert amounts["block"] == sorted(amounts["block"])
        assert amounts["mutex"] == sorted(amounts["mutex"])
        assert "__main__.wait_here" in go_pprof_fetch(
            "-top", "-cum", f"{url}/block", folder=tmp_path
        )
        # Two threads spin, so one waits for the other all the time.
        wait_until(lambda: SPIN.search(server.get("/debug/pprof/mutex?debug=1").text) is not None)
        delta = go_pprof_fetch("-top", "-cum", f"{url}/block?seconds=1", folder=tmp_path)
        assert "__main__.wait_here" in delta
        assert "Duration: " in delta
        index = server.get("/debug/pprof/").text
        assert re.search(r"<tr><td>[1-9]\d*</td><td><a href='block\?debug=1'>block</a>", index)
        # What is read in the background is counted, once.
        first = server.metric("onlooker_samples_total")
        wait_until(lambda: server.metric("onlooker_samples_total") > first > 0)


DELAYS = re.compile(r"^ +\d+ +(\d+):", re.MULTILINE)


def test_command_line_and_index(served: Served) -> None:
    prefix = f"/pid/{served.target.pid}"
    cmdline = "\0".join(served.target.argv).encode()
    for path in ("/debug/pprof/cmdline", f"{prefix}/debug/pprof/cmdline"):
        assert served.server.get(path) == Answer(200, TEXT, cmdline)
    index = served.server.get("/debug/pprof/")
    assert index.headers == {**NOSNIFF, "Content-Type": "text/html; charset=utf-8"}
    for name in ("profile", "cmdline", *KINDS):
        assert f">{name}</a>" in index.text
    names = re.findall(r"<tr><td>\d+</td><td><a href='[^']+'>(\w+)</a>", index.text)
    assert names == sorted(names)
    processes = served.server.get("/").text
    assert f"<a href='{prefix}/debug/pprof/'>{served.target.pid}</a>" in processes
    redirect = served.server.get(f"{prefix}/debug/pprof")
    assert redirect.headers["Location"] == f"{prefix}/debug/pprof/"


def test_service_discovery(served: Served) -> None:
    answer = served.server.get("/targets", headers={"Host": "localhost:99"})
    assert answer.headers["Content-Type"] == "application/json"
    (group,) = json.loads(answer.body)
    assert group["targets"] == ["localhost:99"]
    labels = group["labels"]
    assert labels["__profile_path_prefix__"] == f"/pid/{served.target.pid}"
    assert (labels["pid"], labels["service_name"]) == (str(served.target.pid), "busy")
    assert all(isinstance(value, str) for value in labels.values())


def test_metrics(served: Served) -> None:
    samples, asked = "onlooker_samples_total", 'onlooker_requests_total{code="200",what="wall"}'
    before = served.server.metric(samples), served.server.metric(asked)
    assert served.server.get("/debug/pprof/wall?seconds=1").status == 200
    # How often it comes to look depends on the machine.
    assert served.server.metric(samples) > before[0]
    assert served.server.metric(asked) == before[1] + 1
    answer = served.server.get("/metrics")
    families = {family.name for family in text_string_to_metric_families(answer.text)}
    assert {"onlooker_lost", "onlooker_pause_seconds", "process_cpu_seconds"} <= families


def test_one_cpu_profile_at_a_time(served: Served) -> None:
    first = served.server.connection()
    first.request("GET", "/debug/pprof/profile?seconds=100")
    working = "onlooker_profiles_in_progress"
    wait_until(lambda: served.server.metric(working) == 1)
    refused = error(500, "Could not enable CPU profiling: cpu profiling already in use")
    assert served.server.get("/debug/pprof/profile?seconds=1") == refused
    assert served.server.get("/debug/pprof/cpu?seconds=1") == refused
    # Other kinds are not in its way.
    assert served.server.get("/debug/pprof/wall?seconds=1").status == 200
    # Its client hangs up, and the next one has its turn at once.
    first.close()
    wait_until(lambda: served.server.metric(working) == 0)
    assert served.server.metric("onlooker_requests_hung_up_total") >= 1
    assert served.server.get("/debug/pprof/profile?seconds=1").status == 200


def test_two_clients_at_once(served: Served, tmp_path: Path) -> None:
    connections = [served.server.connection() for _ in range(3)]
    for connection in connections:
        connection.request("GET", "/debug/pprof/wall?seconds=1")
    for number, connection in enumerate(connections):
        answer = finish(connection)
        connection.close()
        assert (answer.status, answer.headers) == (200, saved_as("wall"))
        (tmp_path / f"{number}.pb.gz").write_bytes(answer.body)
        top = go_pprof_fetch("-top", "-cum", str(tmp_path / f"{number}.pb.gz"), folder=tmp_path)
        assert "__main__.wait_here" in top


def test_too_many_profiles(any_interpreter: Interpreter, start_target: StartTarget) -> None:
    target = start_target(any_interpreter, BUSY)
    target.read_line()
    with Server("--pid", target.pid, "--max-profiles", 1) as server:
        first = server.connection()
        first.request("GET", "/debug/pprof/wall?seconds=100")
        wait_until(lambda: server.metric("onlooker_profiles_in_progress") == 1)
        busy = server.get("/debug/pprof/profile?seconds=1")
        assert busy.status == 503
        assert busy.headers == {**ERROR, "Retry-After": "1"}
        first.close()
        wait_until(lambda: server.get("/debug/pprof/profile?seconds=1").status == 200)
