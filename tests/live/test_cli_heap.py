"""`onlooker heap`: who holds the memory of a program that holds it in known ways."""

import re
from pathlib import Path

from tests.commands import go_pprof, onlooker
from tests.conftest import StartTarget
from tests.interpreters import Interpreter

PROGRAM = Path("holds.py")
SESSIONS, BLOB = 500, 2000

#: Steps to the objects that hold most, and what they come to at least: blobs with their heads.
HELD = {
    "module __main__ > REGISTRY: __main__.Registry > .by_id: dict > {...}: __main__.Session"
    " > .data: bytes": SESSIONS * (BLOB + 33),
    "module __main__ > CHAIN: __main__.Node > .following: __main__.Node > .load: bytearray": 999
    * 170,
    "thread worker > work > local buffers: list > [...]: bytes": 100 * (BLOB + 33),
    "module __main__ > CONFIG: dict > ['limits']: list > [...]: float": 3000 * 32,
}


def test_who_holds_what(
    interpreter: Interpreter, start_target: StartTarget, tmp_path: Path
) -> None:
    target = start_target(interpreter, PROGRAM)
    target.read_json()
    path = tmp_path / "heap.pb.gz"
    done = onlooker("heap", "--pid", target.pid, "-o", path, "--top", 200, cwd=tmp_path).ok()
    rows = {
        row[1]: row[0]
        for line in done.stderr.splitlines()
        if (row := line.split(None, 3)[::3]) and len(row) == 2
    }
    for steps, least in HELD.items():
        # A bytearray of 3.15 has a bytes object, which holds nearly all of it.
        found = max(in_bytes(size) for path, size in rows.items() if path.startswith(steps))
        assert least <= found < 1.25 * least + 5000, (steps, found)
    # A coroutine's frame is an object of its own until 3.10.
    tasks = [path for path in rows if re.match(r"task job: .*: coroutine > .*local blob: ", path)]
    assert 20 * BLOB <= max(in_bytes(rows[path]) for path in tasks) < 20 * BLOB + 10_000
    text = go_pprof("-top", "-cum", "-nodecount=100000", "-unit=B", path, cwd=tmp_path)
    for name in ("module __main__", "REGISTRY: __main__.Registry", "thread worker"):
        assert re.search(rf" {re.escape(name)}$", text, re.MULTILINE), name
    # The sum of all samples is what the first row of the summary says.
    (total,) = re.findall(r" of (\d+)B total", text)
    (objects,) = re.findall(r"source: objects, by path: \d+ objects with (\d+) bytes", text)
    assert total == objects


def in_bytes(text: str) -> float:
    number, unit = re.fullmatch(r"([\d.]+)([kM]?B)", text).groups()  # type: ignore[union-attr]
    return float(number) * {"B": 1, "kB": 1 << 10, "MB": 1 << 20}[unit]


def test_rows_explain_resident_memory(
    any_interpreter: Interpreter, start_target: StartTarget, tmp_path: Path
) -> None:
    target = start_target(any_interpreter, PROGRAM)
    target.read_json()
    arguments = ("heap", "--pid", target.pid, "--json", "-o", tmp_path / "heap.pb.gz")
    told = onlooker(*arguments).ok().json
    status = Path(f"/proc/{target.pid}/status").read_text()
    (resident,) = re.findall(r"VmRSS:\s+(\d+) kB", status)
    rows = told["resident"]
    assert abs(sum(rows.values()) - int(resident) * 1024) < 0.02 * int(resident) * 1024
    # What nobody can name is little: all but native memory is known for what it is.
    assert 0 <= rows["native memory"] < 0.05 * sum(rows.values())
    assert told["freeze"] == "snapshot"
    assert 0 < told["pause_seconds"] < 10
    by_type = {row["type"]: row for row in told["types"]}
    assert by_type["__main__.Session"]["objects"] == SESSIONS
    assert by_type["__main__.Node"]["objects"] == 1000


def test_who_and_object(interpreter: Interpreter, start_target: StartTarget) -> None:
    target = start_target(interpreter, PROGRAM)
    said = target.read_json()
    session = onlooker("heap", "--pid", target.pid, "--who", "Session", "--json").ok().json
    assert (session["type"], session["objects"]) == ("__main__.Session", SESSIONS)
    ((path, objects, _),) = session["paths"]
    assert objects == SESSIONS
    assert path == [
        "{...}: __main__.Session",
        ".by_id: dict",
        "REGISTRY: __main__.Registry",
        "module __main__",
    ]
    assert len(session["largest"]) == 10
    assert all(each["retained"] >= BLOB + each["size"] for each in session["largest"])
    story = (
        onlooker("heap", "--pid", target.pid, "--object", hex(said["registry"]), "--json").ok().json
    )
    assert story["held"]["type"] == "__main__.Registry"
    assert story["held"]["retained"] > SESSIONS * BLOB
    assert [each["how"] for each in story["referrers"]] == ["['REGISTRY']"]
    assert {".by_id", ".name"} <= {each["how"] for each in story["references"]}
    text = onlooker("heap", "--pid", target.pid, "--object", hex(said["session"])).ok().text
    assert "__main__.Session at" in text
    assert "by_id" in text


def test_questions_without_an_answer(
    any_interpreter: Interpreter, start_target: StartTarget
) -> None:
    target = start_target(any_interpreter, PROGRAM)
    target.read_json()
    done = onlooker("heap", "--pid", target.pid, "--who", "Sesion")
    assert done.exit_code == 2
    assert "__main__.Session" in done.stderr
    done = onlooker("heap", "--pid", target.pid, "--object", "0x10")
    assert done.exit_code == 2
    assert "no object at 0x10" in done.stderr
    done = onlooker("heap", "--pid", target.pid, "--keep", 3)
    assert done.exit_code == 2
    assert "--dir" in done.stderr
    done = onlooker("heap", "--pid", target.pid, "--source", "tracemalloc")
    assert done.exit_code != 0
    assert "PYTHONTRACEMALLOC" in done.stderr


def test_by_type_and_module(
    any_interpreter: Interpreter, start_target: StartTarget, tmp_path: Path
) -> None:
    target = start_target(any_interpreter, PROGRAM)
    target.read_json()
    for by, name in (("type", "__main__.Session"), ("module", "__main__")):
        path = tmp_path / f"{by}.pb.gz"
        onlooker("heap", "--pid", target.pid, "--by", by, "-o", path, "-q").ok()
        text = go_pprof(
            *("-top", "-sample_index=inuse_objects", "-nodecount=100000", "-nodefraction=0"),
            path,
            cwd=tmp_path,
        )
        (count,) = re.findall(rf"^\s*(\d+) .* {re.escape(name)}$", text, re.MULTILINE)
        assert int(count) >= SESSIONS
        assert by == "module" or int(count) == SESSIONS


def test_ways_to_freeze(
    interpreter: Interpreter, start_target: StartTarget, tmp_path: Path
) -> None:
    """A program that only waits looks the same in each way."""
    target = start_target(interpreter, PROGRAM)
    target.read_json()
    found = {}
    for freeze in ("snapshot", "stop", "none"):
        arguments = ("heap", "--pid", target.pid, "--freeze", freeze, "--json")
        told = onlooker(*arguments, "-o", tmp_path / f"{freeze}.pb.gz").ok().json
        assert told["freeze"] == freeze
        assert (told["pause_seconds"] == 0) == (freeze == "none")
        found[freeze] = told["totals"]
    assert found["snapshot"]["objects"] == found["stop"]["objects"] == found["none"]["objects"]
    assert found["snapshot"]["bytes"] == found["stop"]["bytes"] == found["none"]["bytes"]
    assert found["snapshot"]["broken"] == 0
