"""Answers as Go's net/http and net/http/pprof give them, to the byte.

Clients of many kinds know these: ``go tool pprof`` shows the text of an answer with X-Go-Pprof.
"""

from __future__ import annotations

import html
import re
from typing import Final

from aiohttp import web

from onlooker.profile.printable import printable

TEXT: Final = "text/plain; charset=utf-8"
HTML: Final = "text/html; charset=utf-8"
BINARY: Final = "application/octet-stream"

_INTEGER: Final = re.compile(r"([+-]?)0*([0-9]+)", re.ASCII)
_MAX_INT: Final = (1 << 63) - 1
_MAX_DIGITS: Final = len(str(_MAX_INT))


def integer(text: str) -> tuple[int, bool]:
    """Return what Go's strconv.Atoi makes of a text, and whether that is without an error.

    A number beyond 64 bits is an error, and yet the largest (or smallest) one.
    """
    found = _INTEGER.fullmatch(text)
    if not found:
        return 0, False
    sign = -1 if found[1] == "-" else 1
    magnitude = int(found[2]) if len(found[2]) <= _MAX_DIGITS else _MAX_INT + 2
    limit = _MAX_INT + (sign < 0)
    return sign * min(magnitude, limit), magnitude <= limit


def answer(body: bytes, content_type: str, *, filename: str = "") -> web.Response:
    """Return a success, to be saved under a name if one is given."""
    response = web.Response(body=body, headers=_headers(content_type))
    if filename:
        response.headers["Content-Disposition"] = _attachment(filename)
    return response


def head(content_type: str, filename: str = "") -> web.StreamResponse:
    """Return a success that a HEAD gets: what is not asked for need not be made."""
    response = web.StreamResponse(headers=_headers(content_type))
    if filename:
        response.headers["Content-Disposition"] = _attachment(filename)
    return response


def error(status: int, *lines: str) -> web.Response:
    """Return a refusal of net/http/pprof's own."""
    headers = {**_headers(TEXT), "X-Go-Pprof": "1"}
    body = b"".join(_line(printable(line)) for line in lines if line)
    return web.Response(status=status, body=body, headers=headers)


def not_found() -> web.Response:
    """Return what a path gets that nothing serves."""
    return web.Response(status=404, body=b"404 page not found\n", headers=_headers(TEXT))


def method_not_allowed() -> web.Response:
    """Return what all methods but GET and HEAD get."""
    headers = {**_headers(TEXT), "Allow": "GET, HEAD"}
    return web.Response(status=405, body=b"Method Not Allowed\n", headers=headers)


def redirect(location: str) -> web.Response:
    """Return what a path without its last slash gets."""
    body = f'<a href="{html.escape(location)}">Temporary Redirect</a>.\n\n'.encode()
    return web.Response(status=307, body=body, headers={"Content-Type": HTML, "Location": location})


def _headers(content_type: str) -> dict[str, str]:
    return {"Content-Type": content_type, "X-Content-Type-Options": "nosniff"}


def _attachment(filename: str) -> str:
    return f'attachment; filename="{filename}"'


def _line(text: str) -> bytes:
    return f"{text}\n".encode("utf-8", "backslashreplace")
