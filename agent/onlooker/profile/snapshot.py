"""What a process is doing at one moment: its threads, tasks and greenlets. Pure data."""

from __future__ import annotations

from typing import Literal, NamedTuple

from onlooker.profile.model import Labels, Location, Mapping
from onlooker.profile.rows import Thread

FrameVariables = tuple[tuple[str, str], ...]
"""The variables of one frame: names, and values as repr shows them."""

TaskState = Literal["running", "waiting", "runnable", "created"]


class ThreadStack(NamedTuple):
    """What one thread is doing: its stack, leaf first, and facts.

    One that could not be read without doubt (``read`` is false) has neither. ``task`` is the name
    of the asyncio task that it runs; empty if it runs none. ``labels`` are the context variables
    that were asked for. ``variables`` are those of the stack's frames, in the same order, true at
    the same moment; None if they were not asked for, or moved each time that they were read.
    """

    thread: Thread
    stack: tuple[Location, ...]
    on_cpu: bool
    holds_gil: bool
    read: bool = True
    task: str = ""
    labels: Labels = ()
    variables: tuple[FrameVariables, ...] | None = None


class TaskStack(NamedTuple):
    """What one asyncio task is doing.

    ``state`` is "running"; "waiting" for ``waits_for``, which is another task (``Task 'name'``) or
    the type of a future; "runnable" if its turn comes without anything else having to happen; or
    "created" if it has not run yet. ``stack`` is leaf first: the innermost function that it awaits,
    down to the task's own; if it runs, what it is calling. It is empty if the task never held still
    for long enough, or is of no Python function.

    ``task_id`` is its address. ``thread`` is the one that runs its event loop; its ``thread_id`` is
    0 if none does. ``awaited_by`` are the names of the tasks that wait for this one. ``labels`` are
    the context variables that were asked for: its thread's if it runs, or else a moment later.
    ``variables`` are as those of threads.
    """

    name: str
    task_id: int
    thread: Thread
    state: TaskState
    waits_for: str
    stack: tuple[Location, ...]
    awaited_by: tuple[str, ...]
    labels: Labels = ()
    variables: tuple[FrameVariables, ...] | None = None


class GreenletStack(NamedTuple):
    """What one suspended greenlet is doing. ``kind`` is the name of its type.

    ``state`` is "created" if it has not run yet: then ``stack`` is the function that it shall run,
    if that is one of Python, and its thread is not known. ``labels`` and ``variables`` are as those
    of threads.
    """

    greenlet_id: int
    kind: str
    thread: Thread
    stack: tuple[Location, ...]
    labels: Labels = ()
    variables: tuple[FrameVariables, ...] | None = None
    state: Literal["waiting", "created"] = "waiting"


class Snapshot(NamedTuple):
    """All of it. ``time_ns`` counts from the Unix epoch; ``caveats`` are also in ``comments``."""

    threads: tuple[ThreadStack, ...]
    tasks: tuple[TaskStack, ...]
    greenlets: tuple[GreenletStack, ...]
    time_ns: int
    comments: tuple[str, ...]
    mapping: Mapping
    caveats: tuple[str, ...] = ()
