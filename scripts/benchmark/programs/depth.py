"""usage: depth.py DEPTH THREADS LEAF   (LEAF: loop or calls)

THREADS threads of exactly DEPTH Python frames each. The main thread is busy in its leaf, the others
are asleep in time.sleep and, every second one, in threading.Event.wait. Prints one JSON object when
all are there.
"""

import itertools
import json
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType

arrived = threading.Semaphore(0)
never = threading.Event()


def frames() -> int:
    """The number of frames of this thread, without its own."""
    count = 0
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        count += 1
        frame = frame.f_back
    return count


def descend(remaining: int, leaf: Callable[[], None]) -> None:
    if remaining > 1:
        descend(remaining - 1, leaf)
    else:
        leaf()


def enter(depth: int, leaf: Callable[[], None], leaf_frames: int) -> None:
    """Calls leaf so that it and the functions it calls, leaf_frames in all, end a stack of depth."""
    descend(depth - frames() - leaf_frames, leaf)


def sleep_leaf() -> None:
    arrived.release()
    while True:
        time.sleep(3600)


def wait_leaf() -> None:
    arrived.release()
    never.wait()  # Event.wait and Condition.wait are Python functions


def loop_leaf() -> None:
    ready()
    for _ in itertools.repeat(None):
        pass


def one(value: int) -> int:
    return value + 1


def two(value: int) -> int:
    return one(value) + one(value)


def calls_leaf() -> None:
    ready()
    while True:
        two(1)
        one(2)


def stack_bytes(depth: int) -> int:
    """What a stack takes in its thread's datastack_chunk: 80 bytes of _PyInterpreterFrame before
    localsplus (CPython 3.14), then localsplus and the evaluation stack, for each frame."""
    code = descend.__code__
    return depth * (80 + 8 * (code.co_nlocals + code.co_stacksize))


def ready() -> None:
    depth = frames() - 1
    about = {
        "depth": depth,
        "threads": threading.active_count(),
        "stack_bytes": stack_bytes(depth),
    }
    print(json.dumps(about), flush=True)


def main() -> None:
    depth, threads = int(sys.argv[1]), int(sys.argv[2])
    for number in range(threads - 1):
        arguments = (depth, sleep_leaf, 1) if number % 2 == 0 else (depth, wait_leaf, 3)
        threading.Thread(target=enter, args=arguments, daemon=True).start()
    for _ in range(threads - 1):
        arrived.acquire()
    enter(depth, {"loop": loop_leaf, "calls": calls_leaf}[sys.argv[3]], 1)


main()
