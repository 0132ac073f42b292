"""Who may ask. Stacks and command lines are secrets, and each profile costs its target something.

Only this machine may ask without more. Where others can reach the server, they need a token or a
client certificate.
"""

from __future__ import annotations

import hmac
import ipaddress
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from onlooker.errors import OnlookerError, UsageError
from onlooker.server import answers
from onlooker.server.settings import Address


@dataclass(frozen=True)
class Access:
    """What a client must show: the token or a certificate, whichever of them there are."""

    token: bytes | None = None
    tls: ssl.SSLContext | None = None
    certificates: bool = False

    @property
    def is_open(self) -> bool:
        """Whether a client needs to show nothing."""
        return self.token is None and not self.certificates

    def refusal(self, request: web.BaseRequest) -> web.Response | None:
        """Return the answer to a client that may not ask, or None if it may."""
        if self.is_open:
            # A web page may make a browser on this machine ask under a name that the page's owner
            # lets point here; pages can't do that with a bare address.
            host = request.headers.get("Host")
            if host is None or _is_local_name(host):
                return None
            return answers.error(403, "without a token only an IP address or localhost is a host")
        if self.certificates and _has_certificate(request):
            return None
        if self.token is not None and hmac.compare_digest(_token_of(request), self.token):
            return None
        refused = answers.error(401, "this needs a token or a client certificate")
        refused.headers["WWW-Authenticate"] = 'Bearer realm="onlooker"'
        return refused


def make_access(
    token_file: str | None,
    certificate: str | None,
    key: str | None,
    client_authorities: str | None,
) -> Access:
    """Read the files that say who may ask. Raises UsageError and OnlookerError."""
    if key and not certificate:
        raise UsageError("--tls-key is of use only with --tls-cert")
    if client_authorities and not certificate:
        raise UsageError(
            "client certificates need TLS", "Give the server's own with --tls-cert and --tls-key."
        )
    token = None if token_file is None else _read_token(token_file)
    tls = None
    if certificate:
        try:
            tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=client_authorities)
            tls.load_cert_chain(certificate, key)
        except (OSError, ssl.SSLError) as error:
            raise OnlookerError(f"can't use the certificates: {error}") from None
        if client_authorities:
            # A client without one is told what is missing, instead of being hung up on.
            tls.verify_mode = ssl.CERT_OPTIONAL
    return Access(token, tls, certificates=bool(client_authorities))


def check(address: Address, access: Access) -> None:
    """Raise UsageError if others could ask without showing anything."""
    if access.is_open and not is_loopback(address):
        raise UsageError(
            f"on {address.netloc}, others could look into the processes",
            "Let clients show something: --token-file, or --tls-cert with --tls-client-ca.",
        )


def is_loopback(address: Address) -> bool:
    """Whether only this machine can reach the address. Raises OnlookerError if there is none."""
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise OnlookerError(f"can't listen on {address.host!r}: {error.strerror}") from None
    return all(
        ipaddress.ip_address(str(place[0]).partition("%")[0]).is_loopback for *_, place in found
    )


def _read_token(path: str) -> bytes:
    try:
        token = Path(path).read_bytes().strip()
    except OSError as error:
        raise OnlookerError(f"can't read the token: {path}: {error.strerror}") from None
    if not token:
        raise UsageError(f"there is no token in {path}")
    return token


def _token_of(request: web.BaseRequest) -> bytes:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        token = request.query.get("token", "")
    return token.strip().encode("utf-8", "surrogateescape")


def _has_certificate(request: web.BaseRequest) -> bool:
    # It is empty unless the certificate was verified.
    return bool(request.transport and request.transport.get_extra_info("peercert"))


def _is_local_name(host: str) -> bool:
    name = host.rpartition(":")[0] if ":" in host.rpartition("]")[2] else host
    if name.lower().rstrip(".") == "localhost":
        return True
    try:
        ipaddress.ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return True
