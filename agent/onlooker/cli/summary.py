"""What a recording came to: for people, and as JSON."""

from __future__ import annotations

import json
import os
import shlex
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from onlooker.cli.terminal import BOLD, DIM, YELLOW, styled
from onlooker.profile import top
from onlooker.profile.model import Profile
from onlooker.profile.printable import printable
from onlooker.recording import TIME_IS_UP, Recording, truth
from onlooker.target import Target

_WELL_BELOW: Final = 0.9


def lines(
    target: Target, recording: Recording, profiles: Iterable[Profile], verbose: bool
) -> Iterator[str]:
    """Yield the lines for people."""
    identity = target.runtime.identity
    what = ",".join(kind.name for kind in recording.kinds)
    if recording.duration_ns:
        what += f" for {recording.duration_ns / 1e9:.1f} s at {recording.rate_hz:g} Hz"
    yield styled(
        f"{printable(identity.program)}, pid {identity.pid}, Python {target.version}: {what}",
        BOLD,
    )
    if recording.end != TIME_IS_UP:
        yield f"it ended because {recording.end}"
    for profile in profiles:
        yield from _top(profile)
    counters = ", ".join(f"{name} {value}" for name, value in truth(recording.counters))
    yield f"truth: {counters}"
    if recording.pauses_ns:
        p50, p99, most = (f"{us:.0f}" for us in pauses_us(recording.pauses_ns).values())
        yield f"threads were stopped for: p50 {p50} us, p99 {p99} us, at most {most} us"
    left_out = recording.counters.late or recording.counters.spared
    if left_out and recording.reached_hz < _WELL_BELOW * recording.rate_hz:
        yield styled(f"the rate reached was {recording.reached_hz:.0f} Hz", YELLOW)
    for caveat in recording.caveats:
        yield styled(f"note: {caveat}", YELLOW)
    if verbose:
        yield from (styled(printable(comment), DIM) for comment in recording.comments)


def how_to_open(path: str, format: str) -> str:
    """Return the line that tells where a file is and, if anything special, what opens it."""
    if format != "pprof":
        return f"wrote {styled(path, BOLD)}"
    return f"wrote {styled(path, BOLD)}; to open it: go tool pprof -http=: {shlex.quote(path)}"


def as_json(target: Target, recording: Recording, written: Sequence[str]) -> str:
    """Return one line of JSON."""
    counters, identity = recording.counters, target.runtime.identity
    summary: dict[str, Any] = {
        "pid": identity.pid,
        "program": identity.program,
        "python": target.version,
        "files": list(written),
        "kinds": [kind.name for kind in recording.kinds],
        "end": recording.end,
        "duration_seconds": recording.duration_ns / 1e9,
        "rate_hz": recording.rate_hz,
        "reached_hz": recording.reached_hz,
        "ticks": counters.ticks,
        "threads": counters.threads,
        **dict(truth(counters)),
        "reused": counters.reused,
        "overflow": counters.overflow,
        "pause_errno": counters.pause_errno,
        "first_sample_ns": counters.first_sample_ns,
        "first_sample_seconds": _since_our_start(counters.first_sample_ns),
        "cpu_seconds": time.process_time(),
        "pauses_us": pauses_us(recording.pauses_ns),
        "caveats": list(recording.caveats),
    }
    return json.dumps(summary)


def _top(profile: Profile) -> Iterator[str]:
    if any(sample.values[profile.default_index] for sample in profile.samples):
        yield from top.lines(profile)
    else:
        yield _NOTHING.get(profile.kind, f"the {profile.kind} profile is empty")


_NOTHING: Final = {
    "cpu": "no thread was on CPU; --profile wall shows where they wait",
    "gil": "no thread held the GIL; --profile wall shows where they wait",
}


def pauses_us(pauses_ns: Sequence[int]) -> dict[str, float]:
    """Return percentiles (nearest rank) of sorted durations, and the greatest; 0 if none."""
    if not pauses_ns:
        return {"p50": 0.0, "p99": 0.0, "max": 0.0}
    rank = {percent: -(-percent * len(pauses_ns) // 100) for percent in (50, 99)}
    return {
        "p50": pauses_ns[rank[50] - 1] / 1e3,
        "p99": pauses_ns[rank[99] - 1] / 1e3,
        "max": pauses_ns[-1] / 1e3,
    }


def _since_our_start(monotonic_ns: int) -> float | None:
    """Return the seconds from this process's start; its resolution is a tick, mostly 10 ms."""
    if not monotonic_ns:
        return None
    with open("/proc/self/stat", "rb") as file:
        ticks = int(file.read().rpartition(b")")[2].split()[19])
    boottime_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)  # which counts while suspended, too
    start_ns = ticks * (1_000_000_000 // os.sysconf("SC_CLK_TCK"))
    return (monotonic_ns + boottime_ns - time.monotonic_ns() - start_ns) / 1e9
