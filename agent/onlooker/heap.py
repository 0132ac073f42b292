"""A picture of a process's memory: frozen, walked, and told as a profile."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, NamedTuple

from onlooker.errors import MemoryFault, NotReady
from onlooker.frozen import Frozen, frozen
from onlooker.memory import Freeze
from onlooker.observe import heap_sites
from onlooker.observe.heap import Heap, HeapTotals, HeapType
from onlooker.observe.heap_ranges import HeapRange, heap_ranges
from onlooker.observe.memory_rows import (
    Mappings,
    MemoryRow,
    malloc_arenas,
    mapped_bytes,
    memory_rows,
    read_mappings,
    resident,
)
from onlooker.observe.owners import Owners
from onlooker.observe.traced import traced_comments, traced_sites
from onlooker.profile.heap import HeapBy, HeapSite, Source
from onlooker.runtime.collector import list_heads
from onlooker.runtime.locate import Runtime
from onlooker.runtime.tracemalloc_state import is_tracing
from onlooker.traces import read_traces

_ATTEMPTS: Final = 5
_ATTEMPT_AFTER_S: Final = 0.05

_NOTABLE: Final = 0.001
"""Of all bytes: what is less is not worth a note."""

RATE: Final = 1
"""Bytes for each of which something was sampled: every object and every trace counts."""


class MemoryPicture(NamedTuple):
    """What was found: of the objects ``types``, ``totals`` and ``rows``, which tracemalloc lacks.

    ``notes`` are those of the comments that tell of what is not as asked for, or not as it should
    be. ``pause_ns`` is how long the target stood still. ``rows`` sum up to its resident memory.
    """

    sites: Sequence[HeapSite]
    comments: tuple[str, ...]
    notes: tuple[str, ...]
    source: Source
    time_ns: int
    pause_ns: int
    freeze: Freeze
    by: HeapBy = "path"
    types: Sequence[HeapType] = ()
    totals: HeapTotals | None = None
    rows: Sequence[MemoryRow] = ()


Progress = Callable[[str, int], None]
"""Is told what is being done, and how many objects were met."""


def take_picture(
    runtime: Runtime,
    *,
    source: Source = "auto",
    by: HeapBy = "path",
    freeze: Freeze = "snapshot",
    progress: Progress = lambda what, count: None,
) -> MemoryPicture:
    """Freeze the process and look at its memory.

    ``source`` is ``objects``: who holds them; ``tracemalloc``: where they were allocated, if the
    process traces that; ``auto``: tracemalloc if it does, else objects. ``by`` says what stacks of
    objects are.

    Raises what ``frozen`` does, NotTracing, NotReady if the process never stops collecting garbage,
    and MemoryFault if ``freeze`` is ``none`` and the memory moves too much.
    """
    time_ns = time.time_ns()
    if source == "auto" and is_tracing(runtime, runtime.memory):
        source = "tracemalloc"
    if source == "tracemalloc":
        return _traced(runtime, freeze, time_ns, progress)
    return _objects(runtime, by, freeze, time_ns, progress)


@contextmanager
def still(runtime: Runtime, freeze: Freeze) -> Iterator[tuple[Frozen, Runtime, list[int]]]:
    """Freeze a process at a moment when the lists of its objects are whole.

    The second is its runtime as of then, with the frozen memory, the third ``list_heads`` of that.
    Raises what ``frozen`` and ``list_heads`` do, if no moment is right.
    """
    for attempt in range(_ATTEMPTS):
        time.sleep(_ATTEMPT_AFTER_S * attempt)
        with frozen(runtime.pid, freeze) as picture:
            runtime_then = runtime._replace(memory=picture.memory)
            try:
                heads = list_heads(runtime_then)
            except (NotReady, MemoryFault):
                if attempt == _ATTEMPTS - 1:
                    raise
                continue
            yield picture, runtime_then, heads
            return


def find_objects(
    picture: Frozen,
    runtime: Runtime,
    heads: Sequence[int],
    ranges: Sequence[HeapRange],
    progress: Progress,
    *,
    graph: bool,
) -> Heap:
    """Walk what ``still`` has frozen, by two threads if it does: the sooner that is done the less
    a process has to copy of what it shares with its snapshot.

    Raises what ``Heap`` does.
    """
    return Heap(
        runtime,
        ranges,
        heads,
        graph=graph,
        paired=picture.how != "none" and len(os.sched_getaffinity(0)) > 1,
        progress=lambda count: progress("walking", count),
    )


def _objects(
    runtime: Runtime, by: HeapBy, freeze: Freeze, time_ns: int, progress: Progress
) -> MemoryPicture:
    progress("freezing", 0)
    with still(runtime, freeze) as (picture, runtime_then, heads):
        ranges = heap_ranges(runtime_then, picture.pid)
        mappings = read_mappings(runtime.pid, picture.pid, ranges)
        with find_objects(
            picture, runtime_then, heads, ranges, progress, graph=by == "path"
        ) as heap:
            totals, types = heap.totals, heap.types
            rows = _rows(heap, mappings, picture.pid) if mappings else []
            picture.release()
            progress("finding owners", totals.objects)
            sites = _sites(heap, by)
    notes = (*picture.notes, *_doubts(totals))
    comments = (_how(picture), *_about_objects(by, totals), *notes)
    return MemoryPicture(
        sites,
        comments,
        notes,
        "objects",
        time_ns,
        picture.pause_ns,
        picture.how,
        by,
        types,
        totals,
        rows,
    )


def _rows(heap: Heap, mappings: Mappings, frozen: int) -> list[MemoryRow]:
    mapped = mapped_bytes(frozen, heap.mapped_blocks())
    malloc = malloc_arenas(mappings, heap.arena)
    return memory_rows(resident(mappings), heap.totals, heap.pools(), malloc, mapped)


def _sites(heap: Heap, by: HeapBy) -> list[HeapSite]:
    if by == "path":
        heap.forget_addresses()
        with Owners(heap.graph) as owners:
            heap.forget_references()
            return list(heap_sites.by_path(heap, owners))
    return list(heap_sites.by_type(heap) if by == "type" else heap_sites.by_module(heap))


def _traced(runtime: Runtime, freeze: Freeze, time_ns: int, progress: Progress) -> MemoryPicture:
    progress("reading traces", 0)
    traced, picture = read_traces(runtime, freeze)
    comments = (_how(picture), *traced_comments(traced), *picture.notes)
    sites = traced_sites(runtime, traced)
    return MemoryPicture(
        sites, comments, picture.notes, "tracemalloc", time_ns, picture.pause_ns, picture.how
    )


def _how(picture: Frozen) -> str:
    pause = f"the target stood still for {picture.pause_ns / 1e6:.2f} ms"
    return {
        "snapshot": f"read from a snapshot: {pause}",
        "stop": f"read while {pause}",
        "none": "read while the target ran",
    }[picture.how]


def _about_objects(by: HeapBy, totals: HeapTotals) -> Iterator[str]:
    yield (
        f"source: objects, by {by}: {totals.objects} objects with {totals.bytes} bytes, as large as"
        " their blocks of memory are"
    )
    yield "alloc_objects and alloc_space are of what is in use: what is gone has left no trace"


def _doubts(totals: HeapTotals) -> Iterator[str]:
    if totals.unsized_bytes > totals.bytes * _NOTABLE:
        yield f"{totals.unsized_bytes} bytes are counted as asked for: their blocks don't tell"
    if totals.broken:
        yield f"{totals.broken} objects contradict themselves; what they hold is not counted"
