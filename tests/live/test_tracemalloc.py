"""Traces of tracemalloc read from outside are what the target itself says that they are."""

import gzip
import io
import re
from collections import Counter
from pathlib import Path
from typing import Any

import onlooker
import pytest
from onlooker.errors import MemoryFault, NotTracing, UsageError
from onlooker.frozen import frozen
from onlooker.memory import Freeze
from onlooker.observe.traced import traced_sites
from onlooker.outputs import profile_pb2 as pb
from onlooker.runtime import tracemalloc_state
from onlooker.runtime.locate import locate
from onlooker.runtime.tracemalloc import Frames, TracedMemory, read_tracemalloc
from onlooker.runtime.tracemalloc_state import is_tracing

from tests.conftest import StartTarget
from tests.interpreters import Interpreter, Target
from tests.server import TEXT, Server, error, go_pprof_fetch, saved_as

TRACED = Path("traced.py")

#: By domain, size of the blocks and frames: how many blocks.
Traces = Counter[tuple[int, int, Frames]]


def traced(target: Target) -> TracedMemory | None:
    """What is read from a snapshot, and the same from the target itself, since it does nothing."""
    runtime = locate(target.pid)
    try:
        with frozen(target.pid) as held:
            assert held.how == "snapshot"
            found = read_tracemalloc(runtime, held.memory)
        again = read_tracemalloc(runtime, runtime.memory)
    finally:
        runtime.close()
    assert (found and found._replace(traces=[])) == (again and again._replace(traces=[]))
    assert (found and as_read(found)) == (again and as_read(again))
    return found


def told(target: Target) -> Any:
    target.send("")
    return target.read_json()


def as_read(found: TracedMemory) -> Traces:
    traces: Traces = Counter()
    for trace in found.traces:
        traces[trace.domain, trace.size, trace.frames] += trace.blocks
    return traces


def as_told(account: Any) -> Traces:
    return Counter(
        {
            (domain, size, tuple((file, line) for file, line in frames)): count
            for domain, size, frames, count in account["traces"]
        }
    )


def without_looking(traces: Traces, account: Any) -> Traces:
    """Without what the target did to look at its own traces."""
    return Counter(
        {
            (domain, size, frames): count
            for (domain, size, frames), count in traces.items()
            if not (frames[0][0].endswith("traced.py") and frames[0][1] in account["looking"])
        }
    )


def total(traces: Traces) -> int:
    return sum(size * count for (_, size, _), count in traces.items())


@pytest.mark.parametrize("frames", [1, 25])
def test_traces_are_what_the_target_says(
    interpreter: Interpreter, start_target: StartTarget, frames: int
) -> None:
    target = start_target(interpreter, TRACED, str(frames))
    target.read_line()
    found = traced(target)
    account = told(target)
    assert found
    assert found.is_exact
    assert (found.traced_bytes, found.peak_bytes) == (account["traced"], account["peak"])
    assert found.max_frames == frames
    traces = as_read(found)
    assert total(traces) == account["traced"]
    expected = without_looking(as_told(account), account)
    assert without_looking(traces, account) == expected
    assert {domain for domain, _, _ in expected} == {0, 1, 7, 4000000000}
    assert max(len(frames) for _, _, frames in expected) == frames
    assert {"/srv/\u6587.py", "/srv/\U0001f600.py", ""} <= {
        frame[0] for _, _, frames in expected for frame in frames
    }


@pytest.mark.parametrize("mode", ["never", "stopped"])
def test_target_that_does_not_trace(
    interpreter: Interpreter, start_target: StartTarget, mode: str
) -> None:
    target = start_target(interpreter, TRACED, "1", mode)
    target.read_line()
    assert traced(target) is None


def test_traces_that_were_cleared(interpreter: Interpreter, start_target: StartTarget) -> None:
    target = start_target(interpreter, TRACED, "1", "cleared")
    target.read_line()
    found = traced(target)
    account = told(target)
    assert found
    assert (found.is_exact, found.traced_bytes) == (True, account["traced"])
    assert total(as_read(found)) == found.traced_bytes < 1 << 20


#: Holds a million blocks of 10 sizes, of 2 lines.
MILLION = """
    import sys, tracemalloc

    tracemalloc.start(3)
    held = [bytes(1000 + n % 10) for n in range(500_000)]
    more = [bytes(1000 + n % 10) for n in range(500_000)]
    print("ready", flush=True)
    sys.stdin.read()
"""


@pytest.mark.interpreters(until=(3, 11))
@pytest.mark.parametrize("mode", ["traces", "never"])
def test_build_that_exports_no_configuration(
    interpreter: Interpreter,
    start_target: StartTarget,
    monkeypatch: pytest.MonkeyPatch,
    mode: str,
) -> None:
    monkeypatch.setattr(tracemalloc_state, "_CONFIG_SYMBOL", "_Py_not_exported")
    target = start_target(interpreter, TRACED, "2", mode)
    target.read_line()
    runtime = locate(target.pid)
    assert is_tracing(runtime, runtime.memory) == (mode == "traces")
    found = traced(target)
    assert (found is not None and found.is_exact) == (mode == "traces")
    runtime.close()


def test_target_that_ends_before_it_is_asked_for_names(
    any_interpreter: Interpreter, start_target: StartTarget
) -> None:
    target = start_target(any_interpreter, TRACED, "2")
    target.read_line()
    runtime = locate(target.pid)
    found = read_tracemalloc(runtime, runtime.memory)
    assert found
    target.close()
    sites = traced_sites(runtime, found)
    assert sum(site.inuse_bytes for site in sites) == found.traced_bytes
    assert "traced" in {site.stack[0].function.name for site in sites}
    runtime.close()


def test_a_million_traces(any_interpreter: Interpreter, start_target: StartTarget) -> None:
    target = start_target(any_interpreter, MILLION)
    target.read_line()
    found = traced(target)
    assert found
    assert found.is_exact
    lines: Counter[tuple[int, int]] = Counter()
    for trace in found.traces:
        lines[trace.frames[0][1], trace.size] += trace.blocks
    sizes = range(1033, 1043)  # a bytes object has a NUL and 32 bytes more
    for line in (5, 6):
        assert {size: lines[line, size] for size in sizes} == dict.fromkeys(sizes, 50_000)


#: Keeps allocating and freeing: its tables grow, shrink and grow.
MOVING = """
    import tracemalloc

    def grow(held, count):
        for n in range(count):
            held.append(bytes(1000 + n % 10))

    tracemalloc.start(2)
    print("ready", flush=True)
    while True:
        held = []
        grow(held, 30_000)
        del held[::2]
        grow(held, 10_000)
"""
ALLOCATES = ("__main__.grow", 6)


def test_target_that_allocates_all_the_time(
    interpreter: Interpreter, start_target: StartTarget
) -> None:
    """It can't be read while it runs, but from a snapshot; and nothing is ever made up."""
    target = start_target(interpreter, MOVING)
    target.read_line()
    held, seen = set(range(1033, 1043)), set[object]()
    with onlooker.Target(target.pid) as opened:
        for freeze in FREEZES:
            try:
                profile = opened.heap_profile(freeze=freeze)
            except MemoryFault:
                assert freeze == "none"
                continue
            blocks = {
                dict(sample.labels)["bytes"]: sample.values[2]
                for sample in profile.samples
                if (sample.stack[0].function.name, sample.stack[0].line) == ALLOCATES
            }
            seen |= blocks.keys() & held
            # The list that holds them, and the numbers that they are counted with.
            assert all(blocks[size] <= 3 for size in blocks.keys() - held)
    assert seen
    assert target.process.poll() is None


FREEZES: tuple[Freeze, ...] = ("none", "stop", "snapshot", "snapshot")


def test_profile_of_the_target(
    interpreter: Interpreter, start_target: StartTarget, tmp_path: Path
) -> None:
    target = start_target(interpreter, TRACED, "25")
    target.read_line()
    heap, allocs, text = io.BytesIO(), io.BytesIO(), io.BytesIO()
    with onlooker.Target(target.pid) as opened:
        opened.write_heap_profile(heap)
        named = opened.lookup("allocs")
        assert named
        named.write_to(allocs)
        named.write_to(text, debug=1)
        count = named.count()
    account = told(target)
    total = account["traced"]
    messages = [pb.Profile.FromString(gzip.decompress(it.getvalue())) for it in (heap, allocs)]
    for message in messages:
        sums = [sum(sample.value[at] for sample in message.sample) for at in range(4)]
        assert sums[1] == sums[3] == total
        assert sums[0] == sums[2]
        assert (message.period, len(message.sample)) == (1, count)
    (labelled,) = [
        sample
        for sample in messages[0].sample
        if any(messages[0].string_table[label.str] == "7" for label in sample.label)
    ]
    assert list(labelled.value) == [50, 50 << 20, 50, 50 << 20]
    comments = [messages[0].string_table[at] for at in messages[0].comment]
    assert "source: tracemalloc, with at most 25 frames of a stack" in comments
    assert any(re.fullmatch(r"VmRSS = [1-9]\d*", comment) for comment in comments)
    assert any(comment.startswith("read from a snapshot: ") for comment in comments)
    for name, data, shown in (("heap", heap, "inuse_space"), ("allocs", allocs, "alloc_space")):
        (tmp_path / name).write_bytes(data.getvalue())
        top = go_pprof_fetch("-top", "-unit=B", str(tmp_path / name), folder=tmp_path)
        assert f"Type: {shown}\n" in top
        assert f" of {total}B total" in top
        assert "__main__" in top
    headline, _, _ = text.getvalue().partition(b"\n")
    heading = rf"heap profile: (\d+): {total} \[\1: {total + 1}\] @ heap/2"
    assert re.fullmatch(heading, headline.decode())


#: Of tests/programs/traced.py, by the size of what they return.
FUNCTIONS = {
    2001: "Kinds.Inner.method",
    2002: "Kinds.of_class",
    2003: "Kinds.static",
    2004: "Kinds.value",
    2005: "Kinds.cached",
    2006: "Kinds.context",
    2007: "closure.<locals>.inner",
    2008: "generator",
    2009: "coroutine",
    2010: "<lambda>",
}
CALLER = "each_kind"


def test_functions_are_named(interpreter: Interpreter, start_target: StartTarget) -> None:
    target = start_target(interpreter, TRACED, "25")
    target.read_line()
    with onlooker.Target(target.pid) as opened:
        profile = opened.heap_profile()
    found = {dict(sample.labels)["bytes"]: sample.stack for sample in profile.samples}
    for length, qualname in FUNCTIONS.items():
        stack = found[33 + length]  # a bytes object has a NUL and 32 bytes more
        # Before 3.11, code objects only have the last part.
        name = qualname if interpreter.version >= (3, 11) else qualname.rpartition(".")[2]
        function, line = stack[0]
        assert (function.name, function.system_name) == (f"__main__.{name}", name)
        assert 0 <= line - function.start_line <= 3
        callers = [location.function.name for location in stack]
        assert f"__main__.{CALLER}" in callers
        # What runs when the module does is of no function.
        assert callers[-1] == "__main__"


IN_THREAD = """
    import sys, threading, tracemalloc

    class Worker(threading.Thread):
        def run(self):
            self.held = bytes(3001)

    def work():
        held.append(bytes(3002))

    held = []
    tracemalloc.start(10)
    threads = [Worker(), threading.Thread(target=work)]
    for thread in threads:
        thread.start()
        thread.join()
    print("ready", flush=True)
    sys.stdin.read()
"""


def test_frames_that_start_threads_are_left_out(
    interpreter: Interpreter, start_target: StartTarget
) -> None:
    target = start_target(interpreter, IN_THREAD)
    target.read_line()
    with onlooker.Target(target.pid) as opened:
        stacks = [
            {dict(sample.labels)["bytes"]: sample.stack for sample in profile.samples}
            for profile in (opened.heap_profile(), opened.heap_profile(all_frames=True))
        ]
    for length, name in ((3001, "run"), (3002, "work")):
        shown, whole = ([at.function.name for at in found[33 + length]] for found in stacks)
        assert [entry.rpartition(".")[2] for entry in shown] == [name]
        assert whole[-1].endswith("._bootstrap")
        assert whole[: len(shown)] == shown


def test_api_of_a_target_that_does_not_trace(
    any_interpreter: Interpreter, start_target: StartTarget
) -> None:
    target = start_target(any_interpreter, TRACED, "1", "never")
    target.read_line()
    with onlooker.Target(target.pid) as opened:
        with pytest.raises(NotTracing, match=f"process {target.pid} doesn't trace") as caught:
            opened.heap_profile(source="tracemalloc")
        assert "PYTHONTRACEMALLOC=1" in caught.value.hint
        with pytest.raises(UsageError, match="'cpu' is no profile of memory"):
            opened.heap_profile("cpu")
        with pytest.raises(UsageError, match="heap can't be recorded") as wrong:
            opened.record(["cpu", "heap"], 1)
        assert "onlooker heap" in wrong.value.hint


def test_memory_over_http(
    any_interpreter: Interpreter, start_target: StartTarget, tmp_path: Path
) -> None:
    target = start_target(any_interpreter, TRACED, "2")
    target.read_line()
    with Server("--pid", target.pid) as server:
        for name in ("heap", "allocs"):
            path = f"/debug/pprof/{name}"
            answer = server.get(path)
            assert (answer.status, answer.headers) == (200, saved_as(name))
            text = server.get(f"{path}?debug=1")
            assert (text.status, text.headers) == (200, TEXT)
            assert text.text.startswith("heap profile: ")
            assert re.search(r"^# VmHWM = \d+$", text.text, re.MULTILINE)
            delta = server.get(f"{path}?seconds=1")
            assert (delta.status, delta.headers) == (200, saved_as(f"{name}-delta"))
            changed = pb.Profile.FromString(gzip.decompress(delta.body))
            assert (len(changed.sample), changed.duration_nanos > 10**9) == (0, True)
            both = server.get(f"{path}?seconds=1&debug=1")
            assert both == error(400, "seconds and debug params are incompatible")
        refused = "gc=1 is not supported: a collection would run code in the process"
        assert server.get("/debug/pprof/heap?gc=1") == error(400, refused)
        index = server.get("/debug/pprof/").text
        assert "<a href='heap?debug=1'>heap</a>" in index
        assert "<a href='allocs?debug=1'>allocs</a>" in index
        url = f"{server.url}/debug/pprof/heap"
        assert "Type: inuse_space" in go_pprof_fetch("-top", url, folder=tmp_path)
    told(target)
