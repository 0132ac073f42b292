"""A program that we start, and the signals that are meant for it."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from typing import Final

from onlooker.errors import UsageError

#: Those that people and other programs send to end one, or to tell it something.
_MEANT_FOR_IT: Final = frozenset(
    {
        signal.SIGINT,
        signal.SIGTERM,
        signal.SIGHUP,
        signal.SIGQUIT,
        signal.SIGUSR1,
        signal.SIGUSR2,
    }
)
_WAITED_FOR: Final = _MEANT_FOR_IT | {signal.SIGCHLD}
_ENDS: Final = frozenset({os.CLD_EXITED, os.CLD_KILLED, os.CLD_DUMPED})
_LONGEST_WAIT_S: Final = 1.0
_SI_KERNEL: Final = 0x80  # include/uapi/asm-generic/siginfo.h


class Child:
    """A running program, started by us, with our standard streams.

    From here on the signals that would end us are passed on to the program instead, but not
    those of the terminal, which has sent them to the program as well. Raises UsageError.
    """

    def __init__(self, argv: Sequence[str]) -> None:
        self._kept: signal.struct_siginfo | None = None
        # Blocked signals wait until forward() takes them. The program must not inherit that.
        self._mask = signal.pthread_sigmask(signal.SIG_BLOCK, _WAITED_FOR)
        try:
            self._process = subprocess.Popen(
                argv, preexec_fn=lambda: signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)
            )
        except (OSError, ValueError) as error:
            self._restore()
            reason = error.strerror if isinstance(error, OSError) else error
            raise UsageError(f"can't start {argv[0]!r}: {reason}") from error

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def ended(self) -> bool:
        """Whether it has ended; passes on the signals that have come."""
        self.pass_signals_on()
        return self._has_ended()

    def _has_ended(self) -> bool:
        # Not to be waited for before: where this process traces it, a stop would be taken for its
        # end, and be gone for the thread that is to let it go on.
        if self._process.returncode is None:
            found = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if found and found.si_code in _ENDS:
                self._process.poll()
        return self._process.returncode is not None

    def pass_signals_on(self, seconds: float = 0.0) -> bool:
        """Pass on the signals that have come; wait for one, for at most ``seconds``.

        Returns False, for a signal is not to end what we do.
        """
        while received := self._kept or signal.sigtimedwait(_WAITED_FOR, seconds):
            seconds, self._kept = 0, None
            meant = received.si_signo != signal.SIGCHLD and received.si_code != _SI_KERNEL
            if meant and not self._has_ended():
                os.kill(self.pid, received.si_signo)
        return False

    def keep_signal(self, seconds: float | None) -> None:
        """Wait for the program's end or for a signal, which is not passed on yet."""
        ends_s = time.monotonic() + seconds if seconds is not None else math.inf
        while not self._kept and not self._has_ended():
            left_s = ends_s - time.monotonic()
            if left_s <= 0:
                break
            received = signal.sigtimedwait(_WAITED_FOR, min(left_s, _LONGEST_WAIT_S))
            if received and received.si_signo != signal.SIGCHLD:
                self._kept = received

    def wait(self) -> int:
        """Return the exit status as a shell has it when it has ended: 128 + n for signal n."""
        while not self.ended():
            self.pass_signals_on(1)
        status = self._process.returncode
        return status if status >= 0 else 128 - status

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        self.pass_signals_on()
        self._restore()

    def _restore(self) -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)
