"""The end of what records or pictures a process: files are written, and what came of it is told."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import IO

from onlooker import outputs
from onlooker.cli import terminal
from onlooker.cli.arguments import Arguments
from onlooker.errors import OutputError
from onlooker.outputs import files
from onlooker.profile.model import Profile


def finish(
    arguments: Arguments,
    profiles: Mapping[str, Profile],
    lines: Callable[[], Iterable[str]],
    as_json: Callable[[Sequence[str]], str],
) -> None:
    """Write each profile to its path, and tell of it as the options say.

    ``as_json`` is given the paths that were written. Raises OutputError when all that could be
    written is, and was told.
    """
    from onlooker.cli import summary  # not before the first sample, which would wait for it

    written: list[str] = []
    failure: OutputError | None = None
    for path, profile in profiles.items():
        try:
            files.save(path, writer(arguments.format, profile))
            written.append(path)
        except OutputError as error:
            failure = failure or error
    if arguments.json:
        text = as_json(written)
        if arguments.output == files.STDOUT:
            terminal.say(text)
        else:
            terminal.put(text + "\n")
    elif not arguments.quiet:
        for line in lines():
            terminal.say(line)
        for path in written:
            if path != files.STDOUT:
                terminal.say(summary.how_to_open(path, arguments.format))
    elif arguments.output is None:
        terminal.put("".join(f"{path}\n" for path in written))
    if failure:
        raise failure


def writer(format: str, profile: Profile) -> Callable[[IO[bytes]], None]:
    """Return what writes a profile in this format."""
    format_module = outputs.load(format)
    return lambda file: format_module.write(profile, file)
