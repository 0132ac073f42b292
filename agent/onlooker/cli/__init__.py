"""The command ``onlooker``. Here, and nowhere else, errors become messages and exit codes."""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Protocol, cast

from onlooker.cli import terminal
from onlooker.errors import OnlookerError

if TYPE_CHECKING:
    from onlooker.cli.arguments import Arguments

_INTERRUPTED = 130  # 128 + SIGINT, as shells have it

# A profile is hundreds of thousands of tuples without a cycle among them; modules are no garbage.
_COLLECTED_AFTER = 100_000


class Command(Protocol):
    """What every command's module has. ``run`` returns the exit code."""

    def run(self, arguments: Arguments) -> int: ...


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line (``sys.argv`` without one), and return the exit code."""
    verbose = False
    gc.set_threshold(_COLLECTED_AFTER)
    try:
        from onlooker.cli.arguments import parse  # not before, as it would be collected meanwhile

        if argv is None:
            sys.argv[0] = "onlooker"  # profiles tell their command line; how it was found is noise
        arguments = parse(sys.argv[1:] if argv is None else argv)
        verbose = arguments.verbose
        command = cast(Command, import_module(f"{__name__}.{arguments.command}"))
        return command.run(arguments)
    except OnlookerError as error:
        terminal.error(str(error), error.hint)
        return error.exit_code
    except KeyboardInterrupt:
        return _INTERRUPTED
    except Exception as error:
        terminal.error(f"internal error: {type(error).__name__}: {error}", _REPORT)
        if verbose:
            terminal.traceback()
        return OnlookerError.exit_code


_REPORT = "This is a fault of Onlooker's. --verbose shows where it happened."
