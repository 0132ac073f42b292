"""Makes profiles of one moment of what was seen of it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

from onlooker.profile.bootstrap import without_bootstrap
from onlooker.profile.kinds import KINDS
from onlooker.profile.model import Function, Labels, Location, Profile, Sample
from onlooker.profile.rows import Thread
from onlooker.profile.snapshot import Snapshot
from onlooker.uncollected import uncollected

_NOT_READ = (Location(Function("<stack not read>", "<stack not read>", "", 0), 0),)


@uncollected()
def goroutine(snapshot: Snapshot, *, all_frames: bool = False) -> Profile:
    """Return the profile of all that is under way: threads, suspended tasks, suspended greenlets.

    A running task is its thread's sample, which has the task's name as a label. Samples with equal
    stacks and labels are one; the greatest come first, else they are in the snapshot's order.
    Bootstrap frames are left out unless ``all_frames``.
    """
    counts: dict[tuple[int, Labels], int] = {}
    stacks: dict[tuple[Location, ...], int] = {}
    numbers: dict[int, int] = {}  # by id: tasks in great number have few stacks
    for stack, labels in _all(snapshot):
        number = numbers.get(id(stack))
        if number is None:
            kept = stack if all_frames else tuple(without_bootstrap(stack))
            number = numbers[id(stack)] = stacks.setdefault(kept, len(stacks))
        counts[number, labels] = counts.get((number, labels), 0) + 1
    ordered = sorted(counts.items(), key=lambda item: item[1], reverse=True)
    by_number = list(stacks)
    kind = KINDS["goroutine"]
    return Profile(
        kind=kind.name,
        sample_types=kind.sample_types,
        period_type=kind.period_type,
        period=kind.fixed_period,
        time_ns=snapshot.time_ns,
        duration_ns=0,
        samples=[
            Sample(by_number[number], (count,), labels) for (number, labels), count in ordered
        ],
        comments=snapshot.comments,
        mapping=snapshot.mapping,
    )


def _all(snapshot: Snapshot) -> Iterator[tuple[tuple[Location, ...], Labels]]:
    threads = [thread.thread for thread in snapshot.threads]
    several = len({thread.interpreter for thread in threads}) > 1

    @cache
    def labels_of(thread: Thread) -> Labels:
        found: list[tuple[str, str]] = []
        if thread.name:
            found.append(("thread", thread.name))
        if thread.thread_id:
            found.append(("thread_id", str(thread.thread_id)))
        if several:
            found.append(("interpreter", str(thread.interpreter)))
        return tuple(found)

    def labels(thread: Thread, *more: tuple[str, str]) -> Labels:
        return (*labels_of(thread), *[label for label in more if label[1]])

    for thread in snapshot.threads:
        state = "running" if thread.on_cpu else "waiting" if thread.read else ""
        stack = thread.stack if thread.read else _NOT_READ
        about = labels(thread.thread, ("task", thread.task), ("state", state))
        yield stack, about + thread.labels
    for task in snapshot.tasks:
        if task.state != "running":
            yield (
                task.stack,
                labels(
                    task.thread,
                    ("task", task.name),
                    ("state", task.state),
                    ("awaited_by", ", ".join(task.awaited_by)),
                )
                + task.labels,
            )
    for greenlet in snapshot.greenlets:
        yield (
            greenlet.stack,
            labels(greenlet.thread, ("greenlet", greenlet.kind), ("state", greenlet.state))
            + greenlet.labels,
        )
