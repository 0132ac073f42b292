"""What a thread that is blocked waits for, told from its innermost frames and its system call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

from onlooker.profile.model import Labels, Location
from onlooker.profile.rows import Row

_FRAMES: Final = 8
"""From the leaf: what waits in the standard library is no deeper than that below its caller."""

# By module and co_name, for only 3.11 and later have co_qualname. The outermost of those that lie
# together at the leaf tells: Queue.get waits in Condition.wait.
_WAITS: Final[Mapping[tuple[str, str], str]] = MappingProxyType(
    {
        **{("threading", name): "condition" for name in ("wait", "wait_for", "acquire")},
        **{("threading", name): "join" for name in ("join", "_wait_for_tstate_lock", "_shutdown")},
        **{("queue", name): "queue" for name in ("get", "put", "join")},
        **{
            ("concurrent.futures._base", name): "future"
            for name in ("result", "exception", "wait", "as_completed", "result_iterator")
        },
        **{
            ("subprocess", name): "subprocess"
            for name in ("wait", "_wait", "_try_wait", "communicate", "_communicate", "run")
        },
        ("multiprocessing.popen_fork", "wait"): "subprocess",
        ("multiprocessing.popen_fork", "poll"): "subprocess",
        ("asyncio.base_events", "_run_once"): "",
        **{(module, "run"): "" for module in ("asyncio.runners", "uvloop")},  # of uvloop's loops
        ("selectors", "select"): "",
        ("concurrent.futures.thread", "_worker"): "queue",
        ("multiprocessing.pool", "worker"): "queue",
        ("logging.handlers", "dequeue"): "queue",
        ("socketserver", "serve_forever"): "",
    }
)

# Whoever waits here has nothing to do.
_IDLE: Final = frozenset(
    {
        ("asyncio.base_events", "_run_once"),
        ("asyncio.runners", "run"),
        ("uvloop", "run"),
        ("concurrent.futures.thread", "_worker"),
        ("multiprocessing.pool", "worker"),
        ("logging.handlers", "dequeue"),
        ("socketserver", "serve_forever"),
    }
)


def wait_labels(row: Row, stack: Sequence[Location]) -> Labels:
    """Return the labels of a wait: ``wait``, and ``idle`` where a worker waits for work."""
    wait, idle = row.wait, False
    for location in stack[:_FRAMES]:
        place = _place(location)
        if place not in _WAITS:
            break
        wait = _WAITS[place] or wait
        idle = idle or place in _IDLE
    return (("wait", wait), *((("idle", "true"),) if idle else ()))


def _place(location: Location) -> tuple[str, str]:
    name, own = location.function.name, location.function.system_name
    module = name[: -len(own) - 1] if name.endswith(f".{own}") else ""
    return module, own.rpartition(".")[2]
