"""Looks into a running Python process from the outside and writes what it sees as pprof profiles.

    import onlooker

    with onlooker.Target(pid) as target:
        recording = target.record(["cpu"], seconds=10)
    with open("cpu.pb.gz", "wb") as file:
        onlooker.write(recording.profile("cpu"), file)

Errors are subclasses of ``onlooker.OnlookerError``; ``hint`` says what to do next.
"""

from typing import IO

from onlooker.errors import OnlookerError
from onlooker.profile.model import Function, Location, Profile, Sample, ValueType
from onlooker.profile.snapshot import GreenletStack, Snapshot, TaskStack, ThreadStack
from onlooker.target import Recording, Target

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
