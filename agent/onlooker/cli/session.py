"""Recording a process, writing its profiles and telling of them: what attach, run and demo do."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import PurePath
from typing import IO

from onlooker import outputs
from onlooker.cli import limits, terminal
from onlooker.cli.arguments import Arguments
from onlooker.errors import OutputError, UsageError
from onlooker.outputs import files
from onlooker.profile.model import Profile
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
        profiles = {
            kind: recording.profile(kind, all_frames=self._arguments.all_frames)
            for kind in self._paths
        }
        written: list[str] = []
        failure: OutputError | None = None
        for kind, path in self._paths.items():
            if number is not None:
                path = self._numbered(kind, number)
            try:
                files.save(path, self._writer(profiles[kind]))
                written.append(path)
            except OutputError as error:
                failure = failure or error
        self._tell(recording, tuple(profiles.values()), written)
        if failure:
            raise failure

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

    def _writer(self, profile: Profile) -> Callable[[IO[bytes]], None]:
        return lambda file: self._format.write(profile, file)

    def _tell(
        self, recording: Recording, profiles: Sequence[Profile], written: Sequence[str]
    ) -> None:
        from onlooker.cli import summary  # not before the first sample, which would wait for it

        arguments = self._arguments
        if arguments.json:
            text = summary.as_json(self._target, recording, written)
            if arguments.output == files.STDOUT:
                terminal.say(text)
            else:
                terminal.put(text + "\n")
        elif not arguments.quiet:
            for line in summary.lines(self._target, recording, profiles, arguments.verbose):
                terminal.say(line)
            for path in written:
                if path != files.STDOUT:
                    terminal.say(summary.how_to_open(path, self._format.NAME))
        elif arguments.output is None:
            terminal.put("".join(f"{path}\n" for path in written))

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
