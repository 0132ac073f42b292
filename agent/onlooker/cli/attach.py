"""``onlooker attach``: profile a running process."""

from __future__ import annotations

from onlooker.cli.arguments import Arguments
from onlooker.cli.choice import open_target
from onlooker.cli.progress import Bar
from onlooker.cli.session import Session
from onlooker.cli.stopping import StopOnSignal


def run(arguments: Arguments) -> int:
    """Record until the time is up, a signal comes or the target ends."""
    with open_target(arguments) as target, StopOnSignal() as stop:
        session = Session(arguments, target)
        with Bar(arguments.seconds, shown=not arguments.quiet) as bar:
            recording = session.record(stop=stop.asked, progress=bar.update)
        session.finish(recording)
    return 0
