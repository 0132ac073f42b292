"""``onlooker serve``: Go's /debug/pprof/ for Python processes, over HTTP."""

from __future__ import annotations

import json

from onlooker.cli import limits, terminal
from onlooker.cli.arguments import Arguments
from onlooker.errors import OnlookerError


def run(arguments: Arguments) -> int:
    """Serve until a signal comes."""
    try:
        from onlooker.server import security
        from onlooker.server.run import serve
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in {"aiohttp", "prometheus_client"}:
            raise
        raise OnlookerError(
            f"`onlooker serve` needs the package {error.name}, which is not installed",
            "pip install 'onlooker[serve]' installs all that it needs.",
        ) from None
    from onlooker.server.settings import Settings, parse_address

    settings = Settings(
        pids=tuple(arguments.pids),
        pattern=arguments.name,
        rate_hz=arguments.rate,
        background_hz=arguments.background_rate,
        pause=arguments.pause,
        context_vars=tuple(arguments.context_vars),
        depth=arguments.depth,
        all_frames=arguments.all_frames,
        max_profiles=arguments.max_profiles,
        max_seconds=arguments.max_seconds,
    )
    access = security.make_access(
        arguments.token_file, arguments.tls_cert, arguments.tls_key, arguments.tls_client_ca
    )

    def announce(url: str) -> None:
        if arguments.json:
            terminal.put(json.dumps({"url": url}) + "\n")
        elif not arguments.quiet:
            terminal.say(f"serving {url}")

    def log(line: str) -> None:
        if arguments.verbose:
            terminal.say(line)

    limits.raise_open_files()
    serve(
        settings,
        parse_address(arguments.listen),
        access,
        announce=announce,
        log=log,
        alarm=terminal.say,
    )
    return 0
