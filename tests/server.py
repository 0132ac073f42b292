"""A running `onlooker serve`, and clients of it."""

import http.client
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from urllib.parse import urlsplit

from tests.commands import Argument, Command, Finished
from tests.interpreters import DEADLINE_S, PROGRAMS, Target, host_interpreter


@dataclass(frozen=True)
class Answer:
    """What a client got. `headers` lacks the date and those of the connection."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()


_OF_THE_CONNECTION = {"Date", "Content-Length", "Connection"}


class Server:
    """A server on a free port. It may serve many tests, and is killed in the end."""

    def __init__(self, *arguments: Argument, listen: str = "127.0.0.1:0") -> None:
        self.command = Command(
            *("serve", "--listen", listen, "--json", *arguments), deadline_s=20 * DEADLINE_S
        )
        assert self.command.process.stdout
        line = self.command.process.stdout.readline()
        if not line:
            raise AssertionError(f"it did not start: {self.command.finish().stderr}")
        self.url: str = json.loads(line)["url"].removesuffix("/debug/pprof/")
        parts = urlsplit(self.url)
        assert parts.hostname and parts.port
        self.host, self.port = parts.hostname, parts.port

    @property
    def pid(self) -> int:
        return self.command.pid

    def get(
        self,
        path: str,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> Answer:
        """Asks once, on a connection of its own."""
        connection = self.connection(tls)
        try:
            connection.request(method, path, body, dict(headers or {}))
            return finish(connection)
        finally:
            connection.close()

    def connection(self, tls: ssl.SSLContext | None = None) -> http.client.HTTPConnection:
        """A connection on which something can be asked, and its answer be waited for later."""
        if self.url.startswith("https"):
            return http.client.HTTPSConnection(
                self.host, self.port, timeout=DEADLINE_S, context=tls
            )
        return http.client.HTTPConnection(self.host, self.port, timeout=DEADLINE_S)

    def socket(self) -> socket.socket:
        """A bare connection."""
        return socket.create_connection((self.host, self.port), timeout=DEADLINE_S)

    def metric(self, name: str) -> float:
        """A value that the server tells Prometheus; 0 if it doesn't."""
        for line in self.get("/metrics").text.splitlines():
            key, _, value = line.rpartition(" ")
            if key == name:
                return float(value)
        return 0.0

    def files(self) -> list[str]:
        """What the files are that the server has open."""
        files = []
        for descriptor in Path(f"/proc/{self.pid}/fd").iterdir():
            with suppress(FileNotFoundError):  # it has closed it just now
                files.append(str(descriptor.readlink()))
        return files

    def end(self) -> Finished:
        """Ends it as a service manager does; what it did."""
        self.command.process.send_signal(signal.SIGTERM)
        return self.command.finish()

    def __enter__(self) -> "Server":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.command.__exit__(kind, error, traceback)


def finish(connection: http.client.HTTPConnection) -> Answer:
    """Waits for the answer to what was asked."""
    response = connection.getresponse()
    headers = {k: v for k, v in response.getheaders() if k not in _OF_THE_CONNECTION}
    return Answer(response.status, headers, response.read())


def go_pprof_fetch(*arguments: str, folder: Path) -> str:
    """What `go tool pprof` prints of profiles that it fetches; all it may say is that it does."""
    go = shutil.which("go")
    assert go, "go is not here: apt install golang-go"
    done = subprocess.run(
        [go, "tool", "pprof", *arguments],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "HOME": str(folder), "PPROF_TMPDIR": str(folder), "TZ": "UTC"},
    )
    said = [
        line
        for line in done.stderr.splitlines()
        if not line.startswith(("Fetching ", "Saved ", "Please wait", "http"))
    ]
    assert (done.returncode, said) == (0, []), done.stderr
    return done.stdout


BUSY = Path("busy.py")

NOSNIFF = {"X-Content-Type-Options": "nosniff"}
TEXT = {**NOSNIFF, "Content-Type": "text/plain; charset=utf-8"}
ERROR = {**TEXT, "X-Go-Pprof": "1"}
BINARY = {**NOSNIFF, "Content-Type": "application/octet-stream"}


def saved_as(name: str) -> dict[str, str]:
    """The headers of a profile."""
    return {**BINARY, "Content-Disposition": f'attachment; filename="{name}"'}


def error(status: int, text: str) -> Answer:
    """How Go's net/http/pprof refuses something."""
    return Answer(status, ERROR, f"{text}\n".encode())


@dataclass(frozen=True)
class Served:
    """A busy program, and a server of its profiles that reads nothing by itself."""

    target: Target
    server: Server


TOO_LONG = error(400, "profile duration exceeds server's limit of 100 seconds")


@contextmanager
def serve_busy() -> Iterator[Served]:
    """Starts both, for up to 100 seconds a profile."""
    with Target(host_interpreter().argv(str(PROGRAMS / BUSY))) as target:
        assert target.read_line() == "ready"
        with Server(*("--pid", target.pid, "--max-seconds", 100, "--background-rate", 0)) as server:
            yield Served(target, server)
