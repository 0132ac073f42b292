"""What a program's source says about the stacks that it can have."""

import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from onlooker.profile.model import Location

_CALLS = re.compile(r"  #: (.+)$")

#: The frames in which all threads begin.
_ROOTS = frozenset({"<module>", "_bootstrap"})


class Rules:
    """Which stacks a program can have whose lines that call end in `#: callee ...`.

    ``entries`` are the functions that code elsewhere may call, such as the target of a thread.
    """

    def __init__(self, program: Path, entries: Sequence[str]) -> None:
        self._name = program.name
        self._entries = frozenset(entries)
        self._callees: dict[int, frozenset[str]] = {}
        for number, line in enumerate(program.read_text(encoding="utf-8").splitlines(), start=1):
            match = _CALLS.search(line)
            if match:
                self._callees[number] = frozenset(match[1].split())

    def objection(self, stack: Sequence[Location]) -> str:
        """Why the program can't have this stack, leaf first and complete; empty if it can."""
        if not stack:
            return "it has no frames"
        for callee, caller in pairwise(stack):
            if not self._is_ours(callee):
                continue
            name = short_name(callee)
            if not self._is_ours(caller):
                if name not in self._entries:
                    return f"{name} can't be called from {caller.function.name}"
            elif name not in self._callees.get(caller.line, ()):
                return f"{name} can't be called from line {caller.line}"
        root = short_name(stack[-1])
        return "" if root in _ROOTS else f"it ends in {root}"

    def _is_ours(self, location: Location) -> bool:
        return Path(location.function.filename).name == self._name


def short_name(location: Location) -> str:
    """The function's name without what it is a part of."""
    return location.function.system_name.rpartition(".")[2]


def text(stack: Sequence[Location]) -> str:
    """The stack as a failing test shows it, leaf first."""
    return " < ".join(f"{short_name(location)}:{location.line}" for location in stack)
