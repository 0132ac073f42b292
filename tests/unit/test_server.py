"""The server's parts that need no process."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from onlooker import errors
from onlooker.errors import UsageError
from onlooker.server import answers, limits
from onlooker.server.app import App
from onlooker.server.security import Access
from onlooker.server.settings import Address, Settings, parse_address
from onlooker.server.symbols import Symbols
from onlooker.server.workers import Stopped, TooMany, Workers

MAX = (1 << 63) - 1


@pytest.mark.parametrize(
    ("text", "number", "valid"),
    [
        ("", 0, False),
        ("0", 0, True),
        ("5", 5, True),
        ("+5", 5, True),
        ("-5", -5, True),
        ("007", 7, True),
        ("0x10", 0, False),
        ("1.5", 0, False),
        (" 1", 0, False),
        ("1_000", 0, False),
        ("٣", 0, False),
        ("1e3", 0, False),
        (str(MAX), MAX, True),
        (str(MAX + 1), MAX, False),
        (f"-{MAX + 1}", -MAX - 1, True),
        (f"-{MAX + 2}", -MAX - 1, False),
        ("9" * 10_000, MAX, False),
        ("0" * 10_000 + "1", 1, True),
    ],
)
def test_numbers_as_gos(text: str, number: int, valid: bool) -> None:
    assert answers.integer(text) == (number, valid)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:6061", Address("127.0.0.1", 6061)),
        ("localhost:0", Address("localhost", 0)),
        ("[::1]:80", Address("::1", 80)),
        (":80", Address("0.0.0.0", 80)),
    ],
)
def test_addresses(text: str, address: Address) -> None:
    assert parse_address(text) == address
    assert parse_address(address.netloc) == address


@pytest.mark.parametrize(
    "text", ["", "80", "a:b", "a:65536", "::1:80", "a:-1", "a:", "a:٣", "a:1 "]
)
def test_no_addresses(text: str) -> None:
    with pytest.raises(UsageError):
        parse_address(text)


def test_workers_are_limited_and_stopped() -> None:
    ended = threading.Event()

    def until_stopped(stop: threading.Event) -> str:
        stop.wait()
        ended.wait()
        return "done"

    async def use() -> None:
        workers = Workers(1)
        first = workers.start(until_stopped)
        with pytest.raises(TooMany):
            workers.start(until_stopped)
        # One that was told to stop takes no place, though its thread may take its time.
        waiting = asyncio.ensure_future(first.result())
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert first.stop.is_set()
        assert not first.done.done()
        second = workers.start(until_stopped)
        ended.set()
        assert await first.done == "done"
        await workers.stop(60)
        assert await second.result() == "done"

        def fail(stop: threading.Event) -> None:
            raise Stopped

        with pytest.raises(Stopped):
            await workers.start(fail).result()

    asyncio.run(use())


@contextlib.asynccontextmanager
async def serving(app: web.Application, **options: float) -> AsyncIterator[tuple[str, int]]:
    runner = web.AppRunner(app)
    await runner.setup()
    assert runner.server
    door = limits.Door(runner.server, **options)  # type: ignore[arg-type]
    server = await asyncio.get_running_loop().create_server(door, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()
    server.close()
    await runner.cleanup()


HELLO = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


def test_who_asks_nothing_is_hung_up_on() -> None:
    async def hello(request: web.Request) -> web.Response:
        limits.has_asked(request)
        return web.Response(text="hello")

    async def use() -> None:
        app = web.Application()
        app.router.add_get("/", hello)
        async with serving(app, headers_s=0.2) as address:
            asking, writer = await asyncio.open_connection(*address)
            silent, other = await asyncio.open_connection(*address)
            other.write(HELLO[:10])
            writer.write(HELLO)
            assert (await asking.readline()).startswith(b"HTTP/1.1 200 ")
            assert await silent.read() == b""
            # Who has asked may do so again.
            await asking.readuntil(b"hello")
            writer.write(HELLO)
            assert (await asking.readline()).startswith(b"HTTP/1.1 200 ")
            writer.close()
            other.close()

    asyncio.run(use())


def test_connections_are_limited() -> None:
    async def use() -> None:
        async with serving(web.Application(), most=1) as address:
            _, first = await asyncio.open_connection(*address)
            first.write(HELLO)
            reader, second = await asyncio.open_connection(*address)
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b""
            first.close()
            second.close()

    asyncio.run(use())


def test_who_takes_no_answer_is_hung_up_on() -> None:
    async def use() -> None:
        given_up = asyncio.Event()

        async def much(request: web.Request) -> web.StreamResponse:
            response = web.Response(body=b"x" * (64 << 20))
            try:
                await limits.send(request, response, 0.2)
            except ConnectionResetError:
                given_up.set()
                raise
            return response

        app = web.Application()
        app.router.add_get("/", much)
        async with serving(app) as address:
            reader, writer = await asyncio.open_connection(*address, limit=1024)
            writer.write(HELLO)
            await given_up.wait()
            with contextlib.suppress(ConnectionError):
                assert len(await reader.read()) < 64 << 20
            writer.close()

    asyncio.run(use())


#: What clients get. Files are for the command, and what fails by itself is our fault.
STATUS = {
    "OnlookerError": 500,
    "OutputError": 500,
    "UsageError": 400,
    "UnreadableProfile": 400,
    "InUse": 409,
    "NotPermitted": 403,
    "NoSuchProcess": 404,
    "TargetGone": 404,
    "NotPython": 501,
    "UnsupportedPython": 501,
    "NotTracing": 501,
    "NotReady": 503,
    "MemoryFault": 503,
}


def test_every_error_has_a_status() -> None:
    settings = Settings((), None, 100, 0, "auto", 512, False, (), 1, 10)
    app = App(settings, Access(), "", log=lambda _: None, alarm=lambda _: None)

    async def status(kind: type[errors.OnlookerError]) -> int:
        async def fail(_: web.Request) -> web.StreamResponse:
            raise kind("what\x1b and why", "What next.")

        answer = await app._handle(None, fail)  # type: ignore[arg-type]  # it only passes it on
        assert isinstance(answer, web.Response)
        assert answer.body == b"what\\x1b and why\nWhat next.\n"
        return answer.status

    kinds = {name: kind for name, kind in vars(errors).items() if isinstance(kind, type)}
    assert {name: asyncio.run(status(kind)) for name, kind in kinds.items()} == STATUS


def test_symbols() -> None:
    symbols = Symbols(most=3)
    assert symbols.answer("") == symbols.answer("0x1+0x+1+0x1g+" + "0x1" * 99) == "num_symbols: 1\n"
    text = "2 @ 0x11 0x21\n#\t0x10\tapp.f+0x2\t\t/srv/app.py:3\n#\t0x20\t\tapp.f+0x1+0x0\t/a:1\n"
    symbols.learn(text)
    symbols.learn(text)
    assert symbols.answer("0x10+0x11+0x12+0x20") == (
        "num_symbols: 1\n0x10 app.f\n0x11 app.f\n0x20 app.f+0x1\n"
    )
    symbols.learn("#\t0x30\t<native thread>\n# 0x40 a comment\n#\t0x50\ta\tb:1\n")
    assert symbols.answer("0x10+0x20+0x30+0x40+0x50") == (
        "num_symbols: 1\n0x20 app.f+0x1\n0x30 <native thread>\n0x50 a\n"
    )
