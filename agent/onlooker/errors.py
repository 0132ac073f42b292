"""What can go wrong, one class per situation that a user can tell apart.

``str(error)`` says what failed and why, ``error.hint`` what to do next (it may be empty), and
``exit_code`` is what every command ends with.
"""

from __future__ import annotations

from typing import ClassVar


class OnlookerError(Exception):
    """Base of every error that is reported to the user without a traceback."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class UsageError(OnlookerError):
    """The command line contradicts itself or asks for something that doesn't exist."""

    exit_code = 2


class InUse(UsageError):
    """Only one at a time can do this, and somebody is doing it."""


class UnreadableProfile(UsageError):
    """A file that was given is no pprof profile, is damaged, or can't be read at all."""


class NoSuchProcess(OnlookerError):
    """No process has this id in our pid namespace, or it is a zombie."""

    exit_code = 3


class NotPython(OnlookerError):
    """The process runs no CPython interpreter."""

    exit_code = 4


class UnsupportedPython(OnlookerError):
    """The process runs a Python whose structures we don't know, or whose structures don't fit."""

    exit_code = 4


class NotReady(OnlookerError):
    """The interpreter hasn't been initialised yet, or is already being finalised."""

    exit_code = 4


class NotTracing(OnlookerError):
    """The process doesn't keep what was asked for, since it was not started so."""

    exit_code = 4


class NotPermitted(OnlookerError):
    """The kernel doesn't let us look into the process."""

    exit_code = 5


class TargetGone(OnlookerError):
    """The process ended, or replaced itself by another program, while we looked into it."""

    exit_code = 6


class OutputError(OnlookerError):
    """The profile could not be written."""

    exit_code = 7


class MemoryFault(OnlookerError):
    """An address of the target can't be read: it isn't mapped, or the value was no address."""
