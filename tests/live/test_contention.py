"""The block profile says where threads wait and for what, the mutex profile who makes them wait."""

import re
import threading
from collections import defaultdict
from pathlib import Path

import pytest
from onlooker import Profile, Target

from tests.conftest import StartTarget
from tests.enough import MEASURES
from tests.interpreters import Interpreter
from tests.stacks import short_name

pytestmark = MEASURES

WAITS = Path("waits.py")
HOG = Path("hog.py")
RLOCKS = Path("rlocks.py")


def by_label(profile: Profile, key: str) -> dict[str, tuple[int, int]]:
    """Contentions and delay of the samples, by one of their labels."""
    found: dict[str, tuple[int, int]] = defaultdict(lambda: (0, 0))
    for sample in profile.samples:
        name = str(dict(sample.labels).get(key, ""))
        contentions, delay_ns = found[name]
        found[name] = contentions + sample.values[0], delay_ns + sample.values[1]
    return found


def test_each_wait_is_told(interpreter: Interpreter, start_target: StartTarget) -> None:
    target = start_target(interpreter, WAITS)
    names = set(target.read_json())
    with Target(target.pid) as opened:
        recording = opened.record(["block"], 1, rate_hz=200)
    profile = recording.profile("block")
    assert [kind.type for kind in profile.sample_types] == ["contentions", "delay"]
    waits = {
        str(labels["thread"]): labels["wait"] + (" idle" if "idle" in labels else "")
        for sample in profile.samples
        if (labels := {key: str(value) for key, value in sample.labels}).get("thread")
    }
    waits = {re.sub(r"_0$", "", name): wait for name, wait in waits.items()}
    assert waits.pop("MainThread") == "io"
    assert waits.pop("other") == "sleep"
    assert waits == {name: name for name in waits}
    assert len(waits) == len(names) - 2
    # None of them has run since before the recording: one wait each, all the time.
    for name, (contentions, delay_ns) in by_label(profile, "thread").items():
        assert contentions == 1, name
        assert 0.9 * recording.duration_ns < delay_ns <= recording.duration_ns, name


def test_waits_are_counted(interpreter: Interpreter, start_target: StartTarget) -> None:
    target = start_target(interpreter, WAITS)
    target.read_line()
    naps = 30
    done = threading.Event()

    def nap() -> None:
        target.send(str(naps))
        target.read_line()
        done.set()

    napping = threading.Thread(target=nap)
    with Target(target.pid) as opened:
        napping.start()
        recording = opened.record(["block"], rate_hz=1000, stop=done.is_set)
    napping.join()
    main = [
        sample
        for sample in recording.profile("block").samples
        if ("thread", "MainThread") in sample.labels
    ]
    sleeps = [sample for sample in main if ("wait", "sleep") in sample.labels]
    contentions = sum(sample.values[0] for sample in sleeps)
    delay_s = sum(sample.values[1] for sample in sleeps) / 1e9
    assert naps / 4 < contentions <= naps  # on a busy machine nobody sees some naps
    assert 0.5 * naps * 0.02 < delay_s <= recording.duration_ns / 1e9


@pytest.mark.alone
def test_who_holds_the_gil_is_charged(interpreter: Interpreter, start_target: StartTarget) -> None:
    target = start_target(interpreter, HOG)
    target.read_line()
    with Target(target.pid) as opened:
        target.send("start")
        target.read_line()
        recording = opened.record(["mutex", "gil"], 1, rate_hz=500)
        target.send("stop")
        asleep, off_cpu = target.read_json()["lost"]
    mutex = recording.profile("mutex")
    held: dict[str, int] = defaultdict(int)
    for sample in mutex.samples:
        assert ("lock", "GIL") in sample.labels
        held["hog" if "hog" in map(short_name, sample.stack) else "other"] += sample.values[1]
    waited = sum(held.values()) / recording.duration_ns
    assert 0.6 * asleep < waited < 1.4 * off_cpu
    # The other gives the GIL back after 5 ms, the hog only after its call of C.
    assert held["hog"] > 2 * held["other"]
    assert sum(sample.values[0] for sample in mutex.samples) > 0
    assert mutex.duration_ns == 0
    assert recording.profile("gil").duration_ns > 0


@pytest.mark.alone
@pytest.mark.parametrize("how", ["python", "c"])
def test_who_holds_an_rlock_is_charged(
    interpreter: Interpreter, start_target: StartTarget, how: str
) -> None:
    target = start_target(interpreter, RLOCKS, how)
    target.read_line()
    with Target(target.pid) as opened:
        target.send("start")
        target.read_line()
        recording = opened.record(["mutex"], 2, rate_hz=200)
        target.send("stop")
        waited_s, mostly = target.read_json()
    held: dict[str, float] = defaultdict(float)
    waits = 0
    for sample in recording.profile("mutex").samples:
        if ("lock", "RLock") in sample.labels:
            names = {short_name(location) for location in sample.stack}
            assert "hold" in names or names & {"by_with", "by_acquire", "by_c", "by_condition"}
            assert "outside" not in names
            function = next(iter(names & {"mostly", "seldom"}), "none")
            held[function] += sample.values[1] / 1e9
            waits += sample.values[0]
    total_s = sum(held.values())
    assert 0.6 * waited_s < total_s < 1.1 * waited_s
    assert held["mostly"] / total_s == pytest.approx(mostly, abs=0.2)
    assert held["none"] < 0.15 * total_s
    assert waits > 0
