"""While the collector is at work an object may be on no list: a look at the heap waits for it."""

import time

import pytest
from onlooker.heap import still
from onlooker.runtime.locate import locate

from tests.commands import onlooker
from tests.conftest import StartTarget
from tests.interpreters import Interpreter

#: Waits in the middle of a collection for a line, and says so, and again after it.
COLLECTS = """
    import gc, sys, weakref

    class Node: pass

    def wait(_):
        print("collecting", flush=True)
        sys.stdin.readline()

    node = Node()
    node.itself = node
    watching = weakref.ref(node, wait)
    del node
    gc.collect()
    print("collected", flush=True)
    sys.stdin.readline()
"""


@pytest.mark.parametrize("arguments", [(), ("--who", "Node")])
def test_collecting(
    arguments: tuple[str, ...], interpreter: Interpreter, start_target: StartTarget
) -> None:
    target = start_target(interpreter, COLLECTS)
    assert target.read_line() == "collecting"
    done = onlooker("heap", "--pid", target.pid, *arguments)
    assert done.exit_code == 4
    assert f"process {target.pid} is collecting garbage" in done.stderr
    assert "Try again." in done.stderr


def test_collecting_at_first(
    interpreter: Interpreter, start_target: StartTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = start_target(interpreter, COLLECTS)
    assert target.read_line() == "collecting"
    waits_s: list[float] = []

    def sleep(seconds: float) -> None:
        waits_s.append(seconds)
        if len(waits_s) == 2:
            target.send("")
            assert target.read_line() == "collected"

    runtime = locate(target.pid)
    try:
        monkeypatch.setattr(time, "sleep", sleep)
        with still(runtime, "snapshot") as (_, _, heads):
            assert len(heads) >= 3
    finally:
        runtime.close()
    assert len(waits_s) == 2
