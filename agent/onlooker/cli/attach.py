"""``onlooker attach``: profile a running process."""

from __future__ import annotations

import signal

from onlooker.cli.arguments import Arguments
from onlooker.cli.choice import open_target
from onlooker.cli.progress import Bar
from onlooker.cli.session import Session
from onlooker.cli.stopping import StopOnSignal
from onlooker.profile.kinds import KINDS


def run(arguments: Arguments) -> int:
    """Record until the time is up, a signal comes or the target ends."""
    # Whoever creates a thread would wait for as long as we are stopped.
    watches = any(KINDS[name].watched for name in arguments.profile)
    ignored = (signal.SIGTSTP,) if watches else ()
    with open_target(arguments) as target, StopOnSignal(ignored) as stop:
        session = Session(arguments, target)
        with Bar(arguments.seconds, shown=not arguments.quiet) as bar:
            recording = session.record(stop=stop.asked, progress=bar.update)
        session.finish(recording)
    return 0
