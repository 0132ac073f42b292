"""What a target that runs tracemalloc has traced, by the lines that have allocated it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from onlooker.errors import NotTracing
from onlooker.memory import Memory
from onlooker.observe.modules import Modules
from onlooker.profile.heap import HeapSite
from onlooker.profile.model import Function, Location
from onlooker.runtime.locate import Runtime
from onlooker.runtime.objects import Objects
from onlooker.runtime.tracemalloc import TracedMemory, read_tracemalloc

RATE: Final = 1
"""Of every allocation there is a trace."""

_HINT: Final = (
    "Start it with PYTHONTRACEMALLOC=1 in its environment, or as python -X tracemalloc=1; a higher"
    " number keeps so many frames of each stack. It makes allocating several times slower, and"
    " takes some 100 bytes for each block that is in use."
)


@dataclass(frozen=True, slots=True)
class Traced:
    """Where memory in use was allocated. ``comments`` say how far to believe it."""

    sites: list[HeapSite]
    comments: tuple[str, ...]


def read_traced(runtime: Runtime, memory: Memory) -> Traced:
    """Read what is traced now, from ``memory``: the target's, or a snapshot of it.

    tracemalloc knows the lines of files, but no functions, so that functions are named for the
    modules that they are in. Raises NotTracing, MemoryFault if the target allocates faster than its
    traces can be read, and TargetGone.
    """
    traced = read_tracemalloc(runtime, memory)
    if traced is None:
        raise NotTracing(f"process {runtime.pid} does not trace what it allocates", _HINT)
    modules = Modules(runtime, Objects(memory, runtime.layout))
    modules.learn({filename for trace in traced.traces for filename, _ in trace.frames})
    functions: dict[str, Function] = {}

    def location(filename: str, line: int) -> Location:
        function = functions.get(filename)
        if function is None:
            module = modules.name(filename)
            function = functions[filename] = Function(module, module, filename, 0)
        return Location(function, line)

    stacks = {
        frames: tuple(location(filename, line) for filename, line in frames)
        for frames in {trace.frames for trace in traced.traces}
    }
    sites = []
    for trace in traced.traces:
        size = trace.count * trace.size
        labels = (("domain", str(trace.domain)),) if trace.domain else ()
        sites.append(HeapSite(stacks[trace.frames], trace.count, size, trace.count, size, labels))
    return Traced(sites, tuple(_comments(traced)))


def _comments(traced: TracedMemory) -> list[str]:
    frames = "frame" if traced.max_frames == 1 else "frames"
    comments = [
        f"source: tracemalloc, with at most {traced.max_frames} {frames} of a stack",
        f"traced: {traced.traced_bytes} bytes, at the peak {traced.peak_bytes}",
        "alloc_objects and alloc_space are of what is in use: tracemalloc knows no more",
    ]
    if not traced.is_exact:
        total = sum(trace.count * trace.size for trace in traced.traces)
        comments.append(
            f"the target allocated while its traces were read: they are of {total} bytes"
        )
    return comments
