"""Suspended greenlets against what the program knows of them, and greenlet itself."""

import shutil
import subprocess
from pathlib import Path

from onlooker.target import Snapshot, Target

from tests.commands import go_pprof, onlooker
from tests.conftest import StartTarget
from tests.interpreters import Interpreter
from tests.interpreters import Target as Process
from tests.packages import packages
from tests.stacks import short_name

GREENLETS = Path("greenlets.py")


def start(
    interpreter: Interpreter, start_target: StartTarget, folder: Path, *arguments: str
) -> Process:
    for name in ("libstdc++.so.6", "libgcc_s.so.1"):  # which minimal systems lack
        found = subprocess.check_output(["gcc", f"-print-file-name={name}"], text=True)
        shutil.copyfile(found.strip(), folder / name)
    package = interpreter.path_in_target(packages(interpreter, ("greenlet",)))
    env = {"LD_LIBRARY_PATH": interpreter.path_in_target(folder)} if interpreter.root else {}
    return start_target(interpreter, GREENLETS, package, *arguments, env=env)


def names(snapshot: Snapshot) -> dict[int, list[str]]:
    return {
        greenlet.greenlet_id: [short_name(location) for location in greenlet.stack]
        for greenlet in snapshot.greenlets
    }


def test_every_suspended_greenlet_is_told(
    interpreter: Interpreter, start_target: StartTarget, tmp_path: Path
) -> None:
    target = start(interpreter, start_target, tmp_path)
    told = target.read_json()
    with Target(target.pid) as opened:
        snapshot = opened.snapshot(context_vars=["who"])
        target.send("tell")
        by_greenlet = target.read_json()
        after = opened.snapshot()
        with_variables = opened.snapshot(variables=True)
    assert snapshot.caveats == ()
    for greenlet in with_variables.greenlets:
        if greenlet.state == "created":
            continue
        variables = [dict(of_frame) for of_frame in greenlet.variables or ()]
        left = [int(of_frame["left"]) for of_frame in variables if "left" in of_frame]
        assert left == list(range(len(left)))
        assert {"x": "1"} in variables or left
    assert names(snapshot) == {address: stack for address, *_, stack in told}
    created = [one for one in told if not one[2]]
    assert names(after) == {**dict(by_greenlet), **{one[0]: one[4] for one in created}}
    assert {one.greenlet_id for one in snapshot.greenlets if one.state == "created"} == {
        one[0] for one in created
    }
    kinds = {greenlet.greenlet_id: greenlet for greenlet in snapshot.greenlets}
    for address, kind, thread, who, _ in told:
        assert kinds[address].kind.rpartition(".")[2] == kind
        assert dict(kinds[address].labels) == ({"who": who} if who else {})
        assert kinds[address].thread.name == thread
    assert {greenlet.kind for greenlet in snapshot.greenlets} == {
        "__main__.Own",
        "greenlet.greenlet",
    }


def test_greenlets_that_move(
    interpreter: Interpreter, start_target: StartTarget, tmp_path: Path
) -> None:
    target = start(interpreter, start_target, tmp_path, "moving")
    told = {address: stack for address, *_, stack in target.read_json()}
    with Target(target.pid) as opened:
        found = names(opened.snapshot())
    seen = {address: stack for address, stack in found.items() if address in told}
    assert seen == {address: told[address] for address in seen}
    assert len(seen) > len(told) / 2
    assert len(found) <= len(seen) + 1  # the main greenlet
    assert len([one for one in told if one in seen and len(told[one]) < 2]) == 3


def test_dump_and_goroutine_have_them(
    any_interpreter: Interpreter, start_target: StartTarget, tmp_path: Path
) -> None:
    target = start(any_interpreter, start_target, tmp_path)
    told = target.read_json()
    dump = onlooker("dump", "--pid", target.pid, "--json").ok().json
    assert {greenlet["greenlet_id"] for greenlet in dump["greenlets"]} == {one[0] for one in told}
    text = onlooker("dump", "--pid", target.pid).ok().text
    assert text.count("\ngreenlet 0x") == len(told)
    assert f"\ngreenlet {told[0][0]:#x} (__main__.Own), waiting, of thread " in text
    labelled = onlooker("dump", "--pid", target.pid, "--label-context-var", "who").ok().text
    assert labelled.count(", who=called ") == len([one for one in told if one[3]])
    assert labelled.count(", who=main\n") == 1
    arguments = ("--profile", "goroutine", "-o", "it.pb.gz")
    onlooker("attach", "--pid", target.pid, *arguments, cwd=tmp_path).ok()
    tags = go_pprof("-tags", "it.pb.gz", cwd=tmp_path)
    with_stack = [one for one in told if one[4]]
    assert f" {len(with_stack) / 2:.1f} " in tags.replace("(", " (")
    assert "__main__.Own" in tags


def test_gevent(any_interpreter: Interpreter, start_target: StartTarget) -> None:
    target = start_target(
        any_interpreter,
        """
        import sys
        sys.path.insert(0, sys.argv[1])
        import contextvars
        import gevent
        who = contextvars.ContextVar("who")
        def nap(number):
            who.set(number)
            gevent.sleep(1000)
        who.set("main")
        jobs = [gevent.spawn(nap, number) for number in range(5)]
        gevent.sleep(0)
        print("ready", flush=True)
        gevent.joinall(jobs)
        """,
        str(packages(any_interpreter, ("gevent",))),
    )
    assert target.read_line() == "ready"
    with Target(target.pid) as opened:
        found = opened.snapshot(context_vars=["who"]).greenlets
        profile = opened.record(["goroutine"], context_vars=["who"]).profile("goroutine")
    values = [str(dict(sample.labels).get("who")) for sample in profile.samples]
    assert sorted(values) == ["0", "1", "2", "3", "4", "None", "main"]  # None: the hub's
    kinds = [greenlet.kind.rpartition(".")[2] for greenlet in found]
    # The main one is suspended, for the hub runs: that is what the thread does.
    assert sorted(kinds) == ["Greenlet"] * 5 + ["greenlet"]
    for greenlet in found:
        stack = [short_name(location) for location in greenlet.stack]
        assert ("nap" in stack) == (greenlet.kind.endswith(".Greenlet"))
        assert greenlet.thread.name == "MainThread"


def test_what_only_looks_like_greenlets(
    any_interpreter: Interpreter, start_target: StartTarget
) -> None:
    target = start_target(
        any_interpreter,
        """
        import sys, types
        module = sys.modules["greenlet"] = types.ModuleType("greenlet")
        class greenlet:
            __slots__ = ("weak", "dict", "pimpl")
        module.greenlet = greenlet
        module.__version__ = "1.1.3"
        all = [greenlet() for _ in range(9)]
        for one in all:
            one.pimpl = one
        print("ready", flush=True)
        sys.stdin.readline()
        class greenlet:
            pass
        module.greenlet = greenlet
        print("ready", flush=True)
        sys.stdin.read()
        """,
    )
    target.read_line()
    with Target(target.pid) as opened:
        snapshot = opened.snapshot()
        assert (snapshot.greenlets, snapshot.caveats) == ((), ())
        target.send("other")
        target.read_line()
        snapshot = opened.snapshot()
        assert snapshot.greenlets == ()
        assert snapshot.caveats == ("greenlet 1.1.3 is older than 2.0: greenlets are left out",)
