"""``onlooker growth``: what grows across the snapshots of each process in a directory."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from onlooker.cli import comparison, terminal
from onlooker.cli.arguments import Arguments
from onlooker.cli.line import Line
from onlooker.errors import UnreadableProfile, UsageError
from onlooker.outputs import reading
from onlooker.profile.amounts import signed, size
from onlooker.profile.difference import Measure, check_comparable, difference
from onlooker.profile.growth import MIN_SNAPSHOTS, History, Trend, trend
from onlooker.profile.model import Profile
from onlooker.profile.printable import printable
from onlooker.snapshots import Snapshot, lifetimes, snapshots

MAX_PROCESSES: Final = 8
"""So many processes are shown unless one is chosen, those with the newest snapshots."""

MAX_SNAPSHOTS: Final = 500
"""So many snapshots of a process are read; of more, as many at even steps."""

_FEW: Final = 8
_NS_PER_HOUR: Final = 3_600_000_000_000


@dataclass(frozen=True, slots=True)
class Growth:
    """What became of one process. ``taken`` are the snapshots that could be read."""

    taken: tuple[Snapshot, ...]
    sample_type: str
    unit: str
    counted: bool
    total: Trend
    stacks: list[Trend]
    types: list[Trend]

    @property
    def span_ns(self) -> int:
        return self.taken[-1].time_ns - self.taken[0].time_ns


def run(arguments: Arguments) -> int:
    """Print tables, or JSON, and write the last snapshot minus the first if asked."""
    comparison.check_output(arguments.output)
    chosen, notes = _choose(arguments)
    if arguments.output is not None and len(chosen) > 1:
        raise UsageError(
            f"{arguments.directory} has snapshots of {len(chosen)} processes, and a file takes one",
            "Choose it with --pid.",
        )
    with Line(shown=not arguments.quiet) as line:
        grown = [_follow(lifetime, line, notes) for lifetime in chosen]
    found = [growth for growth in grown if growth]
    if not arguments.quiet:
        for note in notes:
            terminal.say(f"note: {note}")
    if not found:
        raise UsageError(f"no snapshot in {arguments.directory} can be read")
    text = as_json(arguments, found) if arguments.json else as_text(arguments, found)
    changed, what = None, ""
    if arguments.output is not None:
        first, last = found[0].taken[0].path, found[0].taken[-1].path
        changed = difference(reading.read(first), reading.read(last))
        what = f"growth: {last} minus {first}"
    comparison.finish(arguments, text, changed, what)
    return 0


def _choose(arguments: Arguments) -> tuple[list[list[Snapshot]], list[str]]:
    """Return the snapshots of each process that is meant, and what there is to say about it."""
    found = snapshots(Path(arguments.directory))
    if not found:
        raise UsageError(
            f"{arguments.directory} has no snapshots",
            "`onlooker heap --dir` takes them; their names tell program, process and times.",
        )
    if arguments.since is not None:
        oldest_ns = found[-1].time_ns - round(arguments.since * 1e9)
        found = [snapshot for snapshot in found if snapshot.time_ns >= oldest_ns]
    chosen = lifetimes(found)
    if arguments.pid is not None:
        pids = sorted({snapshot.pid for snapshot in found})
        chosen = [lifetime for lifetime in chosen if lifetime[0].pid == arguments.pid][:1]
        if not chosen:
            raise UsageError(
                f"{arguments.directory} has no snapshots of a process {arguments.pid}",
                f"It has those of {', '.join(map(str, pids[:20]))}.",
            )
    if len(chosen) <= MAX_PROCESSES:
        return chosen, []
    others = len(chosen) - MAX_PROCESSES
    return chosen[:MAX_PROCESSES], [f"{others} more processes aren't shown; --pid chooses one"]


def _follow(lifetime: Sequence[Snapshot], line: Line, notes: list[str]) -> Growth | None:
    """Read a process's snapshots one by one, and return what grew; None if none can be read.

    What is left out is added to the notes.
    """
    left = _thinned(lifetime, notes)
    last = None
    while left and last is None:
        newest = left.pop()
        last = _read(newest, None, notes)
    if last is None:
        return None
    moments = len(left) + 1
    histories = History(last, moments, "stack"), History(last, moments, "type")
    measure = Measure.of(last)
    taken: list[Snapshot] = []
    counts: list[float] = []
    amounts: list[float] = []
    for number, snapshot in enumerate([*left, newest], start=1):
        line.show(f"snapshot {number} of {moments}: {snapshot.path.name}")
        profile = last if snapshot is newest else _read(snapshot, last, notes)
        if profile is None:
            continue
        for history in histories:
            history.add(len(taken), profile)
        taken.append(snapshot)
        values = [measure.take(sample) for sample in profile.samples]
        counts.append(sum(count for count, _ in values))
        amounts.append(sum(amount for _, amount in values))
    times_h = [(snapshot.time_ns - taken[0].time_ns) / _NS_PER_HOUR for snapshot in taken]
    stacks, types = (history.trends(times_h) for history in histories)
    if histories[0].left_out:
        notes.append(f"{histories[0].left_out} small stacks weren't looked at")
    shown = last.sample_types[measure.amount]
    return Growth(
        taken=tuple(taken),
        sample_type=shown.type,
        unit=shown.unit,
        counted=measure.number is not None,
        total=trend("", times_h, counts, amounts),
        stacks=stacks,
        types=types,
    )


def _thinned(lifetime: Sequence[Snapshot], notes: list[str]) -> list[Snapshot]:
    if len(lifetime) <= MAX_SNAPSHOTS:
        return list(lifetime)
    notes.append(f"{MAX_SNAPSHOTS} of {len(lifetime)} snapshots are looked at, at even steps")
    step = (len(lifetime) - 1) / (MAX_SNAPSHOTS - 1)
    return [lifetime[round(step * number)] for number in range(MAX_SNAPSHOTS)]


def _read(snapshot: Snapshot, like: Profile | None, notes: list[str]) -> Profile | None:
    """Return a snapshot's profile, or None and a note if it isn't one that counts the same."""
    try:
        profile = reading.read(snapshot.path)
        if like:
            check_comparable(profile, like)
        return profile
    except UnreadableProfile as error:
        notes.append(f"left out: {error}")
    except ValueError as error:
        notes.append(f"left out: {snapshot.path} counts other things than the newest: {error}")
    return None


def as_text(arguments: Arguments, found: Sequence[Growth]) -> str:
    """Return the tables of each process."""
    sections = ("\n".join(_section(arguments, growth)) for growth in found)
    return "\n\n".join(sections) + "\n"


def _section(arguments: Arguments, growth: Growth) -> Iterator[str]:
    first, number = growth.taken[0], len(growth.taken)
    unit, total = growth.unit, growth.total
    yield (
        f"{printable(first.program)}, pid {first.pid}, started"
        f" {comparison.moment(first.start_ns)}: {number} {first.kind}"
        f" snapshot{'s' if number > 1 else ''} in {comparison.span(growth.span_ns)}"
    )
    yield (
        f"{growth.sample_type}: {size(total.amount_first, unit)} to"
        f" {size(total.amount_last, unit)}, {signed(total.amount_per_hour, unit)}/h"
    )
    if number == 1:
        yield "there is nothing to compare it with yet"
        return
    if number < MIN_SNAPSHOTS:
        yield f"what differs; for trends it takes {MIN_SNAPSHOTS} snapshots, better {_FEW}"
    elif number < _FEW:
        yield f"so few snapshots tell little; {_FEW} are better"
    for title, trends in (("stack", growth.stacks), ("type", growth.types)):
        yield ""
        yield from _table(arguments, growth, title, trends)


def _table(
    arguments: Arguments, growth: Growth, title: str, trends: Sequence[Trend]
) -> Iterator[str]:
    suspects = [found for found in trends if found.suspect]
    shown: Sequence[Trend] = suspects
    if len(growth.taken) < MIN_SNAPSHOTS or arguments.verbose:
        shown = [found for found in trends if found.amount_last > found.amount_first]
    if not shown:
        yield f"by {title}: nothing grows steadily"
        return
    yield f"by {title}: {len(suspects)} leak suspect{'s' if len(suspects) != 1 else ''}"
    yield (
        f"{'per hour':>10} {'count/h' if growth.counted else '':>9} {'at least':>10}"
        f" {'sure':>6} {'first':>9} {'last':>9}  {title}"
    )
    yield from (_row(growth, found) for found in shown[: arguments.top])
    if len(shown) > arguments.top:
        yield f"and {len(shown) - arguments.top} more; --top {len(shown)} shows all"


def _row(growth: Growth, found: Trend) -> str:
    unit = growth.unit
    per_hour, at_least = signed(found.amount_per_hour, unit), signed(max(found.surely, 0.0), unit)
    count = f"{found.count_per_hour:+,.0f}" if growth.counted else ""
    first, last = size(found.amount_first, unit), size(found.amount_last, unit)
    sure = f"{100 * min(found.confidence, 0.999):.1f}%"
    return (
        f"{per_hour:>10} {count:>9} {at_least:>10} {sure:>6} {first:>9} {last:>9}"
        f"  {comparison.key_text(found.key)}"
    )


def as_json(arguments: Arguments, growths: Sequence[Growth]) -> str:
    """Return the same as one JSON object."""
    processes = [
        {
            "program": growth.taken[0].program,
            "pid": growth.taken[0].pid,
            "kind": growth.taken[0].kind,
            "started_seconds": growth.taken[0].start_ns / 1e9,
            "first_seconds": growth.taken[0].time_ns / 1e9,
            "last_seconds": growth.taken[-1].time_ns / 1e9,
            "snapshots": [str(snapshot.path) for snapshot in growth.taken],
            "sample_type": growth.sample_type,
            "unit": growth.unit,
            "total": _trend_json(growth, growth.total),
            "stacks": [_trend_json(growth, found) for found in growth.stacks[: arguments.top]],
            "types": [_trend_json(growth, found) for found in growth.types[: arguments.top]],
        }
        for growth in growths
    ]
    return json.dumps({"directory": arguments.directory, "processes": processes}) + "\n"


def _trend_json(growth: Growth, found: Trend) -> dict[str, Any]:
    return {
        "what": comparison.key_json(found.key),
        "suspect": found.suspect,
        "amount_per_hour": found.amount_per_hour,
        "late_amount_per_hour": found.late_amount_per_hour,
        "at_least": found.surely,
        "confidence": found.confidence,
        "r_squared": found.r_squared,
        "not_falling": found.not_falling,
        "amount_first": found.amount_first,
        "amount_last": found.amount_last,
        "count_per_hour": found.count_per_hour if growth.counted else None,
        "count_first": found.count_first if growth.counted else None,
        "count_last": found.count_last if growth.counted else None,
    }
