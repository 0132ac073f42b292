"""pprof: one gzip-compressed Profile message, as ``go tool pprof`` and most services read it."""

from __future__ import annotations

from typing import IO, Final

from onlooker.profile.model import Profile

NAME: Final = "pprof"
SUFFIX: Final = ".pb.gz"
BINARY: Final = True

# Go's choice too: the better levels take several times longer for some per cent of size.
COMPRESSION_LEVEL: Final = 1


def write(profile: Profile, file: IO[bytes]) -> None:
    """Write the profile; the same profile always gives the same bytes."""
    # Not before they are needed, for loading protobuf takes longer than finding a process.
    import gzip

    from onlooker.outputs.pprof_message import Encoder

    # gzip would note the time and the file's name, which differ from one writing to the next.
    with gzip.GzipFile("", "wb", COMPRESSION_LEVEL, fileobj=file, mtime=0) as packed:
        Encoder(packed).write(profile)
