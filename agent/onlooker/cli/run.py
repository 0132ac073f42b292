"""``onlooker run``: start a program and profile it until it ends."""

from __future__ import annotations

import time
from typing import Final

from onlooker.cli import terminal
from onlooker.cli.arguments import Arguments
from onlooker.cli.children import Child
from onlooker.cli.session import Session
from onlooker.errors import (
    MemoryFault,
    NoSuchProcess,
    NotPermitted,
    NotPython,
    NotReady,
    OnlookerError,
    TargetGone,
    UnsupportedPython,
)
from onlooker.profile.kinds import KINDS
from onlooker.recording import TARGET_ENDED, TARGET_REPLACED, Recording
from onlooker.target import Target

# While a program starts, or executes another one, what is seen of it may fit nothing.
_PATIENCE_S: Final = 2.0
_LONGEST_DELAY_S: Final = 0.5

_ANNOUNCED: Final = "process {}: its picture will be taken {} a signal comes for it"
_WHEN: Final = "--seconds S takes it S seconds after the start."
_HINT: Final = "Where a program starts Python as another process, `onlooker attach` takes that one."


def run(arguments: Arguments) -> int:
    """Run the program, and return its exit status; Onlooker's if only that failed."""
    with Child(arguments.program) as child:
        try:
            _record(arguments, child)
        except OnlookerError as error:
            terminal.error(str(error), error.hint)
            return child.wait() or error.exit_code
        return child.wait()


def _record(arguments: Arguments, child: Child) -> None:
    """Record the child; each program that it becomes by exec is a recording of its own.

    The output that the command line names is the last one's. A picture of a program that has just
    begun shows nothing: it is taken later. Raises what Target, its record and Session raise;
    TargetGone if nothing was recorded.
    """
    finished: list[tuple[Session, Recording]] = []
    alone = all(KINDS[name].instant for name in arguments.profile)
    reason = hint = ""
    while not finished or finished[-1][1].end in {TARGET_ENDED, TARGET_REPLACED}:
        try:
            target = _wait_until_ready(child)
        except _NeverReady as error:
            reason, hint = error.args
            break
        with target:
            session = Session(arguments, target)
            if alone:
                if not arguments.quiet:
                    terminal.say(_ANNOUNCED.format(child.pid, _when(arguments.seconds)))
                child.keep_signal(arguments.seconds)
            try:
                recording = session.record(stop=child.pass_signals_on, own_child=True)
            except TargetGone:
                continue
        finished.append((session, recording))
    if not finished:
        program = " ".join(arguments.program)
        what = "its picture was taken" if alone else "anything was sampled"
        raise TargetGone(f"`{program}` ended before {what}{reason}", hint or _WHEN * alone)
    for number, (session, recording) in enumerate(finished[:-1], 1):
        session.finish(recording, number)
    session, recording = finished[-1]
    session.finish(recording)


def _when(seconds: float | None) -> str:
    return "when" if seconds is None else f"in {seconds:g} s, or when"


class _NeverReady(Exception):
    """The program ended without, or since, having been a running Python. Why, and what to do."""


def _wait_until_ready(child: Child) -> Target:
    """Open the program once it is a running Python. Raises _NeverReady, and what Target does."""
    start_s = time.monotonic()
    reason = hint = ""
    while not child.ended():
        waited_s = time.monotonic() - start_s
        try:
            return Target(child.pid)
        except (NoSuchProcess, TargetGone, MemoryFault):
            pass  # it is about to end, or to be another program
        except NotPython as error:
            reason, hint = f": {error}", _HINT
        except NotReady:
            reason = hint = ""
        except (UnsupportedPython, NotPermitted):
            if waited_s > _PATIENCE_S:
                raise
        child.pass_signals_on(min(max(waited_s / 10, 0.001), _LONGEST_DELAY_S))
    raise _NeverReady(reason, hint)
