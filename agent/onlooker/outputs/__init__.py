"""One module per output format, found by its presence beside this file.

The name of the module is the name of the format. Nothing is imported to list the names, so that
a command that only offers them as choices starts quickly.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import IO, Final, Protocol, cast

from onlooker.profile.model import Profile

_OTHER_MODULES: Final = {"addresses", "files", "pprof_message", "profile_pb2", "reading"}


class Format(Protocol):
    """What every format module has.

    ``SUFFIX`` ends the default file name, ``BINARY`` tells that a terminal can't show the data,
    and ``write`` raises only what writing to the file raises.
    """

    NAME: str
    SUFFIX: str
    BINARY: bool

    def write(self, profile: Profile, file: IO[bytes]) -> None: ...


def names() -> tuple[str, ...]:
    """Return the names of all formats, sorted."""
    # Not by pkgutil, which loads inspect and with it half a compiler.
    modules = {file.stem for file in Path(__file__).parent.glob("[!_]*.py")}
    return tuple(sorted(modules - _OTHER_MODULES))


def load(name: str) -> Format:
    """Return the format of this name; KeyError if there is none."""
    if name not in names():
        raise KeyError(name)
    return cast(Format, importlib.import_module(f"{__name__}.{name}"))
