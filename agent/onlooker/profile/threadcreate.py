"""Makes the profile of who creates threads, as Go's threadcreate: a count for each stack."""

from __future__ import annotations

from collections import Counter
from typing import Final

from onlooker.profile import build
from onlooker.profile.bootstrap import without_bootstrap
from onlooker.profile.creations import Creations
from onlooker.profile.kinds import KINDS
from onlooker.profile.model import Labels, Location, Profile, Sample

_BEFORE: Final[Labels] = (("created", "before"),)


def threadcreate(
    creations: Creations, recording: build.Recording, *, all_frames: bool = False
) -> Profile:
    """Return the profile: stacks of creators and, of older threads, the functions they run."""
    profile = build.build(
        KINDS["threadcreate"],
        creations.rows,
        creations.stack,
        creations.threads,
        recording,
        values=creations.values,
        all_frames=all_frames,
    )
    entries = Counter(map(_entry, creations.present))
    before = [
        Sample((entry,), (count,), _BEFORE)
        for entry, count in sorted(entries.items(), key=lambda item: (-item[1], item[0]))
    ]
    return profile._replace(samples=(*profile.samples, *before))


def created_meanwhile(profile: Profile) -> Profile:
    """Return the profile without the threads that had been there before."""
    return profile._replace(
        samples=[sample for sample in profile.samples if sample.labels != _BEFORE]
    )


def _entry(stack: tuple[Location, ...]) -> Location:
    """Return the function that a thread was made for, wherever in it the thread is."""
    function = without_bootstrap(stack)[-1].function
    return Location(function, function.start_line)
