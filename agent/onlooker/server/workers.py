"""Threads that look into processes while the event loop serves on, and how many there may be."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class TooMany(Exception):
    """As many profiles as there may be at once are being made already."""


class Stopped(Exception):
    """The work was asked to stop before it had a result."""


class Work(Generic[T]):
    """What one thread does. ``stop`` asks it to end; ``done`` is the event loop's view of it."""

    def __init__(self, function: Callable[[threading.Event], T]) -> None:
        self.stop = threading.Event()
        self._loop = asyncio.get_running_loop()
        self.done: asyncio.Future[T] = self._loop.create_future()
        self._function = function
        # A daemon: what can't be stopped in time must not keep the server from ending.
        threading.Thread(target=self._run, name="onlooker-work", daemon=True).start()

    async def result(self) -> T:
        """Wait for it. Whoever is cancelled while waiting has stopped it."""
        try:
            return await asyncio.shield(self.done)
        finally:
            self.stop.set()

    def _run(self) -> None:
        result: Any
        deliver: Callable[[Any], None]
        try:
            result, deliver = self._function(self.stop), self.done.set_result
        except BaseException as error:
            result, deliver = error, self.done.set_exception
        with suppress(RuntimeError):  # the event loop has ended meanwhile
            self._loop.call_soon_threadsafe(deliver, result)


class Workers:
    """Makes profiles in threads, at most ``most`` at once."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._working: set[Work[Any]] = set()

    @property
    def busy(self) -> int:
        """How many work, without those that were asked to stop and are about to."""
        return sum(not work.stop.is_set() for work in self._working)

    def start(self, function: Callable[[threading.Event], T]) -> Work[T]:
        """Let a thread call the function, which returns soon once its event is set.

        Raises TooMany.
        """
        if self.busy >= self._most:
            raise TooMany
        work = Work(function)
        self._working.add(work)
        work.done.add_done_callback(lambda _: self._working.discard(work))
        return work

    async def stop(self, timeout_s: float) -> None:
        """Ask all to stop, and give them some time for it."""
        for work in self._working:
            work.stop.set()
        if self._working:
            await asyncio.wait([work.done for work in self._working], timeout=timeout_s)


async def in_thread(function: Callable[[], T]) -> T:
    """Call something short that may block."""
    return await Work(lambda _: function()).result()
