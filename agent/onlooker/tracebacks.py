"""Stacks as Python's tracebacks show them: the text of goroutine's ``debug=2``.

As in Go's text and in faulthandler's, the most recent call comes first: it is what tells one
waiting thread from another. Nothing is said that was not seen. So, unlike in Go's text, there is no
saying for how long a thread has been waiting.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from onlooker.profile.bootstrap import without_bootstrap
from onlooker.profile.model import Labels, Location
from onlooker.profile.printable import printable, quoted
from onlooker.profile.rows import Thread
from onlooker.profile.snapshot import GreenletStack, Snapshot, TaskStack, ThreadStack

# Go's numbers: so many of the innermost frames, and as many of the outermost.
FRAMES_SHOWN: Final = 50


def as_text(about: str, snapshot: Snapshot) -> str:
    """Return all stacks of the snapshot, under a line that says what they are of.

    As in the goroutine profile, a running task is not apart from its thread.
    """
    several = len({found.thread.interpreter for found in snapshot.threads}) > 1
    blocks = [
        f"{printable(about)}; the most recent call comes first",
        *(_thread(found, several) for found in snapshot.threads),
        *(_task(found) for found in snapshot.tasks if found.state != "running"),
        *(_greenlet(found) for found in snapshot.greenlets),
    ]
    return "\n\n".join(blocks) + "\n"


def _thread(found: ThreadStack, several: bool) -> str:
    facts = [("running" if found.on_cpu else "waiting") if found.read else "unknown"]
    if found.holds_gil:
        facts.append("holds the GIL")
    if found.task:
        facts.append(f"task {quoted(found.task)}")
    if several:
        facts.append(f"interpreter {found.thread.interpreter}")
    missing = "" if found.read else "its stack could not be read: it kept moving"
    return _block(_who(found.thread), facts, found.labels, found.stack, missing)


def _task(found: TaskStack) -> str:
    facts = [found.state + (f" for {printable(found.waits_for)}" if found.waits_for else "")]
    if found.awaited_by:
        facts.append(f"awaited by {', '.join(map(quoted, found.awaited_by))}")
    name = f"task {quoted(found.name)}"
    if found.thread.thread_id:
        name += f" of {_who(found.thread)}"
    return _block(name, facts, found.labels, found.stack, _missing(found.stack))


def _greenlet(found: GreenletStack) -> str:
    name = f"greenlet {found.greenlet_id:#x} ({printable(found.kind)}) of {_who(found.thread)}"
    return _block(name, [found.state], found.labels, found.stack, _missing(found.stack))


def _missing(stack: Sequence[Location]) -> str:
    return "" if stack else "no Python function"


def _block(
    name: str, facts: Sequence[str], labels: Labels, stack: Sequence[Location], missing: str
) -> str:
    pairs = ", ".join(f"{quoted(key)}: {quoted(str(value))}" for key, value in labels)
    lines = [f"{name} [{', '.join(facts)}]{f' {{{pairs}}}' if pairs else ''}:", *_frames(stack)]
    if missing:
        lines.append(f"  ({missing})")
    return "\n".join(lines)


def _who(thread: Thread) -> str:
    return f"thread {thread.thread_id}" + (f" {quoted(thread.name)}" if thread.name else "")


def _frames(stack: Sequence[Location]) -> Iterator[str]:
    stack = without_bootstrap(stack)
    elided = len(stack) - 2 * FRAMES_SHOWN
    if elided <= 0:
        yield from map(_frame, stack)
        return
    yield from map(_frame, stack[:FRAMES_SHOWN])
    yield f"  ...{elided} frames elided..."
    yield from map(_frame, stack[-FRAMES_SHOWN:])


def _frame(location: Location) -> str:
    function, line = location
    if not function.filename:
        return f"  {printable(function.name)}"
    name, file = printable(function.system_name), printable(function.filename)
    return f'  File "{file}", line {line}, in {name}'
