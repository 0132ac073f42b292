"""What a server is told when it starts."""

from __future__ import annotations

from typing import Final, NamedTuple

from onlooker.errors import UsageError
from onlooker.observe.recorder import Pause

DEFAULT_LISTEN: Final = "127.0.0.1:6061"
DEFAULT_MAX_PROFILES: Final = 8
DEFAULT_MAX_SECONDS: Final = 600
DEFAULT_BACKGROUND_HZ: Final = 10.0

_MAX_PORT: Final = 65535


class Address(NamedTuple):
    """Where to listen. Port 0 is any free one."""

    host: str
    port: int

    @property
    def netloc(self) -> str:
        """The address as URLs have it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Settings(NamedTuple):
    """Which processes, how they are recorded, and what clients may ask for at most.

    ``background_hz`` is the rate for what only grows, such as block; 0: it is not recorded.
    ``context_vars`` label samples.
    """

    pids: tuple[int, ...]
    pattern: str | None
    rate_hz: float
    background_hz: float
    pause: Pause
    depth: int
    all_frames: bool
    context_vars: tuple[str, ...]
    max_profiles: int
    max_seconds: int


def parse_address(text: str) -> Address:
    """Understand ``HOST:PORT``, ``[IPV6]:PORT`` or ``:PORT``, which is on all addresses.

    Raises UsageError.
    """
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        colon = ""  # an IPv6 address without brackets could end anywhere
    if not (colon and port.isascii() and port.isdecimal() and int(port[:6]) <= _MAX_PORT):
        raise UsageError(
            f"{text!r} is no address to listen on", f"It is HOST:PORT, such as {DEFAULT_LISTEN}."
        )
    return Address(host or "0.0.0.0", int(port))  # noqa: S104  # who wrote no host means all
