"""Long work of the C extension, which a signal can end."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Final

from onlooker._native import ffi

_ASK_EVERY_S: Final = 0.1


def interruptible(work: Callable[[Any], int], stop: Callable[[], bool]) -> int:
    """What ``work`` returns, which ends early when its argument, an int32_t *, is not 0.

    It has a thread of its own, for Python takes a signal only between two of the main thread's
    instructions.
    """
    flag = ffi.new("int32_t *", stop())
    results: list[int] = []
    thread = threading.Thread(target=lambda: results.append(work(flag)))
    thread.start()
    try:
        while thread.is_alive():
            thread.join(_ASK_EVERY_S)
            if stop():
                flag[0] = 1
    finally:
        flag[0] = 1
        thread.join()
    return results[0]
