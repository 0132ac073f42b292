"""Who `onlooker serve` answers, and where it refuses to start."""

import ssl
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from onlooker.cli import main

from tests.commands import onlooker
from tests.conftest import StartTarget
from tests.interpreters import Interpreter, Target
from tests.server import Server, go_pprof_fetch

BUSY = Path("busy.py")
CMDLINE = "/debug/pprof/cmdline"
ANY = "0.0.0.0:0"


@pytest.fixture
def busy(any_interpreter: Interpreter, start_target: StartTarget) -> Target:
    target = start_target(any_interpreter, BUSY)
    assert target.read_line() == "ready"
    return target


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def files(
    authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Path]]:
    """Certificates, keys and a token."""
    folder = tmp_path_factory.mktemp("access")
    names = {name: folder / name for name in ("ca", "cert", "key", "client", "alien", "token")}
    authority.cert_pem.write_to_path(names["ca"])
    server = authority.issue_cert("127.0.0.1")
    server.cert_chain_pems[0].write_to_path(names["cert"])
    server.private_key_pem.write_to_path(names["key"])
    authority.issue_cert("client@test").private_key_and_cert_chain_pem.write_to_path(
        names["client"]
    )
    alien = trustme.CA().issue_cert("client@test")
    alien.private_key_and_cert_chain_pem.write_to_path(names["alien"])
    names["token"].write_text("s3cret/+ß\n")
    yield names


def client(files: dict[str, Path], certificate: str | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=files["ca"])
    if certificate:
        context.load_cert_chain(files[certificate])
    return context


def test_token(busy: Target, files: dict[str, Path], tmp_path: Path) -> None:
    with Server("--pid", busy.pid, "--token-file", files["token"], listen=ANY) as server:
        for path in (CMDLINE, "/debug/pprof/", "/", "/targets", "/metrics", "/nothing"):
            refused = server.get(path)
            assert refused.status == 401
            assert refused.headers["WWW-Authenticate"] == 'Bearer realm="onlooker"'
            assert refused.headers["X-Go-Pprof"] == "1"
            assert refused.body == b"this needs a token or a client certificate\n"
        assert server.get(CMDLINE, "POST").status == 401
        for wrong in ("", "Bearer", "Bearer ", "Bearer s3cret", "Basic s3cret", "s3cret/+ß"):
            assert server.get(CMDLINE, headers={"Authorization": encoded(wrong)}).status == 401
        for wrong in ("", "s3cret", "s3cret/+ß", "s3cret%2F%2B%C3%9Fx", "%FF"):
            path = f"{CMDLINE}?token={wrong}".encode().decode("latin-1")
            assert server.get(path.encode("ascii", "ignore").decode()).status == 401
        right = {"Authorization": encoded("Bearer s3cret/+ß")}
        assert server.get(CMDLINE, headers=right).status == 200
        # Its own name is then as good as any.
        assert server.get(CMDLINE, headers={**right, "Host": "app.example"}).status == 200
        # go tool pprof sends no headers of one's own.
        query = "token=s3cret%2F%2B%C3%9F"
        url = f"http://127.0.0.1:{server.port}/debug/pprof/profile?seconds=1&{query}"
        assert "Type: cpu" in go_pprof_fetch("-top", url, folder=tmp_path)


def encoded(header: str) -> str:
    """A header as http.client must be given it to send it in UTF-8."""
    return header.encode().decode("latin-1")


def test_tls_with_client_certificates(busy: Target, files: dict[str, Path]) -> None:
    tls = ("--tls-cert", files["cert"], "--tls-key", files["key"], "--tls-client-ca", files["ca"])
    with Server("--pid", busy.pid, *tls, listen=ANY) as server:
        server.host = "127.0.0.1"
        assert server.url.startswith("https://")
        assert server.get(CMDLINE, tls=client(files, "client")).status == 200
        assert server.get(CMDLINE, tls=client(files, None)).status == 401
        with pytest.raises((ssl.SSLError, ConnectionError)):
            server.get(CMDLINE, tls=client(files, "alien"))
        # Who speaks no TLS gets nothing.
        with server.socket() as plain:
            plain.sendall(b"GET /debug/pprof/cmdline HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            assert b"HTTP/1.1 200" not in received(plain)


def received(client: object) -> bytes:
    import socket

    assert isinstance(client, socket.socket)
    try:
        return client.recv(65536)
    except ConnectionError:
        return b""


def test_token_or_certificate(busy: Target, files: dict[str, Path], tmp_path: Path) -> None:
    with Server(
        *("--pid", busy.pid, "--tls-cert", files["cert"], "--tls-key", files["key"]),
        *("--tls-client-ca", files["ca"], "--token-file", files["token"]),
    ) as server:
        right = {"Authorization": encoded("Bearer s3cret/+ß")}
        assert server.get(CMDLINE, tls=client(files, None)).status == 401
        assert server.get(CMDLINE, tls=client(files, None), headers=right).status == 200
        # go tool pprof (unlike pprof itself) sends no certificate, and trusts no authority of ours.
        insecure = server.url.replace("https:", "https+insecure:")
        url = f"{insecure}/debug/pprof/profile?seconds=1&token=s3cret%2F%2B%C3%9F"
        assert "Type: cpu" in go_pprof_fetch("-top", url, folder=tmp_path)
        assert server.get(CMDLINE, tls=client(files, "client")).status == 200


def test_a_web_page_can_not_ask_under_its_own_name(busy: Target) -> None:
    with Server("--pid", busy.pid) as server:
        for host in ("localhost", "localhost:6061", "127.0.0.1", "[::1]:80", "10.1.2.3:80"):
            assert server.get(CMDLINE, headers={"Host": host}).status == 200
        for host in ("evil.example", "evil.example:6061", "127.0.0.1.evil.example", "::", "a@b"):
            assert server.get(CMDLINE, headers={"Host": host}).status in {400, 403}


@pytest.mark.parametrize("listen", ["0.0.0.0:0", ":0", "[::]:0"])
def test_refuses_to_be_open_to_others(busy: Target, files: dict[str, Path], listen: str) -> None:
    serve = ("serve", "--pid", busy.pid, "--listen", listen)
    tls = ("--tls-cert", files["cert"], "--tls-key", files["key"])
    for options in ((), tls):  # TLS hides what is said, but not from whom
        done = onlooker(*serve, *options)
        assert done.exit_code == 2
        assert "others could look into the processes" in done.stderr
        assert "--token-file" in done.stderr


def test_wrong_use(busy: Target, files: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "ended.py").write_text("")
    pid = ("--pid", busy.pid)
    cases: list[tuple[tuple[str | int | Path, ...], int, str]] = [
        ((), 2, "no process was given"),
        (("--pid", "app"), 2, "is not a process id"),
        (("--name", "("), 2, "is not a regular expression"),
        (("--pid", 4194305), 3, "there is no process"),
        ((*pid, "--listen", "localhost"), 2, "is no address to listen on"),
        ((*pid, "--listen", "127.0.0.1:99999"), 2, "is no address to listen on"),
        ((*pid, "--listen", "::1:80"), 2, "is no address to listen on"),
        ((*pid, "--listen", "192.0.2.1:0", "--token-file", files["token"]), 1, "can't listen on"),
        ((*pid, "--token-file", tmp_path / "none"), 1, "No such file"),
        ((*pid, "--token-file", tmp_path / "empty"), 2, "no token in"),
        ((*pid, "--tls-key", files["key"]), 2, "only with --tls-cert"),
        ((*pid, "--tls-client-ca", files["ca"]), 2, "client certificates need TLS"),
        ((*pid, "--tls-cert", files["key"]), 1, "can't use the certificates"),
        ((*pid, "--max-profiles", 0), 2, "no number of profiles"),
        ((*pid, "--", "x"), 2, "takes nothing after --"),
    ]
    for options, code, message in cases:
        done = onlooker("serve", *options)
        assert (done.exit_code, message in done.stderr) == (code, True), done.stderr


def test_address_in_use(busy: Target) -> None:
    with Server("--pid", busy.pid) as server:
        done = onlooker("serve", "--pid", busy.pid, "--listen", f"127.0.0.1:{server.port}")
        assert done.exit_code == 1
        assert "Address already in use" in done.stderr


@pytest.mark.parametrize("package", ["aiohttp", "prometheus_client"])
def test_without_its_packages(
    package: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in list(sys.modules):
        if name.startswith("onlooker.server.") or name in {"onlooker.cli.serve", package}:
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    assert main(["serve", "--pid", "1"]) == 1
    said = capsys.readouterr().err
    assert f"needs the package {package}" in said
    assert "pip install 'onlooker[serve]'" in said
