"""``onlooker heap --who`` and ``--object``: who holds the objects of a type, what one object is."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict

from onlooker import holders
from onlooker.cli import terminal
from onlooker.cli.arguments import Arguments
from onlooker.cli.choice import open_target
from onlooker.cli.line import Line
from onlooker.holders import Held, Instances, Reference, Story
from onlooker.profile.amounts import size
from onlooker.profile.printable import printable


def run(arguments: Arguments) -> int:
    """Print the answer, as text or JSON."""
    with open_target(arguments) as target, Line(shown=not arguments.quiet) as line:
        answer: Instances | Story
        if arguments.who is not None:
            answer = holders.who(
                target.runtime, arguments.who, freeze=arguments.freeze, progress=line.show_objects
            )
            text = _instances(answer, arguments.top)
        else:
            assert arguments.object is not None  # argparse sees to it
            answer = holders.tell_object(
                target.runtime,
                arguments.object,
                freeze=arguments.freeze,
                progress=line.show_objects,
            )
            text = _story(answer)
    if arguments.json:
        terminal.put(json.dumps(asdict(answer)) + "\n")
    else:
        terminal.put("".join(f"{printable(line)}\n" for line in text))
    return 0


def _instances(found: Instances, rows: int) -> Iterator[str]:
    yield f"{found.objects} of {found.type}, {size(found.size, 'bytes')} themselves"
    yield ""
    yield f"{'objects':>10} {'bytes':>10}  held by"
    for path, objects, total in found.paths[:rows]:
        yield f"{objects:>10} {size(total, 'bytes'):>10}  {_path(path)}"
    if len(found.paths) > rows:
        yield f"and {len(found.paths) - rows} other ways"
    yield ""
    yield f"{'retained':>10} {'itself':>10}  the largest"
    for held in found.largest:
        yield _row(held)


def _story(story: Story) -> Iterator[str]:
    held = story.held
    yield f"{held.type} at {held.address:#x}"
    yield f"  itself {size(held.size, 'bytes')}, with all that it alone holds"
    yield f"  {size(held.retained, 'bytes')}"
    yield f"  held by {_path(held.path)}"
    yield f"{story.referrer_count} references to it"
    yield from _references(story.referrers)
    yield "it refers to"
    yield from _references(story.references)


def _references(references: Sequence[Reference]) -> Iterator[str]:
    for each in references:
        yield f"  {each.address:#x}  {each.how}: {each.type}"


def _row(held: Held) -> str:
    retained, own = size(held.retained, "bytes"), size(held.size, "bytes")
    return f"{retained:>10} {own:>10}  {held.address:#x}  {_path(held.path)}"


def _path(path: Sequence[str]) -> str:
    return " > ".join(reversed(path))
