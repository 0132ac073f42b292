"""``onlooker dump``: the stack of every thread, now."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import replace

from onlooker.cli import limits, terminal
from onlooker.cli.arguments import Arguments
from onlooker.cli.choice import open_target
from onlooker.profile.bootstrap import without_bootstrap
from onlooker.profile.model import Location
from onlooker.profile.printable import printable
from onlooker.target import Target, ThreadStack


def run(arguments: Arguments) -> int:
    """Print the stacks, as text or JSON."""
    with open_target(arguments) as target:
        limits.raise_open_files()
        stacks = target.stacks(pause=arguments.pause, depth=arguments.depth)
        if not arguments.all_frames:
            stacks = [
                replace(stack, stack=tuple(without_bootstrap(stack.stack))) for stack in stacks
            ]
        terminal.put(as_json(target, stacks) if arguments.json else as_text(target, stacks))
    return 0


def as_text(target: Target, stacks: Sequence[ThreadStack]) -> str:
    """Return what people read, the most recent call of each thread first."""
    return "".join(f"{line}\n" for line in _lines(target, stacks))


def _lines(target: Target, stacks: Sequence[ThreadStack]) -> Iterator[str]:
    identity = target.runtime.identity
    yield (
        f"process {identity.pid}: Python {target.version} ({printable(identity.executable)}):"
        f" {printable(shlex.join(identity.argv))}"
    )
    several = len({stack.thread.interpreter for stack in stacks}) > 1
    for stack in stacks:
        thread = stack.thread
        what = [f"thread {thread.thread_id}"]
        if thread.name:
            what[0] += f' "{printable(thread.name)}"'
        if several:
            what.append(f"interpreter {thread.interpreter}")
        if stack.read:
            what.append("on CPU" if stack.on_cpu else "waiting")
        if stack.holds_gil:
            what.append("holds the GIL")
        yield ""
        yield ", ".join(what)
        if not stack.read:
            yield "    (its stack could not be read: it kept moving)"
        yield from (f"    {_frame(location)}" for location in stack.stack)


def _frame(location: Location) -> str:
    function = location.function
    if not function.filename:
        return printable(function.name)
    return f"{printable(function.name)} ({printable(function.filename)}:{location.line})"


def as_json(target: Target, stacks: Sequence[ThreadStack]) -> str:
    """Return the same as one JSON object."""
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
                "stack": [
                    {
                        "function": location.function.name,
                        "file": location.function.filename,
                        "line": location.line,
                    }
                    for location in stack.stack
                ],
            }
            for stack in stacks
        ],
    }
    return json.dumps(dump) + "\n"
