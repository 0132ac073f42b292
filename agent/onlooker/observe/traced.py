"""What a target that runs tracemalloc has traced, by the lines that have allocated it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from functools import cache

from onlooker.errors import TargetGone
from onlooker.observe.modules import Modules
from onlooker.profile.heap import HeapSite
from onlooker.profile.model import Function, Location
from onlooker.runtime.functions import FunctionFinder, FunctionLines
from onlooker.runtime.locate import Runtime
from onlooker.runtime.objects import Objects
from onlooker.runtime.tracemalloc import TracedMemory


def traced_sites(runtime: Runtime, traced: TracedMemory) -> list[HeapSite]:
    """Return the traces as sites.

    tracemalloc knows the lines of files, but no functions: they are looked for in the target's
    modules. A line for which none is found is most often one that runs at import; it is named for
    its module, and so is any if the target has ended meanwhile.
    """
    files = {filename for trace in traced.traces for filename, _ in trace.frames}
    modules = Modules(runtime, Objects(runtime.memory, runtime.layout))
    lines: Mapping[str, Mapping[int, FunctionLines]] = {}
    with suppress(TargetGone):
        modules.learn(files)
        lines = FunctionFinder(runtime.memory, runtime.layout).find(modules.dicts(), files)

    @cache
    def location(filename: str, line: int) -> Location:
        module = modules.name(filename)
        found = lines.get(filename, {}).get(line)
        if found is None:
            return Location(Function(module, module, filename, 0), line)
        name = f"{module}.{found.name}"
        return Location(Function(name, found.name, filename, found.firstlineno), line)

    stacks = {
        frames: tuple(location(filename, line) for filename, line in frames)
        for frames in {trace.frames for trace in traced.traces}
    }
    sites = []
    for trace in traced.traces:
        # All that tracemalloc knows is in use.
        values = (trace.blocks, trace.blocks * trace.size) * 2
        labels = (("domain", str(trace.domain)),) if trace.domain else ()
        sites.append(HeapSite(stacks[trace.frames], *values, labels))
    return sites


def traced_comments(traced: TracedMemory) -> tuple[str, ...]:
    """Return what to know of the traces as a whole."""
    frames = "frame" if traced.max_frames == 1 else "frames"
    comments = (
        f"source: tracemalloc, with at most {traced.max_frames} {frames} of a stack",
        f"traced: {traced.traced_bytes} bytes, at the peak {traced.peak_bytes}",
        "alloc_objects and alloc_space are of what is in use: tracemalloc knows no more",
    )
    if traced.is_exact:
        return comments
    total = sum(trace.blocks * trace.size for trace in traced.traces)
    return *comments, f"the target was just allocating: its traces add up to {total} bytes"
