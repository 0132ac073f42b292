"""Many threads and several interpreters: each is seen, and each counts for itself."""

import time
from collections import Counter
from pathlib import Path

import pytest
from onlooker import Profile, Recording, Target
from onlooker.target import Progress

from tests.conftest import StartTarget
from tests.enough import MEASURES, Enough
from tests.interpreters import Interpreter
from tests.interpreters import Target as Program
from tests.stacks import short_name

pytestmark = MEASURES

MANY = Path("truth_many.py")
INTERPRETERS = Path("truth_interpreters.py")

WAITING = 300


def by_label(profile: Profile, key: str) -> tuple[Counter[str], Counter[str]]:
    """How many samples and nanoseconds each has whom this label tells."""
    samples: Counter[str] = Counter()
    nanoseconds: Counter[str] = Counter()
    for sample in profile.samples:
        who = str(dict(sample.labels)[key])
        samples[who] += sample.values[0]
        nanoseconds[who] += sample.values[1]
    return samples, nanoseconds


def test_many_threads(interpreter: Interpreter, start_target: StartTarget) -> None:
    target = start_target(interpreter, MANY, str(WAITING))
    ids = target.read_json()
    waiting, busy = set(map(str, ids["waiting"])), str(ids["busy"])
    assert len(waiting) == WAITING
    enough = Enough(1, ticks=10)
    looks: list[Progress] = []

    def progress(now: Progress) -> None:
        looks.append(now)
        enough.progress(now)

    began_ns = time.monotonic_ns()
    with Target(target.pid) as opened:
        recording = opened.record(
            ["wall", "cpu"], rate_hz=1000, stop=enough.stop, progress=progress
        )
    most_ns = time.monotonic_ns() - began_ns
    counters = recording.counters
    # The first tick began before the first look that knows of one, the last one after this look.
    first = next(look for look in looks if look.counters.ticks)
    last = [look for look in looks if look.counters.ticks < counters.ticks][-1]
    least_ns = last.elapsed_ns - first.elapsed_ns
    samples, wall_ns = by_label(recording.profile("wall"), "thread_id")
    assert samples.keys() == {*waiting, busy, str(target.pid)}
    # All are looked at in each tick, so all count the time from the first tick to the last one.
    times = {wall_ns[thread] for thread in waiting}
    print(interpreter.name, counters, least_ns, times, most_ns)
    assert {samples[thread] for thread in waiting} == {counters.ticks}
    assert len(times) == 1
    assert least_ns <= max(times) <= most_ns
    waits = sum(
        sample.values[0]
        for sample in recording.profile("wall").samples
        if "wait_here" in map(short_name, sample.stack)
    )
    assert waits == WAITING * counters.ticks
    cpu_ns = by_label(recording.profile("cpu"), "thread_id")[1]
    assert max(cpu_ns, key=cpu_ns.__getitem__) == busy


def record_interpreters(target: Program, ids: dict[str, int]) -> Recording:
    """Each interpreter's thread is seen, with its label and with its own functions."""
    enough = Enough(0.3, ticks=50)
    with Target(target.pid) as opened:
        recording = opened.record(
            ["wall", "gil", "cpu"], rate_hz=300, stop=enough.stop, progress=enough.progress
        )
    assert len(ids) == 3
    seen = set()
    for sample in recording.profile("wall").samples:
        labels, functions = dict(sample.labels), set(map(short_name, sample.stack))
        if labels["thread_id"] == str(target.pid):  # it waits in the main interpreter
            assert labels["interpreter"] == "0"
            continue
        assert ids[str(labels["interpreter"])] == int(labels["thread_id"])
        assert ("burn_outside" if labels["interpreter"] == "0" else "burn_inside") in functions
        assert not functions >= {"burn_outside", "burn_inside"}
        seen.add(labels["interpreter"])
    assert seen == set(ids)
    return recording


def test_interpreters_that_share_the_gil(
    interpreter: Interpreter, start_target: StartTarget
) -> None:
    target = start_target(interpreter, INTERPRETERS, "shared")
    recording = record_interpreters(target, ids := target.read_json())
    held, held_ns = by_label(recording.profile("gil"), "interpreter")
    assert held.keys() == ids.keys()
    # Not two at a time: at most one thread in each tick.
    print(interpreter.name, held, held_ns, recording.counters)
    assert held.total() <= recording.counters.ticks


@pytest.mark.interpreters(since=(3, 12))
def test_interpreters_with_a_gil_each(interpreter: Interpreter, start_target: StartTarget) -> None:
    target = start_target(interpreter, INTERPRETERS, "own")
    recording = record_interpreters(target, ids := target.read_json())
    held, held_ns = by_label(recording.profile("gil"), "interpreter")
    # Nobody asks for the GIL of one that is busy, so it has it all the time, on CPU or not. Only
    # the main interpreter's main thread may have it until it waits for its input.
    walls, wall_ns = by_label(recording.profile("wall"), "thread_id")
    print(interpreter.name, held, held_ns, walls, recording.counters)
    for number, thread in ids.items():
        if number != "0":
            assert held[number] == walls[str(thread)]
            assert held_ns[number] == wall_ns[str(thread)]
    assert held["0"] > walls[str(ids["0"])] / 2
