"""What a process is doing now: every thread's stack, and every task's."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from onlooker.errors import TargetGone
from onlooker.observe import recorder as native
from onlooker.observe.contexts import ContextLabels
from onlooker.observe.greenlets import suspended_greenlets
from onlooker.observe.naming import Naming
from onlooker.observe.recorder import Counters, Outcome, Pause, Recorder
from onlooker.observe.tasks import Tasks, read_tasks
from onlooker.observe.variables import with_variables
from onlooker.profile.model import Function, Location, Mapping
from onlooker.profile.rows import Thread
from onlooker.profile.snapshot import Snapshot, TaskStack, ThreadStack
from onlooker.runtime.locate import Runtime
from onlooker.uncollected import uncollected

# The recorder numbers the code objects that it meets with 32 bits; those of tasks come behind.
_TASK_CODES: Final = 1 << 32

_DIGITS: Final = re.compile(r"[0-9]+")
_SORTED_BY: Final = 64  # characters of a name


def take(
    runtime: Runtime,
    *,
    pause: Pause,
    depth: int,
    context_vars: Sequence[str] = (),
    variables: bool = False,
) -> tuple[Snapshot, Counters]:
    """Look at everything once. The snapshot's comments are left to the caller.

    Raises TargetGone, NotPermitted, and UsageError for too many ``context_vars``.
    """
    with uncollected(), ContextLabels(runtime, context_vars) as contexts:
        return _take(runtime, pause, depth, contexts, variables)


def _take(
    runtime: Runtime, pause: Pause, depth: int, contexts: ContextLabels, variables: bool
) -> tuple[Snapshot, Counters]:
    naming = Naming(runtime)
    threads, idents, counters = _threads(runtime, naming, pause, depth, contexts)
    if variables:
        threads = with_variables(runtime, naming, threads, idents, pause, depth)
    time_ns = time.time_ns()
    found = read_tasks(runtime, frames_with_variables=depth if variables else 0)
    naming.adopt((_of_task(number), code) for number, code in found.codes.items())
    tasks = _tasks(found, naming, idents, depth)
    if contexts.asked:
        tasks = _labelled(tasks, runtime, contexts)
    threads, tasks = _joined(found, naming, threads, tasks)
    order = {thread.thread.thread_id: place for place, thread in enumerate(threads)}
    tasks.sort(key=lambda task: (order.get(task.thread.thread_id, len(order)), _natural(task.name)))
    greenlets, greenlet_caveats = suspended_greenlets(
        runtime, naming, idents, depth, contexts, variables
    )
    left_out = f"{found.unsettled} asyncio tasks moved each time that they were read: left out"
    snapshot = Snapshot(
        threads=tuple(threads),
        tasks=tuple(tasks),
        greenlets=tuple(
            sorted(greenlets, key=lambda greenlet: order.get(greenlet.thread.thread_id, len(order)))
        ),
        time_ns=time_ns,
        comments=(),
        mapping=Mapping(runtime.image_path, runtime.build_id),
        caveats=(
            *((left_out,) if found.unsettled else ()),
            *greenlet_caveats,
            *contexts.caveats(counters.contextless),
        ),
    )
    return snapshot, counters


def threads(runtime: Runtime, *, pause: Pause, depth: int) -> list[ThreadStack]:
    """Look at the threads only; the one that started first comes first."""
    return _threads(runtime, Naming(runtime), pause, depth)[0]


def _threads(
    runtime: Runtime,
    naming: Naming,
    pause: Pause,
    depth: int,
    contexts: ContextLabels | None = None,
) -> tuple[list[ThreadStack], dict[int, Thread], Counters]:
    """The threads' stacks; the threads by threading's ident; how the reads went."""
    with Recorder(
        runtime,
        rate_hz=1,
        facts=native.ON_CPU | native.HOLDS_GIL,
        wanted=0,
        pause=pause,
        depth=depth,
        contexts=contexts,
    ) as recorder:
        if recorder.tick() is Outcome.GONE:
            raise TargetGone(f"process {runtime.pid} has ended")
        naming.learn(recorder)
        stacks = recorder.stacks()
        rows = {row.thread_id: row for row in recorder.rows() if row.samples}
        records = recorder.threads()
        threads = naming.threads(records)
        values = recorder.values()
        found = []
        for index, record in reversed(list(enumerate(records))):
            row = rows.get(index)
            if row:
                found.append(
                    ThreadStack(
                        threads[index],
                        naming.stack(stacks, row.stack_id),
                        bool(row.facts & native.ON_CPU),
                        bool(row.facts & native.HOLDS_GIL),
                        labels=values(row.values),
                    )
                )
            elif record.alive and record.thread_id:
                found.append(ThreadStack(threads[index], (), False, False, read=False))
        idents = {
            record.thread_id: threads[index]
            for index, record in enumerate(records)
            if record.alive and record.thread_id
        }
        return found, idents, recorder.counters


def _tasks(found: Tasks, naming: Naming, idents: dict[int, Thread], depth: int) -> list[TaskStack]:
    stacks: dict[int, tuple[Location, ...]] = {}
    places: dict[tuple[int, int], Thread] = {}

    def stack(number: int) -> tuple[Location, ...]:
        known = stacks.get(number)
        if known is None:
            frames = list(found.stacks.frames(number))
            kept = [naming.location(_of_task(code), lasti) for code, lasti in frames[:depth]]
            if len(frames) > depth:
                kept.append(naming.location(native.CODE_OMITTED, len(frames) - depth))
            known = stacks[number] = tuple(kept)
        return known

    def thread(ident: int, interpreter: int) -> Thread:
        known = places.get((ident, interpreter))
        if known is None:
            # A thread may be in several interpreters.
            known = (idents.get(ident) or Thread(0))._replace(interpreter=interpreter)
            places[ident, interpreter] = known
        return known

    return [
        TaskStack(
            task.name,
            task.address,
            thread(task.thread, task.interpreter),
            task.state,
            task.waits_for,
            stack(task.stack),
            task.awaited_by,
            variables=task.variables,
        )
        for task in found.tasks
    ]


def _labelled(tasks: list[TaskStack], runtime: Runtime, contexts: ContextLabels) -> list[TaskStack]:
    """Suspended tasks with what variables are set to in their own contexts."""
    at = runtime.layout.offsets["task_context"]
    found = [0 if task.state == "running" else contexts.read(task.task_id + at) for task in tasks]
    values = contexts.values()
    return [task._replace(labels=values(number)) for task, number in zip(tasks, found, strict=True)]


def _joined(
    found: Tasks, naming: Naming, threads: list[ThreadStack], tasks: list[TaskStack]
) -> tuple[list[ThreadStack], list[TaskStack]]:
    """Threads with the tasks that they run, and those tasks with what they call.

    The threads were read first, and a moment later a loop may run another task. So it counts as
    running in its thread only if the thread's stack has its function.
    """
    places = {thread.thread.thread_id: place for place, thread in enumerate(threads)}
    for index, (task, raw) in enumerate(zip(tasks, found.tasks, strict=True)):
        place = places.get(task.thread.thread_id)
        if task.state != "running" or raw.entry < native.CODE_FIRST or place is None:
            continue
        end = _end(threads[place].stack, naming.location(_of_task(raw.entry), 0).function)
        if end:
            thread = threads[place]
            variables = None if thread.variables is None else thread.variables[:end]
            tasks[index] = task._replace(stack=thread.stack[:end], variables=variables)
            # Of tasks that start one another eagerly, the innermost is the loop's current one.
            if raw.current:
                threads[place] = threads[place]._replace(task=task.name)
                tasks[index] = tasks[index]._replace(labels=threads[place].labels)
    return threads, tasks


def _of_task(code: int) -> int:
    return code if code < native.CODE_FIRST else _TASK_CODES + code


def _natural(name: str) -> str:
    """A key to sort by that has Task-9 before Task-10."""
    name = name[:_SORTED_BY]
    stem = name.rstrip("0123456789")
    return _natural_stem(stem) + _by_size(name[len(stem) :])


@lru_cache
def _natural_stem(stem: str) -> str:
    return _DIGITS.sub(lambda digits: _by_size(digits[0]), stem)


def _by_size(digits: str) -> str:
    number = digits.lstrip("0")
    return chr(len(number)) + number


def _end(stack: tuple[Location, ...], function: Function) -> int:
    """Behind the outermost frame of a function, 0 if there is none."""
    for end in range(len(stack), 0, -1):
        if stack[end - 1].function == function:
            return end
    return 0
