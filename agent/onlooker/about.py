"""What a profile says of itself: which process it is of, and what made it."""

from __future__ import annotations

import shlex
import sys
import time

from onlooker.observe.recorder import Counters
from onlooker.profile.model import Mapping
from onlooker.recording import truth
from onlooker.runtime.locate import Runtime
from onlooker.runtime.version import version_text
from onlooker.version import VERSION


def mapping_of(runtime: Runtime) -> Mapping:
    """Return the file that the interpreter is in."""
    return Mapping(runtime.image_path, runtime.build_id)


def target_comment(runtime: Runtime) -> str:
    """Return a line that tells the process from every other."""
    identity = runtime.identity
    started = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(identity.start_time_ns / 1e9))
    python = f"Python {version_text(runtime.version)} ({identity.executable})"
    command = shlex.join(identity.argv)
    return f"target: {identity.program}, pid {identity.pid}, started {started}, {python}: {command}"


def comments(runtime: Runtime) -> tuple[str, ...]:
    """Return lines about Onlooker's command and the process."""
    return f"onlooker {VERSION}: {shlex.join(sys.argv)}", target_comment(runtime)


def counted_comments(runtime: Runtime, what: str, counters: Counters) -> tuple[str, ...]:
    """Return these lines, one about ``what`` was done, and the counters of truth."""
    told = ", ".join(f"{name} {value}" for name, value in truth(counters))
    return *comments(runtime), what, f"truth: {told}"
