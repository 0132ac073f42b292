"""How much memory a process has, as the kernel accounts it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from typing import Final

from onlooker.runtime.identity import read_status

# Of /proc/PID/status and /proc/PID/smaps_rollup (proc(5)): resident, at most until now, mapped,
# swapped, and resident with each page shared by n processes counted as an nth.
_STATUS: Final = ("VmRSS", "VmHWM", "VmSize", "VmSwap")
_ROLLUP: Final = ("Pss",)
_ROLLUP_LINES: Final = 64
_KIB: Final = 1024


def memory_status(pid: int) -> tuple[str, ...]:
    """Return lines such as ``VmRSS = 10485760``, in bytes: of each number that can be had."""
    numbers: dict[str, str] = {}
    with suppress(OSError, ValueError):
        numbers.update(read_status(pid))
    with suppress(OSError, ValueError):
        numbers.update(_rollup(pid))
    return tuple(_lines(numbers))


def _rollup(pid: int) -> Iterator[tuple[str, str]]:
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii", errors="replace") as file:
        for line in islice(file, _ROLLUP_LINES):
            name, _, value = line.partition(":")
            yield name, value


def _lines(numbers: dict[str, str]) -> Iterator[str]:
    for name in (*_STATUS, *_ROLLUP):
        number, _, unit = numbers.get(name, "").strip().partition(" ")
        if number.isdecimal() and unit == "kB":
            yield f"{name} = {int(number) * _KIB}"
