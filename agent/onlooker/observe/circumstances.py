"""What else happens to a process while it is recorded, and what the recording lacks for it."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from onlooker.errors import TargetGone
from onlooker.observe.recorder import Counters
from onlooker.runtime.identity import read_status
from onlooker.runtime.locate import Runtime


class Circumstances(NamedTuple):
    """A process as /proc/PID/status shows it.

    ``state`` is the kernel's letter, empty if the process is gone; ``has_memory`` tells that it is
    not just exiting; ``tracer`` is the name and pid of another process that traces it, or empty.
    """

    state: str
    has_memory: bool
    tracer: str

    @property
    def is_stopped(self) -> bool:
        """Whether it does not run: SIGSTOP, Ctrl-Z or a debugger holds it."""
        return self.state in {"T", "t"}


def circumstances(pid: int) -> Circumstances:
    """Return those of process ``pid`` as of now."""
    try:
        status = read_status(pid)
        tracer = int(status["TracerPid"])
        state, has_memory = status["State"][:1], "VmSize" in status
    except (OSError, KeyError, ValueError):
        return Circumstances("", False, "")
    if not tracer or Path(f"/proc/self/task/{tracer}").exists():
        return Circumstances(state, has_memory, "")
    return Circumstances(state, has_memory, tracer_name(tracer))


def tracer_name(tracer: int) -> str:
    """Return the name and pid of what /proc calls a TracerPid."""
    with suppress(OSError, KeyError):
        return f"{read_status(tracer)['Name']}, pid {tracer}"
    return f"pid {tracer}"


def has_replaced_itself(runtime: Runtime) -> bool:
    """Whether the process lives on, but with another program than the one recorded."""
    try:
        runtime.memory.read(runtime.runtime_address, 1)
    except TargetGone:
        return circumstances(runtime.pid).has_memory
    return False


def caveats(
    before: Circumstances, after: Circumstances, counters: Counters, *, may_pause: bool
) -> tuple[str, ...]:
    """Return sentences about what the recording lacks, given the circumstances around it."""
    found = []
    tracer = before.tracer or after.tracer
    if may_pause and tracer:
        found.append(
            f"another tracer is attached to the target ({tracer}), so no thread could be stopped:"
            " samples that did not settle by themselves are lost"
        )
    elif counters.pause_errno in {errno.EPERM, errno.EACCES}:
        found.append(
            f"the kernel let no thread be stopped ({os.strerror(counters.pause_errno)}: is another"
            " tracer attached?): samples that did not settle by themselves are lost"
        )
    if before.is_stopped or after.is_stopped:
        found.append(
            "the target is stopped (by SIGSTOP, Ctrl-Z or a debugger): it runs nothing meanwhile"
        )
    if counters.overflow:
        found.append(f"{counters.overflow} samples came after the table of stacks was full")
    return tuple(found)
