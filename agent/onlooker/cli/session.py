"""Recording a process, writing its profiles and telling of them: what attach, run and demo do."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import PurePath

from onlooker import outputs
from onlooker.cli import ending, limits, terminal
from onlooker.cli.arguments import Arguments
from onlooker.errors import UsageError
from onlooker.outputs import files
from onlooker.profile.printable import printable
from onlooker.target import Progress, Recording, Target


class Session:
    """A recording of one process, by the options of the command line.

    Raises UsageError and OutputError if the output plainly can't be written.
    """

    def __init__(self, arguments: Arguments, target: Target) -> None:
        self._arguments = arguments
        self._target = target
        self._format = outputs.load(arguments.format)
        self._paths = self._choose_paths()
        for path in self._paths.values():
            files.check(path)

    def record(
        self,
        *,
        stop: Callable[[], bool],
        progress: Callable[[Progress], None] = lambda _: None,
        own_child: bool = False,
    ) -> Recording:
        """Record as Target.record does, with what it raises."""
        limits.raise_open_files()
        if self._arguments.verbose:
            progress = self._announced(progress)
        return self._target.record(
            self._arguments.profile,
            self._arguments.seconds,
            rate_hz=self._arguments.rate,
            pause=self._arguments.pause,
            depth=self._arguments.depth,
            context_vars=self._arguments.context_vars,
            own_child=own_child,
            stop=stop,
            progress=progress,
        )

    def finish(self, recording: Recording, number: int | None = None) -> None:
        """Write a file for each kind, and tell about the recording.

        ``number`` sets its files' names apart from those of another recording with the same
        output. Raises OutputError when all that could be written is.
        """
        from onlooker.cli import summary  # not before the first sample, which would wait for it

        profiles = {
            kind: recording.profile(kind, all_frames=self._arguments.all_frames)
            for kind in self._paths
        }
        paths = {
            kind: path if number is None else self._numbered(kind, number)
            for kind, path in self._paths.items()
        }
        ending.finish(
            self._arguments,
            {paths[kind]: profile for kind, profile in profiles.items()},
            lambda: summary.lines(
                self._target, recording, tuple(profiles.values()), self._arguments.verbose
            ),
            lambda written: summary.as_json(self._target, recording, written),
        )

    def _announced(self, progress: Callable[[Progress], None]) -> Callable[[Progress], None]:
        """Return the same, which tells first that the recording has begun."""
        identity = self._target.runtime.identity
        program = f"Python {self._target.version} ({printable(identity.executable)})"
        announcements = [f"recording process {identity.pid}, {program}"]

        def announced(state: Progress) -> None:
            while announcements:
                terminal.say(announcements.pop())
            progress(state)

        return announced

    def _choose_paths(self) -> dict[str, str]:
        kinds, output = self._arguments.profile, self._arguments.output
        if output is None:
            return self._default_paths()
        if output == files.STDOUT:
            if len(kinds) > 1:
                raise UsageError(
                    "standard output takes only one kind of profile",
                    "Give --output a file: each kind gets one of its own, named for it.",
                )
            if self._format.BINARY:
                terminal.refuse_binary()
        if len(kinds) == 1:
            return {kinds[0]: output}
        return {kind: with_word(output, self._format.SUFFIX, kind) for kind in kinds}

    def _default_paths(self) -> dict[str, str]:
        identity, now_ns = self._target.runtime.identity, time.time_ns()
        return {
            kind: files.default_name(
                identity.program, identity.pid, now_ns, kind, self._format.SUFFIX
            )
            for kind in self._arguments.profile
        }

    def _numbered(self, kind: str, number: int) -> str:
        if self._arguments.output is None:
            return self._paths[kind]  # has the time in it
        if self._arguments.output == files.STDOUT:
            return self._default_paths()[kind]
        return with_word(self._paths[kind], self._format.SUFFIX, str(number))


def with_word(path: str, suffix: str, word: str) -> str:
    """Return the path with ``-word`` before its suffix: the format's, or else what it ends with."""
    if not path.endswith(suffix):
        suffix = PurePath(path).suffix
    return f"{path.removesuffix(suffix)}-{word}{suffix}"
