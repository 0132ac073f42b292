"""`onlooker growth` and `onlooker diff` on snapshots of a real process that leaks."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from onlooker import Target, snapshots

from tests.commands import onlooker
from tests.conftest import StartTarget
from tests.interpreters import Interpreter

QUARTER_NS = 900_000_000_000
START_NS = 1_770_091_506_000_000_000
ROUNDS = 9

#: Each line is a quarter of an hour of work: sessions that stay, a cache that is soon full, and
#: more or less garbage. The answer is what the program knows of its own leak.
LEAKY = """
import sys, tracemalloc
SESSIONS, CACHE = {}, []

class Session:
    def __init__(self, number):
        self.token = "token %d" % number

def open_session():
    SESSIONS[len(SESSIONS)] = Session(len(SESSIONS))

def look_up():
    if len(CACHE) < 30:
        CACHE.append(bytearray(50000))

def round_of_work(number):
    global garbage
    garbage = [bytearray(100) for _ in range(1000 * (number % 3))]
    for _ in range(200):
        open_session()
    for _ in range(10):
        look_up()

print("ready", flush=True)
for number, _ in enumerate(sys.stdin):
    round_of_work(number)
    print(sum(sys.getsizeof(session.token) for session in SESSIONS.values()), flush=True)
"""


@pytest.fixture
def taken(
    any_interpreter: Interpreter, start_target: StartTarget, tmp_path: Path
) -> Iterator[tuple[Path, list[int]]]:
    """The directory of the snapshots, and how many bytes of tokens there were at each."""
    target = start_target(any_interpreter, LEAKY, python_args=("-X", "tracemalloc=5"))
    assert target.read_line() == "ready"
    directory = tmp_path / "snapshots"
    leaked = []
    with Target(target.pid) as looked_at:
        identity = looked_at.runtime.identity
        for number in range(ROUNDS):
            target.send("work")
            leaked.append(int(target.read_line()))
            name = snapshots.snapshot_name(
                identity.program,
                identity.pid,
                identity.start_time_ns,
                START_NS + number * QUARTER_NS,
                "heap",
            )
            with snapshots.lock(directory):
                snapshots.save(directory, name, looked_at.write_heap_profile)
    yield directory, leaked


def leaf(found: dict[str, Any]) -> str:
    return str(found["what"][-1]["function"])


def test_leak_is_found_and_diff_agrees(taken: tuple[Path, list[int]]) -> None:
    directory, leaked = taken
    (process,) = onlooker("growth", directory, "--json", "--top", 1000).ok().json["processes"]
    assert len(process["snapshots"]) == ROUNDS
    suspects = {leaf(found): found for found in process["stacks"] if found["suspect"]}
    assert {"__main__.Session.__init__", "__main__.open_session"} <= set(suspects)
    assert not {"__main__.look_up", "__main__.round_of_work"} & set(suspects)
    tokens = suspects["__main__.Session.__init__"]
    names = [step["function"] for step in tokens["what"]]
    assert names[-3:] == [
        "__main__.round_of_work",
        "__main__.open_session",
        "__main__.Session.__init__",
    ]
    hours = (ROUNDS - 1) / 4
    assert tokens["count_last"] - tokens["count_first"] >= 200 * (ROUNDS - 1)
    assert tokens["amount_last"] - tokens["amount_first"] >= leaked[-1] - leaked[0]
    assert tokens["count_per_hour"] == pytest.approx(
        (tokens["count_last"] - tokens["count_first"]) / hours, rel=0.01
    )
    assert tokens["not_falling"] == 1
    diff_agrees(directory, process["stacks"])


def diff_agrees(directory: Path, trends: list[dict[str, Any]]) -> None:
    first, *_, last = (snapshot.path for snapshot in snapshots.snapshots(directory))
    differs = onlooker("diff", first, last, "--json", "--top", 1000).ok().json["changes"]
    changes = {str(change["what"]): change for change in differs}
    compared = 0
    for trend in trends:
        change = changes.get(str(trend["what"]), {"amount": 0, "count": 0})
        assert trend["amount_last"] - trend["amount_first"] == change["amount"]
        assert trend["count_last"] - trend["count_first"] == change["count"]
        compared += change["amount"] != 0
    assert compared >= 3
