"""Starts the programs that are profiled."""

from __future__ import annotations

import json
import signal
import subprocess
from types import TracebackType
from typing import IO, Any

from .processes import ENVIRONMENT
from .tools import Tools


class Target:
    """A program of the folder `programs` under one of the interpreters; a context that ends it.

    It prints one JSON object when it is ready.
    """

    def __init__(self, tools: Tools, minor: str, program: str, *arguments: object) -> None:
        interpreter = tools.interpreters[minor]
        path = tools.inside(tools.scratch / program)
        self._process = subprocess.Popen(
            interpreter.command(path, *map(str, arguments)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=ENVIRONMENT,
            text=True,
        )
        self.version = interpreter.version
        self.pid = self._process.pid
        self.about = self.answer()

    def ask(self, line: str) -> dict[str, Any]:
        """Sends a line and waits for the answer."""
        self.send(line)
        return self.answer()

    def send(self, line: str) -> None:
        """Sends a line."""
        stdin = self._pipe(self._process.stdin)
        stdin.write(line + "\n")
        stdin.flush()

    def answer(self) -> dict[str, Any]:
        """Waits for the next line that it prints.

        :raises RuntimeError: if it ended instead
        """
        line = self._pipe(self._process.stdout).readline()
        if not line:
            raise RuntimeError(f"the target ended with {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def __enter__(self) -> Target:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        self._pipe(self._process.stdin).close()
        self._pipe(self._process.stdout).close()

    @staticmethod
    def _pipe(pipe: IO[str] | None) -> IO[str]:
        assert pipe is not None
        return pipe
