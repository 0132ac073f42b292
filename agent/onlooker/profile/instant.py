"""Makes profiles of one moment of what was seen of it."""

from __future__ import annotations

from collections.abc import Iterator

from onlooker.profile.bootstrap import without_bootstrap
from onlooker.profile.kinds import KINDS
from onlooker.profile.model import Function, Labels, Location, Profile, Sample
from onlooker.profile.rows import Thread
from onlooker.profile.snapshot import Snapshot

_NOT_READ = Location(Function("<stack not read>", "<stack not read>", "", 0), 0)


def goroutine(snapshot: Snapshot, *, all_frames: bool = False) -> Profile:
    """Return the profile of all that is under way: threads, suspended tasks, suspended greenlets.

    A running task is its thread's sample, which has the task's name as a label. Samples with equal
    stacks and labels are one; the greatest come first. Bootstrap frames are left out unless
    ``all_frames``.
    """
    counts: dict[tuple[tuple[Location, ...], Labels], int] = {}
    for stack, labels in _all(snapshot):
        if not all_frames:
            stack = tuple(without_bootstrap(stack))
        counts[stack, labels] = counts.get((stack, labels), 0) + 1
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0][1]))
    kind = KINDS["goroutine"]
    return Profile(
        kind=kind.name,
        sample_types=kind.sample_types,
        period_type=kind.period_type,
        period=kind.fixed_period,
        time_ns=snapshot.time_ns,
        duration_ns=0,
        samples=[Sample(stack, (count,), labels) for (stack, labels), count in ordered],
        comments=snapshot.comments,
        mapping=snapshot.mapping,
    )


def _all(snapshot: Snapshot) -> Iterator[tuple[tuple[Location, ...], Labels]]:
    threads = [thread.thread for thread in snapshot.threads]
    several = len({thread.interpreter for thread in threads}) > 1

    def labels(thread: Thread, *more: tuple[str, str]) -> Labels:
        found: list[tuple[str, str]] = []
        if thread.name:
            found.append(("thread", thread.name))
        if thread.thread_id:
            found.append(("thread_id", str(thread.thread_id)))
        if several:
            found.append(("interpreter", str(thread.interpreter)))
        return (*found, *((key, value) for key, value in more if value))

    for thread in snapshot.threads:
        state = "running" if thread.on_cpu else "waiting" if thread.read else ""
        stack = thread.stack if thread.read else (_NOT_READ,)
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
            labels(greenlet.thread, ("greenlet", greenlet.kind), ("state", "waiting")),
        )
