"""Amounts as ``go tool pprof`` writes them: 12.50MB, 1.20s, 42."""

from __future__ import annotations

from typing import Final

# No minutes and hours, in which small functions next to a large total all look like 0.01.
_SCALES: Final = {
    "nanoseconds": ((1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "us"), (1, "ns")),
    "bytes": ((1 << 40, "TB"), (1 << 30, "GB"), (1 << 20, "MB"), (1 << 10, "kB"), (1, "B")),
}

Scale = tuple[int, str]
"""A unit: how much it is, and its suffix."""


def scale_of(total: float, unit: str) -> Scale:
    """Return the greatest unit that the total reaches."""
    scales = _SCALES.get(unit, ((1, ""),))
    return next((scale for scale in scales if abs(total) >= scale[0]), scales[-1])


def scaled(value: float, scale: Scale) -> str:
    """Return the value in a unit, with two decimals unless it is the smallest one."""
    factor, suffix = scale
    if value == 0:
        return "0"
    return f"{value:.0f}{suffix}" if factor == 1 else f"{value / factor:.2f}{suffix}"


def size(value: float, unit: str) -> str:
    """Return the value in the unit that suits it."""
    return scaled(value, scale_of(value, unit))


def signed(value: float, unit: str) -> str:
    """Return a change in the unit that suits it, with a sign unless it is 0."""
    text = size(value, unit)
    return f"+{text}" if value > 0 else text


def percent(value: float, total: float) -> str:
    """Return the share in per cent, as wide as pprof writes it: 12.34%, and 100% in full."""
    share = abs(100 * value / total) if total else 0.0
    return "  100%" if share >= 99.995 else f"{share:5.2f}%"
