"""``onlooker heap``: what holds the memory of a process, or of several, now."""

from __future__ import annotations

import time
from pathlib import Path

from onlooker import outputs, snapshots
from onlooker.cli import ending, heap_summary, limits, terminal
from onlooker.cli.arguments import Arguments
from onlooker.cli.choice import matching, open_target
from onlooker.cli.line import Line
from onlooker.errors import OnlookerError, UsageError
from onlooker.heap import MemoryPicture
from onlooker.outputs import files
from onlooker.profile.model import Profile
from onlooker.target import Target


def run(arguments: Arguments) -> int:
    """Write the profile and tell of it; or answer --who or --object."""
    limits.raise_open_files()
    if arguments.who is not None or arguments.object is not None:
        from onlooker.cli import holders  # not before it is asked for, as few do

        return holders.run(arguments)
    if arguments.snapshot_dir is not None:
        return _Snapshots(arguments, Path(arguments.snapshot_dir)).take()
    if arguments.keep or arguments.max_bytes is not None or arguments.max_age is not None:
        raise UsageError(
            "--keep, --max-bytes and --max-age are for snapshots", "Give a directory with --dir."
        )
    return _write_one(arguments)


def _write_one(arguments: Arguments) -> int:
    format_module = outputs.load(arguments.format)
    if arguments.output == files.STDOUT and format_module.BINARY:
        terminal.refuse_binary()
    with open_target(arguments) as target:
        identity = target.runtime.identity
        path = arguments.output or files.default_name(
            identity.program,
            identity.pid,
            time.time_ns(),
            arguments.heap_kind,
            format_module.SUFFIX,
        )
        files.check(path)
        picture, profile = _picture(arguments, target)
        ending.finish(
            arguments,
            {path: profile},
            lambda: heap_summary.lines(target, picture, profile, arguments.top),
            lambda written: heap_summary.as_json(target, picture, written[0] if written else None),
        )
    return 0


def _picture(arguments: Arguments, target: Target) -> tuple[MemoryPicture, Profile]:
    with Line(shown=not arguments.quiet) as line:
        picture = target.picture(
            source=arguments.source,
            by=arguments.heap_by,
            freeze=arguments.freeze,
            progress=line.show_objects,
        )
    profile = target.picture_profile(picture, arguments.heap_kind, all_frames=arguments.all_frames)
    return picture, profile


class _Snapshots:
    """A run for cron: a snapshot of each process that is meant, then what is too old goes."""

    def __init__(self, arguments: Arguments, directory: Path) -> None:
        if arguments.output is not None or arguments.format != "pprof":
            raise UsageError(
                "snapshots are pprof files with names of their own",
                "Leave out --output and --format, or --dir.",
            )
        self._arguments = arguments
        self._directory = directory
        self._now_ns = time.time_ns()
        self._failure: OnlookerError | None = None

    def take(self) -> int:
        """Return 0 if all went well, else the exit code of what failed first.

        What can't be looked into is told, and the others go on.
        """
        pids = self._pids()
        with snapshots.lock(self._directory):
            for pid in pids:
                try:
                    self._one(pid)
                except OnlookerError as error:
                    if len(pids) == 1:
                        raise
                    self._failure = self._failure or error
                    terminal.error(f"process {pid}: {error}", error.hint)
            self._retain()
        return self._failure.exit_code if self._failure else 0

    def _pids(self) -> list[int]:
        if self._arguments.pid is not None:
            return [self._arguments.pid]
        return [process.pid for process in matching(self._arguments.name or "")]

    def _one(self, pid: int) -> None:
        arguments = self._arguments
        with Target(pid) as target:
            identity = target.runtime.identity
            name = snapshots.snapshot_name(
                identity.program, pid, identity.start_time_ns, self._now_ns, arguments.heap_kind
            )
            picture, profile = _picture(arguments, target)
            snapshots.save(self._directory, name, ending.writer("pprof", profile))
            path = str(self._directory / name)
            if arguments.json:
                terminal.put(heap_summary.as_json(target, picture, path) + "\n")
            elif not arguments.quiet:
                terminal.put(f"{path}\n")

    def _retain(self) -> None:
        arguments = self._arguments
        removed = snapshots.retain(
            self._directory,
            keep=arguments.keep,
            max_bytes=arguments.max_bytes,
            max_age_s=arguments.max_age,
            now_ns=self._now_ns,
        )
        if arguments.verbose:
            for path in removed:
                terminal.say(f"removed {path}")
