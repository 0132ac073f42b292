"""How long clients may take, and how many there may be, so that none can use up the server."""

from __future__ import annotations

import asyncio
from typing import Final

from aiohttp import web

#: A request's first line, and each of its headers.
MAX_LINE_BYTES: Final = 8190
MAX_CONNECTIONS: Final = 256
#: As aiohttp has it, whose application counts what is read.
MAX_BODY_BYTES: Final = 1 << 20
#: From the connection to the end of the first request's headers.
HEADERS_S: Final = 10.0
IDLE_S: Final = 75.0
#: For the client to take an answer.
SENDING_S: Final = 60.0


class Door:
    """Makes a protocol for each connection, and closes those on which nobody asks anything."""

    def __init__(
        self,
        server: web.Server,
        *,
        headers_s: float = HEADERS_S,
        most: int = MAX_CONNECTIONS,
    ) -> None:
        self._server = server
        self._headers_s = headers_s
        self._most = most

    def __call__(self) -> asyncio.BaseProtocol:
        """Return the protocol of a new connection."""
        if len(self._server.connections) >= self._most:
            return _Refusal()
        protocol = self._server()
        _SILENT.add(protocol)
        asyncio.get_running_loop().call_later(self._headers_s, _close_if_silent, protocol)
        return protocol


class _Refusal(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.abort()


#: Those on which nobody has asked anything yet.
_SILENT: Final[set[web.RequestHandler]] = set()


def has_asked(request: web.Request) -> None:
    """Note that somebody asks on the request's connection; aiohttp minds it from now on."""
    _SILENT.discard(request.protocol)


def _close_if_silent(protocol: web.RequestHandler) -> None:
    if protocol in _SILENT:
        _SILENT.remove(protocol)
        protocol.force_close()


async def body(request: web.Request) -> str:
    """Return what a request has for a body. Raises web.HTTPException for too much of it."""
    if (request.content_length or 0) > MAX_BODY_BYTES:
        raise web.HTTPRequestEntityTooLarge(MAX_BODY_BYTES, request.content_length or 0)
    try:
        return (await asyncio.wait_for(request.read(), HEADERS_S)).decode("latin-1")
    except asyncio.TimeoutError:
        raise web.HTTPRequestTimeout from None


async def send(
    request: web.Request, response: web.StreamResponse, sending_s: float = SENDING_S
) -> None:
    """Send a whole answer; a client that doesn't take it in time is hung up on."""

    async def whole() -> None:
        await response.prepare(request)
        await response.write_eof()

    try:
        await asyncio.wait_for(whole(), sending_s)
    except asyncio.TimeoutError:
        if request.transport:
            request.transport.abort()
        raise ConnectionResetError("the client did not take the answer") from None
