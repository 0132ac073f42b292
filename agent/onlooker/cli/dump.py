"""``onlooker dump``: the stack of every thread, asyncio task and greenlet, now."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Final

from onlooker.cli import limits, terminal
from onlooker.cli.arguments import Arguments
from onlooker.cli.choice import open_target
from onlooker.profile.bootstrap import without_bootstrap
from onlooker.profile.model import Labels, Location
from onlooker.profile.printable import printable, quoted
from onlooker.profile.rows import Thread
from onlooker.profile.snapshot import FrameVariables
from onlooker.target import GreenletStack, Snapshot, Target, TaskStack, ThreadStack

# Of very many tasks most wait in the same few places.
_STACKS_KEPT: Final = 1024

_MOVED: Final = "    (its variables moved each time that they were read)"


def run(arguments: Arguments) -> int:
    """Print the stacks, as text or JSON."""
    with open_target(arguments) as target:
        limits.raise_open_files()
        snapshot = target.snapshot(
            pause=arguments.pause,
            depth=arguments.depth,
            context_vars=arguments.context_vars,
            variables=arguments.locals,
        )
        if not arguments.all_frames:
            snapshot = _cut(snapshot)
        for caveat in snapshot.caveats:
            terminal.say(f"note: {caveat}")
        as_said = as_json if arguments.json else as_text
        terminal.put(as_said(target, snapshot, arguments.locals))
    return 0


def _cut(snapshot: Snapshot) -> Snapshot:
    """Return the same without the frames that only start other code."""
    return snapshot._replace(
        threads=tuple(
            thread._replace(stack=tuple(without_bootstrap(thread.stack)))
            for thread in snapshot.threads
        ),
    )


def as_text(target: Target, snapshot: Snapshot, variables: bool = False) -> str:
    """Return what people read, the most recent call of each thread and task first.

    ``variables``: say of which threads there are none.
    """
    return "".join(f"{line}\n" for line in _lines(target, snapshot, variables))


def _lines(target: Target, snapshot: Snapshot, variables: bool) -> Iterator[str]:
    identity = target.runtime.identity
    yield (
        f"process {identity.pid}: Python {target.version} ({printable(identity.executable)}):"
        f" {printable(shlex.join(identity.argv))}"
    )
    several = len({thread.thread.interpreter for thread in snapshot.threads}) > 1
    for thread in snapshot.threads:
        yield ""
        yield ", ".join(_about_thread(thread, several))
        if not thread.read:
            yield "    (its stack could not be read: it kept moving)"
        if variables and thread.read and thread.variables is None:
            yield _MOVED
        yield from _stack(thread)
    for task in snapshot.tasks:
        yield ""
        yield ", ".join(_about_task(task))
        if variables and task.stack and task.variables is None:
            yield _MOVED
        yield from _stack(task) if task.variables else _indented(task.stack)
    for greenlet in snapshot.greenlets:
        yield ""
        yield ", ".join(_about_greenlet(greenlet))
        yield from _stack(greenlet)


def _stack(found: ThreadStack | TaskStack | GreenletStack) -> Iterator[str]:
    variables = found.variables or ()
    for index, location in enumerate(found.stack):
        yield f"    {_frame(location)}"
        for name, value in variables[index] if index < len(variables) else ():
            yield f"        {printable(name)} = {printable(value)}"


def _about_thread(stack: ThreadStack, several: bool) -> Iterator[str]:
    yield _thread(stack.thread)
    if several:
        yield f"interpreter {stack.thread.interpreter}"
    if stack.read:
        yield "on CPU" if stack.on_cpu else "waiting"
    if stack.holds_gil:
        yield "holds the GIL"
    if stack.task:
        yield f"runs {_quoted('task', stack.task)}"
    yield from _labels(stack.labels)


def _about_task(stack: TaskStack) -> Iterator[str]:
    yield _quoted("task", stack.name)
    yield f"waiting for {printable(stack.waits_for)}" if stack.state == "waiting" else stack.state
    if stack.awaited_by:
        yield "awaited by " + ", ".join(_quoted("", name) for name in stack.awaited_by)
    if stack.thread.thread_id:
        yield f"of {_thread(stack.thread)}"
    yield from _labels(stack.labels)


def _labels(labels: Labels) -> Iterator[str]:
    for key, value in labels:
        yield f"{printable(key)}={printable(str(value))}"


def _about_greenlet(stack: GreenletStack) -> Iterator[str]:
    yield f"greenlet {stack.greenlet_id:#x} ({printable(stack.kind)})"
    yield stack.state
    if stack.thread.thread_id:
        yield f"of {_thread(stack.thread)}"
    yield from _labels(stack.labels)


@lru_cache
def _thread(thread: Thread) -> str:
    number = f"thread {thread.thread_id}"
    return _quoted(number, thread.name) if thread.name else number


def _quoted(what: str, name: str) -> str:
    return f"{what} {quoted(name)}".lstrip()


@lru_cache(_STACKS_KEPT)
def _indented(stack: tuple[Location, ...]) -> tuple[str, ...]:
    return tuple(f"    {_frame(location)}" for location in stack)


def _frame(location: Location) -> str:
    function = location.function
    if not function.filename:
        return printable(function.name)
    return f"{printable(function.name)} ({printable(function.filename)}:{location.line})"


def as_json(target: Target, snapshot: Snapshot, variables: bool = False) -> str:
    """Return the same as one JSON object; with ``variables`` frames have ``locals``, null if they
    moved each time that they were read.
    """
    identity = target.runtime.identity
    dump = {
        "pid": identity.pid,
        "program": identity.program,
        "python": target.version,
        "executable": identity.executable,
        "command": list(identity.argv),
        "threads": [
            {
                "thread_id": stack.thread.thread_id,
                "name": stack.thread.name,
                "interpreter": stack.thread.interpreter,
                "read": stack.read,
                "on_cpu": stack.on_cpu,
                "holds_gil": stack.holds_gil,
                "task": stack.task,
                "labels": dict(stack.labels),
                "stack": _frames(stack.stack, stack.variables, variables),
            }
            for stack in snapshot.threads
        ],
        "tasks": [
            {
                "task_id": stack.task_id,
                "name": stack.name,
                "interpreter": stack.thread.interpreter,
                "thread_id": stack.thread.thread_id,
                "state": stack.state,
                "waits_for": stack.waits_for,
                "awaited_by": list(stack.awaited_by),
                "labels": dict(stack.labels),
                "stack": _frames(stack.stack, stack.variables, variables),
            }
            for stack in snapshot.tasks
        ],
        "greenlets": [
            {
                "greenlet_id": stack.greenlet_id,
                "kind": stack.kind,
                "state": stack.state,
                "interpreter": stack.thread.interpreter,
                "thread_id": stack.thread.thread_id,
                "labels": dict(stack.labels),
                "stack": _frames(stack.stack, stack.variables, variables),
            }
            for stack in snapshot.greenlets
        ],
        "caveats": list(snapshot.caveats),
    }
    return json.dumps(dump) + "\n"


def _frames(
    stack: tuple[Location, ...],
    variables: tuple[FrameVariables, ...] | None = None,
    with_locals: bool = False,
) -> list[dict[str, Any]]:
    frames: list[dict[str, Any]] = [
        {
            "function": location.function.name,
            "file": location.function.filename,
            "line": location.line,
        }
        for location in stack
    ]
    if with_locals:
        for index, frame in enumerate(frames):
            known = variables is not None and index < len(variables)
            frame["locals"] = dict(variables[index]) if variables and known else None
    return frames
