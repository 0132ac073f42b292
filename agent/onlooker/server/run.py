"""Listening, and ending when a signal asks for it."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import signal
import socket
from collections.abc import Callable
from typing import Final

from aiohttp import web

from onlooker.errors import OnlookerError
from onlooker.server import limits, security
from onlooker.server.app import App
from onlooker.server.security import Access
from onlooker.server.settings import Address, Settings

# Together they are less than the second in which a signal has ended all of it.
_ENDING_WORK_S: Final = 0.4
_ENDING_ANSWERS_S: Final = 0.1
_LETTING_GO_S: Final = 0.3


def serve(
    settings: Settings,
    address: Address,
    access: Access,
    *,
    announce: Callable[[str], None],
    log: Callable[[str], None],
    alarm: Callable[[str], None],
) -> None:
    """Serve until SIGTERM or SIGINT comes. ``announce`` is told the URL once it is served.

    Raises UsageError for an address that others reach without having to show anything, and what
    Target does for processes with given ids.
    """
    security.check(address, access)
    # What aiohttp logs are clients' faults; ours are caught before it sees them.
    logging.getLogger("aiohttp").addHandler(logging.NullHandler())
    logging.getLogger("aiohttp").propagate = False
    asyncio.run(
        _serve(
            App(settings, access, address.netloc, log=log, alarm=alarm), address, access, announce
        )
    )


async def _serve(
    app: App, address: Address, access: Access, announce: Callable[[str], None]
) -> None:
    loop = asyncio.get_running_loop()
    asked_to_end = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked_to_end.set)
    starting = asyncio.ensure_future(_start(app, address, access))
    ending = asyncio.ensure_future(asked_to_end.wait())
    await asyncio.wait((starting, ending), return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():
        starting.cancel()
        return
    server, runner = await starting
    try:
        scheme = "https" if access.tls else "http"
        port = server.sockets[0].getsockname()[1]
        announce(f"{scheme}://{Address(address.host, port).netloc}/debug/pprof/")
        watching = asyncio.ensure_future(app.watch_all())
        await ending
        watching.cancel()
    finally:
        server.close()
        await app.workers.stop(_ENDING_WORK_S)
        await runner.cleanup()
        await app.sessions.close(_LETTING_GO_S)


async def _start(
    app: App, address: Address, access: Access
) -> tuple[asyncio.Server, web.AppRunner]:
    await app.sessions.start()
    runner = web.AppRunner(
        app.application(),
        access_log=None,
        handle_signals=False,
        handler_cancellation=True,
        keepalive_timeout=limits.IDLE_S,
        max_line_size=limits.MAX_LINE_BYTES,
        max_field_size=limits.MAX_LINE_BYTES,
        shutdown_timeout=_ENDING_ANSWERS_S,
    )
    await runner.setup()
    assert runner.server is not None
    try:
        server = await asyncio.get_running_loop().create_server(
            limits.Door(runner.server),
            address.host,
            address.port,
            ssl=access.tls,
            ssl_handshake_timeout=limits.HEADERS_S if access.tls else None,
            family=socket.AF_UNSPEC,
        )
    except OSError as error:
        number = error.errno or 0  # asyncio's text says more than is of use
        reason = os.strerror(number) if number in errno.errorcode else str(error)
        raise OnlookerError(f"can't listen on {address.netloc}: {reason}") from None
    return server, runner
