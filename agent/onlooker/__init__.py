"""Looks into a running Python process from the outside and writes what it sees as pprof profiles.

    import onlooker

    with onlooker.Target(pid) as target:
        recording = target.record(["cpu"], seconds=10)
    with open("cpu.pb.gz", "wb") as file:
        onlooker.write(recording.profile("cpu"), file)

Errors are subclasses of ``onlooker.OnlookerError``; ``hint`` says what to do next.
"""

from __future__ import annotations

from importlib import import_module
from typing import IO, TYPE_CHECKING

from onlooker.errors import OnlookerError

if TYPE_CHECKING:
    from onlooker.profile.model import Function, Location, Profile, Sample, ValueType
    from onlooker.profile.snapshot import GreenletStack, Snapshot, TaskStack, ThreadStack
    from onlooker.target import Recording, Target
else:
    # Not before they are asked for, since the command, which is in here, begins with less.
    _HOMES = {
        "profile.model": ("Function", "Location", "Profile", "Sample", "ValueType"),
        "profile.snapshot": ("GreenletStack", "Snapshot", "TaskStack", "ThreadStack"),
        "target": ("Recording", "Target"),
    }

    def __getattr__(name):
        for home, names in _HOMES.items():
            if name in names:
                return getattr(import_module(f"{__name__}.{home}"), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__():
        return sorted({*globals(), *__all__})


__all__ = [
    "Function",
    "GreenletStack",
    "Location",
    "OnlookerError",
    "Profile",
    "Recording",
    "Sample",
    "Snapshot",
    "Target",
    "TaskStack",
    "ThreadStack",
    "ValueType",
    "write",
]


def write(profile: Profile, file: IO[bytes], format: str = "pprof") -> None:
    """Write the profile to a binary file. KeyError for a format that does not exist."""
    from onlooker import outputs

    outputs.load(format).write(profile, file)
