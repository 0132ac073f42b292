"""The processes that are served: opened when somebody asks, and let go of when they end."""

from __future__ import annotations

import asyncio
import os
import select
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, TypeVar

from onlooker.errors import NoSuchProcess, TargetGone
from onlooker.observe.circumstances import has_replaced_itself
from onlooker.permission import user_name
from onlooker.runtime.processes import PythonProcess, find_by_name
from onlooker.server.workers import Work, Workers, in_thread
from onlooker.target import Target
from onlooker.watch import Watch

T = TypeVar("T")

# Looking for processes looks into all of them, so many who ask at once share an answer.
_FRESH_S: Final = 1.0


class Session:
    """An open process. Its memory is closed when it has ended and nobody looks into it any more.

    ``watch`` is what goes on in the background, if anything does.
    ``cpu`` is the CPU profile that is being made, of which there is one at a time.
    """

    def __init__(
        self, target: Target, watch: Watch | None, close: Callable[[Target], None]
    ) -> None:
        self.target = target
        self.watch = watch
        self._close = close
        self.cpu: Work[Any] | None = None
        self._users = 0
        self._ended = False

    def start(self, workers: Workers, function: Callable[[Target, threading.Event], T]) -> Work[T]:
        """Let a thread look into the process. Raises TargetGone and TooMany."""
        if self._ended:
            raise TargetGone(f"process {self.target.runtime.pid} has ended")
        work = workers.start(partial(function, self.target))
        self._users += 1
        work.done.add_done_callback(self._leave)
        return work

    def makes_cpu(self, work: Work[Any]) -> None:
        """Note that the work is the CPU profile."""
        self.cpu = work
        work.done.add_done_callback(lambda _: setattr(self, "cpu", None))

    def end(self) -> None:
        """Let go of the process as soon as nobody looks into it."""
        self._ended = True
        self._close_unused()

    def _leave(self, _: object) -> None:
        self._users -= 1
        self._close_unused()

    def _close_unused(self) -> None:
        if self._ended and not self._users:
            self._close(self.target)


class Sessions:
    """The processes with given ids, and those whose command line matches a pattern.

    ``watched`` begins what goes on in the background of each.
    """

    def __init__(
        self, pids: Sequence[int], pattern: str | None, watched: Callable[[Target], Watch | None]
    ) -> None:
        self._wanted = tuple(dict.fromkeys(pids))
        self._pattern = pattern
        self._watched = watched
        self._closing: set[Work[None]] = set()
        self._given: dict[int, PythonProcess] = {}
        self._alive: dict[int, int] = {}  # the pidfd of each process that was opened
        self._open: dict[int, Session] = {}
        self._found: tuple[PythonProcess, ...] = ()
        self._found_at = -_FRESH_S
        self._opening = asyncio.Lock()
        self._finding = asyncio.Lock()

    @property
    def count(self) -> int:
        """How many processes are open."""
        return len(self._open)

    @property
    def watches(self) -> list[Watch]:
        """What goes on in the background."""
        return [session.watch for session in self._open.values() if session.watch]

    async def start(self) -> None:
        """Open the processes with given ids. Raises what Target does, and UsageError."""
        for pid in self._wanted:
            session = await self._open_now(pid)
            self._given[pid] = _described(session.target)
        await self.processes()

    async def processes(self) -> list[PythonProcess]:
        """Return all there are now, by rising id."""
        known = {process.pid: process for process in await self._find()}
        return [process for _, process in sorted({**known, **self._given}.items())]

    async def session(self, pid: int) -> Session:
        """Return the session of a process that is served.

        Raises what Target does; NoSuchProcess for one that isn't served, or not any more.
        """
        # Who stops waiting must not take the process from the others who wait for it.
        return await asyncio.shield(asyncio.ensure_future(self._session(pid)))

    async def close(self, timeout_s: float) -> None:
        """Let go of all of them."""
        for pid in list(self._alive):
            self._forget(pid)
        if self._closing:
            await asyncio.wait([work.done for work in self._closing], timeout=timeout_s)

    def _close(self, target: Target) -> None:
        # It waits for what goes on in the background.
        work = Work(lambda _: target.close())
        self._closing.add(work)
        work.done.add_done_callback(lambda _: self._closing.discard(work))

    async def _session(self, pid: int) -> Session:
        async with self._opening:
            session = self._open.get(pid)
            if session and has_replaced_itself(session.target.runtime):
                self._open.pop(pid).end()
                session = None
            if session:
                return session
            if pid not in self._given and pid not in {found.pid for found in await self._find()}:
                raise NoSuchProcess(f"process {pid} is not served")
            return await self._open_now(pid)

    async def _open_now(self, pid: int) -> Session:
        pidfd, target = await in_thread(partial(_open, pid))
        if pid in self._given or pid in self._alive:
            # That one, even if it has replaced its program, and not a later one with its id.
            os.close(pidfd)
            if pid not in self._alive or _has_ended(self._alive[pid]):
                target.close()
                raise TargetGone(f"process {pid} has ended")
        else:
            self._alive[pid] = pidfd
            asyncio.get_running_loop().add_reader(pidfd, self._forget, pid)
        self._open[pid] = Session(target, self._watched(target), self._close)
        return self._open[pid]

    async def _find(self) -> tuple[PythonProcess, ...]:
        if self._pattern is None:
            return ()
        async with self._finding:
            if time.monotonic() - self._found_at >= _FRESH_S:
                self._found = tuple(await in_thread(partial(find_by_name, self._pattern)))
                self._found_at = time.monotonic()
            return self._found

    def _forget(self, pid: int) -> None:
        """A process has ended: its id may soon be another's."""
        pidfd = self._alive.pop(pid)
        asyncio.get_running_loop().remove_reader(pidfd)
        os.close(pidfd)
        self._given.pop(pid, None)
        self._found = tuple(process for process in self._found if process.pid != pid)
        if session := self._open.pop(pid, None):
            session.end()


def _open(pid: int) -> tuple[int, Target]:
    """Open a process, and a pidfd that means the same one. Raises what Target does."""
    try:
        pidfd = os.pidfd_open(pid)
    except (OSError, OverflowError):
        Target(pid).close()  # which knows best why not
        raise NoSuchProcess(f"process {pid} has just ended") from None
    try:
        target = Target(pid)
        if _has_ended(pidfd):
            target.close()
            raise TargetGone(f"process {pid} has just ended")
    except BaseException:
        os.close(pidfd)
        raise
    return pidfd, target


def _has_ended(pidfd: int) -> bool:
    return bool(select.select([pidfd], [], [], 0)[0])


def _described(target: Target) -> PythonProcess:
    identity = target.runtime.identity
    return PythonProcess(
        pid=identity.pid,
        user=user_name(identity.uid),
        version=target.runtime.version,
        program=identity.program,
        command=" ".join(identity.argv).rstrip(),
        problem=None,
    )
