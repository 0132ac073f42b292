"""What a picture of memory came to: for people, and as JSON."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any, Final

from onlooker.cli.terminal import BOLD, YELLOW, styled
from onlooker.heap import MemoryPicture
from onlooker.observe.heap import HeapType
from onlooker.profile import holding, top
from onlooker.profile.amounts import percent, size
from onlooker.profile.model import Profile
from onlooker.profile.printable import printable
from onlooker.target import Target

_TYPES_IN_JSON: Final = 1000


def lines(target: Target, picture: MemoryPicture, profile: Profile, rows: int) -> Iterator[str]:
    """Yield the lines for people."""
    identity = target.runtime.identity
    stood = f"it stood still for {picture.pause_ns / 1e6:.1f} ms"
    if picture.freeze == "none":
        stood = "it was read while it went on"
    yield styled(
        f"{printable(identity.program)}, pid {identity.pid}, Python {target.version}:"
        f" heap from {picture.source}; {stood}",
        BOLD,
    )
    if picture.rows:
        total = sum(row.size for row in picture.rows)
        yield f"{size(total, 'bytes')} resident:"
        for row in picture.rows:
            yield f"{size(row.size, 'bytes'):>10} {percent(row.size, total)}  {row.what}"
    if picture.types:
        if picture.by == "path":
            yield from holding.lines(profile, rows)
        yield from _types(picture, rows)
    else:
        yield from top.lines(profile, rows)
    for note in picture.notes:
        yield styled(f"note: {printable(note)}", YELLOW)


def _largest(picture: MemoryPicture, most: int) -> list[HeapType]:
    return sorted(picture.types, key=lambda kind: -kind.all_size)[:most]


def _types(picture: MemoryPicture, rows: int) -> Iterator[str]:
    yield f"{'objects':>10} {'bytes':>10} {'mean':>9}  type"
    for kind in _largest(picture, rows):
        objects, total = kind.all_objects, kind.all_size
        if objects:
            mean = size(total / objects, "bytes")
            yield f"{objects:>10} {size(total, 'bytes'):>10} {mean:>9}  {printable(kind.qualified)}"


def as_json(target: Target, picture: MemoryPicture, path: str | None) -> str:
    """Return one line of JSON. ``path`` is that of the file, None if it couldn't be written."""
    identity = target.runtime.identity
    summary: dict[str, Any] = {
        "pid": identity.pid,
        "program": identity.program,
        "python": target.version,
        "file": path,
        "source": picture.source,
        "freeze": picture.freeze,
        "pause_seconds": picture.pause_ns / 1e9,
        "time": picture.time_ns / 1e9,
        "resident": {row.what: row.size for row in picture.rows},
        "totals": picture.totals._asdict() if picture.totals else None,
        "types": [
            {
                "type": kind.qualified,
                "objects": kind.all_objects,
                "bytes": kind.all_size,
            }
            for kind in _largest(picture, _TYPES_IN_JSON)
            if kind.all_objects
        ],
        "comments": list(picture.comments),
        "cpu_seconds": time.process_time(),
    }
    return json.dumps(summary)
