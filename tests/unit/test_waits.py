"""What a blocked thread waits for, as its frames and its system call tell it."""

import pytest
from onlooker.profile.model import Function, Location
from onlooker.profile.rows import WAITS, Row
from onlooker.profile.waits import wait_labels

LOCK = WAITS | 1 << 5
EPOLL = WAITS | 5 << 5


def frame(name: str, own: str) -> Location:
    return Location(Function(name, own, "/lib/it.py", 1), 2)


CONDITION = frame("threading.Condition.wait", "Condition.wait")
QUEUE = frame("queue.Queue.get", "Queue.get")
WORKER = frame("concurrent.futures.thread._worker", "_worker")
SELECT = frame("selectors.EpollSelector.select", "EpollSelector.select")
LOOP = frame("asyncio.base_events._run_once", "_run_once")  # as before 3.11
RUNNER = frame("asyncio.runners.Runner.run", "Runner.run")  # of uvloop, which has no frames
APP = frame("app.handle", "handle")


@pytest.mark.parametrize(
    ("facts", "stack", "labels"),
    [
        (LOCK, [APP], {"wait": "lock"}),
        (LOCK, [], {"wait": "lock"}),
        (LOCK, [CONDITION, APP], {"wait": "condition"}),
        (LOCK, [CONDITION, QUEUE, APP], {"wait": "queue"}),
        (LOCK, [APP, CONDITION], {"wait": "lock"}),
        (LOCK, [CONDITION, APP, QUEUE], {"wait": "condition"}),
        (LOCK, [WORKER, APP], {"wait": "queue", "idle": "true"}),
        (EPOLL, [SELECT, LOOP, APP], {"wait": "epoll", "idle": "true"}),
        (EPOLL, [SELECT, APP], {"wait": "epoll"}),
        (EPOLL, [RUNNER, APP], {"wait": "epoll", "idle": "true"}),
        (WAITS | 15 << 5, [APP], {"wait": "other"}),
    ],
)
def test_wait(facts: int, stack: list[Location], labels: dict[str, str]) -> None:
    row = Row(1, 1, facts, 1, 1, 0)
    assert dict(wait_labels(row, stack)) == labels
