"""What a process is doing at one moment: by itself, as a recording, and at the end of one."""

from __future__ import annotations

import time

from onlooker import about
from onlooker.errors import TargetGone
from onlooker.observe import snapshot as at
from onlooker.observe.recorder import Counters
from onlooker.profile.kinds import Kind
from onlooker.profile.snapshot import Snapshot
from onlooker.recording import TIME_IS_UP, Options, Recording
from onlooker.runtime.locate import Runtime


def look(
    runtime: Runtime, options: Options, *, variables: bool = False
) -> tuple[Snapshot, Counters]:
    """Look at everything once, as Target.snapshot tells; how that went."""
    seen, counters = _seen(runtime, options, variables=variables)
    what = f"taken: goroutine, pause {options.pause}, depth {options.depth}"
    comments = *about.counted_comments(runtime, what, counters), *seen.caveats
    return seen._replace(comments=comments), counters


def recorded(runtime: Runtime, kinds: tuple[Kind, ...], options: Options) -> Recording:
    """Look once, for a recording of nothing else."""
    snapshot, counters = look(runtime, options)
    return Recording(
        kinds=kinds,
        rate_hz=options.rate_hz,
        start_ns=snapshot.time_ns,
        duration_ns=0,
        end=TIME_IS_UP,
        counters=counters,
        pauses_ns=(),
        caveats=snapshot.caveats,
        comments=snapshot.comments,
        mapping=snapshot.mapping,
        rows=(),
        stack=lambda _: (),
        threads={},
        snapshot=snapshot,
    )


def at_its_end(recording: Recording, runtime: Runtime, options: Options) -> Recording:
    """Add a look at the process to a recording that has ended."""
    try:
        seen, _ = _seen(runtime, options)
    except TargetGone:
        caveat = "the target ended: goroutine is empty"
        seen = Snapshot((), (), (), time.time_ns(), (), about.mapping_of(runtime), (caveat,))
    comments = *recording.comments, *seen.caveats
    return recording._replace(
        caveats=(*recording.caveats, *seen.caveats),
        comments=comments,
        snapshot=seen._replace(comments=comments),
    )


def _seen(
    runtime: Runtime, options: Options, *, variables: bool = False
) -> tuple[Snapshot, Counters]:
    return at.take(
        runtime,
        pause=options.pause,
        depth=options.depth,
        context_vars=options.context_vars,
        variables=variables,
    )
