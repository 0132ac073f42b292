"""Folded stacks, a line ``root;...;leaf VALUE`` each, as flamegraph.pl and others read them."""

from __future__ import annotations

from collections import defaultdict
from typing import IO, Final

from onlooker.profile.model import Location, Profile
from onlooker.profile.printable import printable

NAME: Final = "folded"
SUFFIX: Final = ".folded.txt"
BINARY: Final = False


def write(profile: Profile, file: IO[bytes]) -> None:
    """Write the value that the profile shows first, added up over all threads."""
    index = profile.default_index
    totals: dict[str, int] = defaultdict(int)
    for sample in profile.samples:
        totals[_folded(sample.stack)] += sample.values[index]
    for stack, value in totals.items():
        # Lone surrogates, which file names may hold, have no UTF-8.
        file.write(f"{stack} {value}\n".encode("utf-8", "backslashreplace"))


def _folded(stack: tuple[Location, ...]) -> str:
    # The format has no way to quote its separator.
    names = (printable(location.function.name).replace(";", ":") for location in reversed(stack))
    return ";".join(names)
