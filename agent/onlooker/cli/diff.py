"""``onlooker diff``: what differs between two pprof files."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from onlooker.cli import comparison, terminal
from onlooker.cli.arguments import Arguments
from onlooker.errors import UsageError
from onlooker.outputs import reading
from onlooker.profile.amounts import signed, size
from onlooker.profile.difference import Change, Measure, changes, difference
from onlooker.profile.model import Profile


def run(arguments: Arguments) -> int:
    """Print the table, or JSON, and write the difference as a pprof file if asked."""
    comparison.check_output(arguments.output)
    before, after = reading.read(arguments.before), reading.read(arguments.after)
    try:
        found = changes(before, after, arguments.by)
        changed = difference(before, after) if arguments.output is not None else None
    except ValueError as error:
        raise UsageError(
            f"{arguments.before} and {arguments.after} can't be compared: {error}",
            "Give two profiles of the same kind.",
        ) from None
    if after.time_ns < before.time_ns and not arguments.quiet:
        terminal.say("note: BEFORE was taken after AFTER")
    text = as_json if arguments.json else as_text
    what = f"difference: {arguments.after} minus {arguments.before}"
    comparison.finish(arguments, text(arguments, before, after, found), changed, what)
    return 0


def as_text(arguments: Arguments, before: Profile, after: Profile, found: Sequence[Change]) -> str:
    """Return the table."""
    return "".join(f"{line}\n" for line in _lines(arguments, before, after, found))


def _lines(
    arguments: Arguments, before: Profile, after: Profile, found: Sequence[Change]
) -> Iterator[str]:
    measure = Measure.of(after)
    yield (
        f"{comparison.moment(before.time_ns)} to {comparison.moment(after.time_ns)},"
        f" {comparison.span(after.time_ns - before.time_ns)}"
    )
    for index in (measure.amount, measure.number):
        if index is not None:
            yield _total(before, after, index)
    if not found:
        yield "nothing differs"
        return
    shown = greatest(found, arguments.top)
    unit = after.sample_types[measure.amount].unit
    counted = measure.number is not None
    yield ""
    yield f"{'change':>11} {'count' if counted else '':>11} {'before':>10} {'after':>10}  what"
    for change in shown:
        was, is_now = (
            signed(amount, unit).lstrip("+")
            for amount in (change.amount_before, change.amount_after)
        )
        yield (
            f"{signed(change.amount, unit):>11} {f'{change.number:+,}' if counted else '':>11}"
            f" {was:>10} {is_now:>10}  {comparison.key_text(change.key)}"
        )
    if len(shown) < len(found):
        yield f"and {len(found) - len(shown)} more; --top {len(found)} shows all"


def _total(before: Profile, after: Profile, index: int) -> str:
    name, unit = after.sample_types[index].type, after.sample_types[index].unit
    was, is_now = (
        sum(sample.values[index] for sample in profile.samples) for profile in (before, after)
    )
    return f"{name}: {size(was, unit)} to {size(is_now, unit)}, {signed(is_now - was, unit)}"


def greatest(found: Sequence[Change], number: int) -> list[Change]:
    """Return the greatest changes, up or down, in the order that they have."""
    by_size = sorted(found, key=lambda change: (-abs(change.amount), -abs(change.number)))
    chosen = set(map(id, by_size[:number]))
    return [change for change in found if id(change) in chosen]


def as_json(arguments: Arguments, before: Profile, after: Profile, found: Sequence[Change]) -> str:
    """Return the same as one JSON object."""
    measure = Measure.of(after)
    sample_type = after.sample_types[measure.amount]
    counted = measure.number is not None
    compared = {
        "before": arguments.before,
        "after": arguments.after,
        "seconds": (after.time_ns - before.time_ns) / 1e9,
        "by": arguments.by,
        "sample_type": sample_type.type,
        "unit": sample_type.unit,
        "changes": [
            {
                "what": comparison.key_json(change.key),
                "amount": change.amount,
                "amount_before": change.amount_before,
                "amount_after": change.amount_after,
                "count": change.number if counted else None,
                "count_before": change.number_before if counted else None,
                "count_after": change.number_after if counted else None,
            }
            for change in greatest(found, arguments.top)
        ],
        "not_shown": max(0, len(found) - arguments.top),
    }
    return json.dumps(compared) + "\n"
