"""Names of the addresses that texts had lately, for ``go tool pprof``: it reads none in a text."""

from __future__ import annotations

import re
import threading
from typing import Final

_LIMIT: Final = 1 << 16
_LINE: Final = re.compile(r"#\t0x([0-9a-f]+)\t+([^\t]+)")
_OFFSET: Final = re.compile(r"\+0x[0-9a-f]+$")
_ASKED: Final = re.compile(r"0x([0-9A-Fa-f]{1,16})", re.ASCII)


class Symbols:
    """The names by address, of all processes: an address is of a name and a place, wherever.

    Any thread may call it.
    """

    def __init__(self, most: int = _LIMIT) -> None:
        self._most = most
        self._names: dict[int, str] = {}
        self._lock = threading.Lock()

    def learn(self, text: str) -> None:
        """Take the names in a profile's text (outputs/text.py)."""
        with self._lock:
            for line in text.splitlines():
                found = _LINE.match(line)
                if found:
                    address = int(found[1], 16)
                    self._names.pop(address, None)  # now it is the latest
                    self._names[address] = _OFFSET.sub("", found[2])
            for address in list(self._names)[: -self._most]:
                del self._names[address]

    def answer(self, asked: str) -> str:
        """Return what Go's answers to addresses joined by ``+``: a line for each that is known.

        One that is to be returned to, as stacks have them, is behind the call: Go's are, too.
        """
        lines = ["num_symbols: 1"]
        for text in asked.split("+"):
            if found := _ASKED.fullmatch(text.strip()):
                address = int(found[1], 16)
                name = self._names.get(address) or self._names.get(address - 1)
                if name:
                    lines.append(f"{address:#x} {name}")
        return "".join(f"{line}\n" for line in lines)
