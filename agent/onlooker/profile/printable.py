"""Names from a target are whatever the target wants; a terminal obeys some of what it is sent."""

from __future__ import annotations

from typing import Final

_ESCAPES: Final = {
    ord(character): f"\\{letter}"
    for character, letter in zip('"\\\a\b\f\n\r\t\v', '"\\abfnrtv', strict=True)
}


def printable(text: str) -> str:
    r"""Return the text in one line, with ``\x1b`` and the like for what isn't printable."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def short(text: str, limit: int) -> str:
    """Return the text, or its beginning if it is longer than so many characters."""
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def quoted(text: str) -> str:
    """Return the text as Go's %q has it: where it ends is beyond doubt."""
    return f'"{printable(text.translate(_ESCAPES))}"'
