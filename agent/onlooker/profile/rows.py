"""What the recorder hands over: counted facts about stacks, without opinion."""

from __future__ import annotations

from typing import Final, NamedTuple

ON_CPU: Final = 1
"""The thread was on a CPU, or runnable and waiting for one."""

HOLDS_GIL: Final = 2
"""The thread held its interpreter's GIL."""


WAITS: Final = 4
"""The thread was blocked in the kernel, but not for the GIL. ``Row.wait`` says in what."""

WAITS_GIL: Final = 8
"""The thread was blocked since it wanted its interpreter's GIL."""

HOLDS_LOCK: Final = 16
"""The thread held a ``threading.RLock`` that others waited for. The row is of their time only."""

_WAIT_SHIFT: Final = 5
_WAITS: Final = (
    *("other", "lock", "sleep", "select", "poll", "epoll"),
    *("socket", "io", "subprocess", "signal"),
)


class Row(NamedTuple):
    """All samples of one stack in one thread that agree in their facts and values.

    ``stack_id`` and ``thread_id`` are keys that whoever names stacks and threads understands;
    ``facts`` is a set of the bits above. ``wall_ns`` is the elapsed time and ``cpu_ns`` the
    thread's own run time that these ``samples`` stand for. ``begun`` is how many waits they
    found that had not been there before; ``held_up`` is how many waits of others for the GIL or an
    RLock began while this thread held it, and ``held_up_ns`` how long others waited. ``values`` is
    a key like ``stack_id``: of what context variables were set to.
    """

    stack_id: int
    thread_id: int
    facts: int
    samples: int
    wall_ns: int
    cpu_ns: int
    begun: int = 0
    held_up: int = 0
    held_up_ns: int = 0
    values: int = 0

    @property
    def wait(self) -> str:
        """The kind of system call that a thread that WAITS is in: ``sleep``, ``epoll``, ..."""
        kind = self.facts >> _WAIT_SHIFT
        return _WAITS[kind] if kind < len(_WAITS) else _WAITS[0]


class Thread(NamedTuple):
    """Who a row's ``thread_id`` is.

    ``thread_id`` is the kernel's TID as the target's pid namespace knows it, ``name`` is
    ``threading.Thread.name`` or ``""`` where Python doesn't know the thread, ``interpreter`` is
    ``PyInterpreterState.id``.
    """

    thread_id: int
    name: str = ""
    interpreter: int = 0
