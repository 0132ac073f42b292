"""Addresses for locations, which have none: every format that needs some has the same."""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

from onlooker.profile.model import Location

# They fill what is the user half of an x86-64 address space: rarely does a hash collide, and
# JavaScript viewers hold every address exactly. The range is always the same, so that tools
# recognise it as one mapping when they merge or compare files.
MEMORY_START: Final = 0x1000
MEMORY_LIMIT: Final = 1 << 47


class Addresses:
    """The addresses of one profile's locations."""

    def __init__(self) -> None:
        self._taken: set[int] = set()

    def new(self, location: Location) -> int:
        """Return an address that no other location has; to be asked once for each.

        It depends on nothing but the location (unless two hashes collide: then on which comes
        first), so that it is the same in every file: Alloy and Datadog tell two stacks apart by
        their addresses alone.
        """
        (name, system_name, filename, start_line), line = location
        text = f"{filename}\0{name}\0{system_name}\0{start_line}\0{line}"
        digest = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        size = MEMORY_LIMIT - MEMORY_START
        offset = int.from_bytes(digest, "little") % size
        while offset in self._taken:
            offset = (offset + 1) % size
        self._taken.add(offset)
        return MEMORY_START + offset
