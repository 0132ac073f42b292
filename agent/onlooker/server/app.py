"""What is served at which path, and to whom."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Final

from aiohttp import web

from onlooker.errors import (
    InUse,
    MemoryFault,
    NoSuchProcess,
    NotPermitted,
    NotPython,
    NotReady,
    NotTracing,
    OnlookerError,
    TargetGone,
    UnsupportedPython,
    UsageError,
)
from onlooker.observe.recorder import Counters
from onlooker.profile.kinds import KINDS, Kind
from onlooker.runtime.identity import read_command
from onlooker.server import answers, limits, metrics, pages
from onlooker.server.metrics import Metrics
from onlooker.server.recording import Maker
from onlooker.server.security import Access
from onlooker.server.sessions import Session, Sessions
from onlooker.server.settings import Settings
from onlooker.server.symbols import Symbols
from onlooker.server.workers import Stopped, TooMany, Workers, in_thread
from onlooker.target import Target
from onlooker.watch import Watch

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_CPU_BUSY: Final = "Could not enable CPU profiling: cpu profiling already in use"
_NO_TRACE: Final = "Could not enable tracing: not supported for Python processes"
_BAD_SECONDS: Final = 'invalid value for "seconds" - must be a positive integer'
_SECONDS_AND_DEBUG: Final = "seconds and debug params are incompatible"
_NO_GC: Final = "gc=1 is not supported: a collection would run code in the process"
_DEFAULT_SECONDS: Final = 30

#: How often processes are looked for that have come meanwhile, if they are to be watched.
_LOOKING_S: Final = 10.0

_CMDLINE: Final = "The command line invocation of the current program"
_PROFILE: Final = (
    "CPU profile. You can specify the duration in the seconds GET parameter. After you get the"
    " profile file, use the go tool pprof command to investigate the profile."
)

#: The status of an error that is about a process or a request. All others are failures of ours.
_STATUS: Final[dict[type[BaseException], int]] = {
    UsageError: 400,
    NotPermitted: 403,
    NoSuchProcess: 404,
    TargetGone: 404,
    InUse: 409,
    NotPython: 501,
    UnsupportedPython: 501,
    NotTracing: 501,
    NotReady: 503,
    MemoryFault: 503,
    OnlookerError: 500,
}


class App:
    """The server's paths.

    ``netloc`` is where it listens; ``log`` is told of requests, ``alarm`` of what went wrong here.
    """

    def __init__(
        self,
        settings: Settings,
        access: Access,
        netloc: str,
        *,
        log: Callable[[str], None],
        alarm: Callable[[str], None],
    ) -> None:
        self._settings = settings
        self._access = access
        self._netloc = netloc
        self._log = log
        self._alarm = alarm
        self.sessions = Sessions(settings.pids, settings.pattern, self._watch)
        self.workers = Workers(settings.max_profiles)
        self._metrics = Metrics(
            targets=lambda: self.sessions.count, working=lambda: self.workers.busy
        )
        self._symbols = Symbols()
        self._maker = Maker(settings, self._metrics.recorded, self._symbols)

    def _watch(self, target: Target) -> Watch | None:
        settings = self._settings
        rate_hz, names = settings.background_hz, settings.context_vars
        return target.watch(rate_hz, pause=settings.pause, context_vars=names) if rate_hz else None

    async def watch_all(self) -> None:
        """Open the processes that come, so that what only grows is counted from the first on."""
        while self._settings.background_hz:
            try:
                for process in await self.sessions.processes():
                    if not process.problem:
                        with suppress(OnlookerError):  # who asks for it will be told
                            await self.sessions.session(process.pid)
            except Exception:
                self._alarm(traceback.format_exc().rstrip())
            await asyncio.sleep(_LOOKING_S)

    def application(self) -> web.Application:
        """Return what aiohttp runs."""
        app = web.Application(middlewares=[self._answer])
        app.on_response_prepare.append(_forget_software)
        app.router.add_get("/", self._processes)
        app.router.add_get("/targets", self._targets)
        app.router.add_get("/metrics", self._own_metrics)
        for prefix in ("", r"/pid/{pid:[0-9]{1,10}}"):
            app.router.add_get(f"{prefix}/debug/pprof", _add_slash)
            app.router.add_get(f"{prefix}/debug/pprof/", self._index)
            app.router.add_post(f"{prefix}/debug/pprof/{{name:symbol}}", self._symbol)
            app.router.add_get(f"{prefix}/debug/pprof/{{name:.+}}", self._named)
        return app

    @web.middleware
    async def _answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        limits.has_asked(request)
        try:
            response = self._access.refusal(request) or await self._handle(request, handler)
        except asyncio.CancelledError:
            self._metrics.hung_up()
            raise
        self._metrics.request(_what(request), response.status)
        self._log(f"{request.method} {request.path}: {response.status}")
        await limits.send(request, response)
        return response

    async def _handle(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except web.HTTPMethodNotAllowed:
            return answers.method_not_allowed()
        except web.HTTPNotFound:
            return answers.not_found()
        except web.HTTPException as error:
            return answers.error(error.status, error.reason)
        except TooMany:
            busy = answers.error(503, "too many profiles are being made already")
            busy.headers["Retry-After"] = "1"
            return busy
        except Stopped:
            return answers.error(503, "the server is ending")
        except OnlookerError as error:
            status = next(_STATUS[kind] for kind in type(error).__mro__ if kind in _STATUS)
            return answers.error(status, str(error), error.hint)
        except Exception as error:
            self._alarm(traceback.format_exc().rstrip())
            return answers.error(500, f"internal error: {type(error).__name__}")

    async def _processes(self, _: web.Request) -> web.StreamResponse:
        return answers.answer(pages.processes(await self.sessions.processes()), answers.HTML)

    async def _targets(self, request: web.Request) -> web.StreamResponse:
        # What reached us for this will reach us for profiles.
        address = request.headers.get("Host") or self._netloc
        body = pages.targets(await self.sessions.processes(), address)
        return answers.answer(body, "application/json")

    async def _own_metrics(self, _: web.Request) -> web.StreamResponse:
        watches = [watch for watch in self.sessions.watches if watch.running]
        counters = [in_thread(partial(_counters, watch)) for watch in watches]
        for watch, now in zip(watches, await asyncio.gather(*counters), strict=True):
            self._metrics.watched(watch, now)
        return answers.answer(self._metrics.text(), metrics.CONTENT_TYPE)

    async def _index(self, request: web.Request) -> web.StreamResponse:
        session = await self._session(request)
        work = session.start(self.workers, partial(self._maker.counts, session.watch))
        totals = await work.result()
        identity = session.target.runtime.identity
        entries = [
            pages.Entry("cmdline", "", 0, _CMDLINE),
            pages.Entry("profile", "", 0, _PROFILE),
            *(
                pages.Entry(
                    kind.name,
                    "" if kind.timed else "?debug=1",
                    totals.get(kind.name, 0),
                    kind.help,
                )
                for kind in KINDS.values()
            ),
        ]
        body = pages.index(
            f"process {identity.pid}: {' '.join(identity.argv)}",
            entries,
            stack_dump="goroutine" in KINDS,
        )
        return answers.answer(body, answers.HTML)

    async def _named(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        own = {"cmdline": self._cmdline, "symbol": self._symbol, "trace": _trace}
        if name in own:
            return await own[name](request)
        kind = KINDS.get("cpu" if name == "profile" else name)
        if kind is None:
            return answers.error(404, "Unknown profile")
        if kind.timed:
            return await self._timed(request, kind, name)
        return await self._moment(request, kind)

    async def _cmdline(self, request: web.Request) -> web.StreamResponse:
        session = await self._session(request)
        try:
            argv = await in_thread(partial(read_command, session.target.runtime.pid))
        except OSError:
            raise TargetGone(f"process {session.target.runtime.pid} has ended") from None
        return answers.answer("\0".join(argv).encode("utf-8", "surrogateescape"), answers.TEXT)

    async def _symbol(self, request: web.Request) -> web.StreamResponse:
        # Profiles have all names in them, but for what is read of texts.
        await self._session(request)
        asked = request.rel_url.raw_query_string
        if request.method == "POST":
            asked = await limits.body(request)
        return answers.answer(self._symbols.answer(asked).encode(), answers.TEXT)

    async def _timed(self, request: web.Request, kind: Kind, name: str) -> web.StreamResponse:
        seconds, valid = answers.integer(request.query.get("seconds", ""))
        if not valid or seconds <= 0:
            seconds = _DEFAULT_SECONDS
        if refusal := self._too_long(seconds):
            return refusal
        session = await self._session(request)
        if request.method == "HEAD":
            return answers.head(answers.BINARY, name)
        if kind.name == "cpu":
            while session.cpu:
                if not session.cpu.stop.is_set():
                    return answers.error(500, _CPU_BUSY)
                await asyncio.wait([session.cpu.done])  # its client has hung up
        work = session.start(self.workers, partial(self._maker.over, kind, seconds))
        if kind.name == "cpu":
            session.makes_cpu(work)
        return answers.answer(await work.result(), answers.BINARY, filename=name)

    async def _moment(self, request: web.Request, kind: Kind) -> web.StreamResponse:
        if wanted := request.query.get("seconds", ""):
            return await self._change(request, kind, wanted)
        if kind.name == "heap" and answers.integer(request.query.get("gc", ""))[0] > 0:
            return answers.error(400, _NO_GC)
        debug, _ = answers.integer(request.query.get("debug", ""))
        session = await self._session(request)
        if request.method == "HEAD":
            return answers.head(*((answers.TEXT,) if debug else (answers.BINARY, kind.name)))
        work = session.start(self.workers, partial(self._maker.now, kind, debug, session.watch))
        body = await work.result()
        if debug:
            return answers.answer(body, answers.TEXT)
        return answers.answer(body, answers.BINARY, filename=kind.name)

    async def _change(self, request: web.Request, kind: Kind, wanted: str) -> web.StreamResponse:
        seconds, valid = answers.integer(wanted)
        if not valid or seconds <= 0:
            return answers.error(400, _BAD_SECONDS)
        if refusal := self._too_long(seconds):
            return refusal
        if answers.integer(request.query.get("debug", ""))[0]:
            return answers.error(400, _SECONDS_AND_DEBUG)
        session = await self._session(request)
        filename = f"{kind.name}-delta"
        if request.method == "HEAD":
            return answers.head(answers.BINARY, filename)
        work = session.start(self.workers, partial(self._maker.change, kind, seconds))
        return answers.answer(await work.result(), answers.BINARY, filename=filename)

    def _too_long(self, seconds: int) -> web.StreamResponse | None:
        most = self._settings.max_seconds
        if seconds <= most:
            return None
        return answers.error(400, f"profile duration exceeds server's limit of {most} seconds")

    async def _session(self, request: web.Request) -> Session:
        """Return that of the process in the path, or of the only one there is."""
        if "pid" in request.match_info:
            return await self.sessions.session(int(request.match_info["pid"]))
        found = await self.sessions.processes()
        if len(found) != 1:
            raise NoSuchProcess(
                f"there are {len(found)} processes: / has a list, /pid/N/debug/pprof/ is of one"
            )
        return await self.sessions.session(found[0].pid)


def _counters(watch: Watch) -> Counters | None:
    try:
        return watch.counters
    except OnlookerError:
        return None  # it could not begin, or its process has ended before


async def _add_slash(request: web.Request) -> web.StreamResponse:
    query = f"?{request.rel_url.raw_query_string}" if request.rel_url.raw_query_string else ""
    return answers.redirect(f"{request.rel_url.raw_path}/{query}")


async def _trace(_: web.Request) -> web.StreamResponse:
    return answers.error(501, _NO_TRACE)


async def _forget_software(_: web.Request, response: web.StreamResponse) -> None:
    """Go's servers don't tell what they are made of."""
    response.headers.pop("Server", None)


def _what(request: web.Request) -> str:
    """Return what a request counts as: few different words, whatever clients ask for."""
    name = request.match_info.get("name")
    if name is not None:
        return name if name in {"profile", "cmdline", "symbol", "trace", *KINDS} else "unknown"
    resource = request.match_info.route.resource
    return resource.canonical.rpartition("}")[2] if resource else "unknown"
