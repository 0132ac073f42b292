"""Names from a target are whatever the target wants; a terminal obeys some of what it is sent."""

from __future__ import annotations


def printable(text: str) -> str:
    r"""Return the text in one line, with ``\x1b`` and the like for what isn't printable."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
