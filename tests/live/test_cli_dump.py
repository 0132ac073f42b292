"""`onlooker dump`: every thread's stack as text and as JSON."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.commands import ONLOOKER, onlooker
from tests.conftest import StartTarget
from tests.interpreters import Interpreter, target_environment

BUSY = Path("busy.py")

# Says where each of its threads is, and stays there.
TELLS = """
import json, sys, threading
ready = threading.Barrier(3)
stop = threading.Event()
told = {}
def tell():
    frame = sys._getframe(1)
    told[threading.get_native_id()] = frame.f_code.co_name
    ready.wait()
def inner():
    tell()
    stop.wait()
def outer():
    inner()
for name in ("first", "zwei \\u00e9\\u20ac"):
    threading.Thread(target=outer, name=name, daemon=True).start()
ready.wait()
print(json.dumps(told), flush=True)
sys.stdin.read()
"""


TWO_INTERPRETERS = """
import sys, textwrap, threading
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters
source = '''
import os
def in_second():
    print("ready", flush=True)
    os.read(0, 1)
in_second()
'''
def in_first():
    threading.Event().wait()
second = interpreters.create()
threading.Thread(target=in_first, daemon=True).start()
interpreters.run_string(second, source)
"""


def python_frames(thread: Any) -> list[str]:
    return [frame["function"].rpartition(".")[2] for frame in thread["stack"]]


def test_stacks_are_what_the_target_says(
    interpreter: Interpreter, start_target: StartTarget
) -> None:
    target = start_target(interpreter, TELLS)
    told = {int(tid): name for tid, name in target.read_json().items()}
    dump = onlooker("dump", "--pid", target.pid, "--json").ok().json
    assert dump["pid"] == target.pid
    assert dump["python"].split("rc")[0] == ".".join(map(str, interpreter.version))
    by_tid = {thread["thread_id"]: thread for thread in dump["threads"]}
    assert set(by_tid) >= set(told)
    for tid in told:
        thread = by_tid[tid]
        assert "inner outer" in " ".join(python_frames(thread))
        assert thread["name"] in {"first", "zwei é€"}
        assert not thread["on_cpu"]
        lines = [frame["line"] for frame in thread["stack"] if frame["file"].endswith(".py")]
        assert {12, 14} <= set(lines)  # stop.wait() and inner()
    (main,) = [thread for thread in dump["threads"] if thread["name"] == "MainThread"]
    assert dump["threads"][0] == main
    assert python_frames(main)[-1] == "<module>"


def test_text(any_interpreter: Interpreter, start_target: StartTarget) -> None:
    target = start_target(any_interpreter, BUSY)
    target.read_line()
    done = onlooker("dump", "--pid", target.pid).ok()
    assert done.stderr == ""
    heading, *threads = done.text.split("\n\n")
    version = ".".join(map(str, any_interpreter.version))
    assert heading.startswith(f"process {target.pid}: Python {version} (")
    by_name = {thread.split('"')[1]: thread.splitlines() for thread in threads}
    assert set(by_name) == {"MainThread", "left", "right", "waiter"}
    path = Path(target.argv[-1])
    source = ["", *path.read_text().splitlines()]
    reads, waits = (source.index(line) for line in ("    sys.stdin.read()", "    event.wait()"))
    assert by_name["MainThread"][-1] == f"    __main__.<module> ({path}:{reads})"
    assert by_name["waiter"][-1] == f"    __main__.wait_here ({path}:{waits})"
    assert by_name["waiter"][0].endswith('"waiter", waiting')
    assert by_name["left"][-1].startswith(f"    __main__.spin_left ({path}:")
    with_all = onlooker("dump", "--pid", target.pid, "--all-frames").ok().text
    assert "    threading.Thread._bootstrap (" in with_all
    assert "_bootstrap" not in done.text


def test_several_interpreters_are_told_apart(
    any_interpreter: Interpreter, start_target: StartTarget
) -> None:
    target = start_target(any_interpreter, TWO_INTERPRETERS)
    assert target.read_line() == "ready"
    dump = onlooker("dump", "--pid", target.pid, "--json").ok().json
    found = {thread["interpreter"]: python_frames(thread) for thread in dump["threads"]}
    assert found[0][-1] == "in_first"
    # One thread is in both interpreters: it counts as the one that it is running.
    assert found[1] == ["in_second", "<module>", "<module>"]
    text = onlooker("dump", "--pid", target.pid).ok().text
    assert ", interpreter 0, waiting" in text
    assert ", interpreter 1, waiting" in text


def test_reader_that_has_read_enough(
    any_interpreter: Interpreter, start_target: StartTarget
) -> None:
    target = start_target(
        any_interpreter,
        """
        import sys
        sys.setrecursionlimit(100_000)
        def down(left):
            if left:
                return down(left - 1)
            print("deep", flush=True)
            sys.stdin.read()
        down(5000)
        """,
    )
    target.read_line()
    with subprocess.Popen(
        [*ONLOOKER, "dump", "--pid", str(target.pid), "--depth", "60000"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=target_environment({}),
    ) as dump:
        assert dump.stdout and dump.stderr
        assert dump.stdout.readline().startswith(b"process ")
        dump.stdout.close()  # there is more than a pipe holds
        assert dump.stderr.read() == b""
        assert dump.wait() == 0


@pytest.mark.parametrize("pause", ["auto", "never", "always"])
def test_every_way_to_pause(
    any_interpreter: Interpreter, start_target: StartTarget, pause: str
) -> None:
    target = start_target(any_interpreter, BUSY)
    target.read_line()
    done = onlooker("dump", "--pid", target.pid, "--pause", pause).ok()
    assert "spin_left" in done.text
    assert target.process.poll() is None


def test_json_is_one_line_of_ascii(any_interpreter: Interpreter, start_target: StartTarget) -> None:
    target = start_target(any_interpreter, TELLS)
    target.read_line()
    done = onlooker("dump", "--pid", target.pid, "--json", env={"LC_ALL": "C"}).ok()
    assert done.stdout.isascii()
    assert done.stdout.count(b"\n") == 1
    assert json.loads(done.stdout)["threads"]
    text = onlooker("dump", "--pid", target.pid, env={"PYTHONIOENCODING": "ascii"}).ok().text
    assert '"zwei \\xe9\\u20ac"' in text
