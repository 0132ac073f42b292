"""``onlooker demo``: profile a small busy program of our own, the newcomer's first command."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from onlooker.cli import terminal
from onlooker.cli.arguments import Arguments
from onlooker.cli.progress import Bar
from onlooker.cli.session import Session
from onlooker.cli.stopping import StopOnSignal
from onlooker.errors import OnlookerError
from onlooker.target import Target

_PROGRAM: Final = Path(__file__).with_name("demo_program.py")


def run(arguments: Arguments) -> int:
    """Start the program, record it for a while, and end it."""
    with StopOnSignal() as stop, _program() as pid, Target(pid) as target:
        session = Session(arguments, target)
        if not (arguments.quiet or arguments.json):
            terminal.say(f"profiling a small program for {arguments.seconds:g} s: {_PROGRAM}")
        with Bar(arguments.seconds, shown=not arguments.quiet) as bar:
            recording = session.record(stop=stop.asked, progress=bar.update)
        session.finish(recording)
    return 0


@contextmanager
def _program() -> Iterator[int]:
    """Run the program; yields its process id when it is busy."""
    with subprocess.Popen(
        [sys.executable, "-I", str(_PROGRAM)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C is for us
    ) as process:
        assert process.stdin and process.stdout
        if not process.stdout.readline():
            raise OnlookerError(f"the demo's program, {_PROGRAM}, could not be started")
        yield process.pid
        process.stdin.close()  # upon which it ends, as it does should we be killed
