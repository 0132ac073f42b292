"""Numbers, sizes and durations as people write them on a command line: 2G, 14d, 1.5h."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable
from typing import Final

_SIZES: Final = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_DURATIONS_S: Final = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}

_NUMBER: Final = r"(\d{1,18}(?:\.\d{1,9})?)\s*"


def size(text: str) -> int:
    """Return bytes. Units are powers of 1024, in either case: K, M, G, T, also as GB or GiB."""
    match = re.fullmatch(rf"{_NUMBER}([kmgt]?)(i?b)?", text.strip().lower(), re.ASCII)
    if not match:
        raise argparse.ArgumentTypeError(f"{text!r} is no size such as 500M or 2G")
    return round(float(match[1]) * _SIZES[match[2]])


def duration(text: str) -> float:
    """Return seconds. Units are s, m, h, d and w; a plain number is of seconds."""
    match = re.fullmatch(rf"{_NUMBER}([smhdw]?)", text.strip().lower(), re.ASCII)
    seconds = float(match[1]) * _DURATIONS_S[match[2]] if match else 0.0
    if not 0 < seconds < 1e10:
        raise argparse.ArgumentTypeError(f"{text!r} is no duration such as 90s, 6h or 14d")
    return seconds


def between(
    name: str, kind: Callable[[str], float], least: float, most: float
) -> Callable[[str], float]:
    """Return what reads a number of these bounds."""

    def convert(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is no {name} from {least:g} to {most:g}")
        return value

    return convert


def pid(text: str) -> int:
    """Return a process id."""
    if not (text.isascii() and text.isdecimal()):
        raise argparse.ArgumentTypeError(f"{text!r} is not a process id; --name takes names")
    return int(text)
