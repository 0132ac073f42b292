"""No stack is one that the target never had, however fast it moves and however fast it is read."""

from pathlib import Path

import pytest
from onlooker import Recording, Target
from onlooker.observe.recorder import Pause

from tests.conftest import StartTarget
from tests.enough import Enough
from tests.interpreters import PROGRAMS, Interpreter
from tests.soak import soak_seconds
from tests.stacks import Rules, text

PROGRAM = Path("truth_calls.py")
RULES = Rules(PROGRAMS / PROGRAM, ["work"])

MODES = (
    "calls 1",
    "generators 1",
    "coroutines 1",
    "async_generators 1",
    "recursion 1",
    "far_down 1",
    "exceptions 1",
    "through_c 1",
    "calls 3",
)

FULL_SPEED_HZ = 1e6


def objections(recording: Recording, workers: str) -> list[str]:
    """What is wrong with which stacks of these threads, and how often they were seen."""
    profile = recording.profile("wall", all_frames=True)
    found = []
    for sample in profile.samples:
        objection = RULES.objection(sample.stack)
        if objection and dict(sample.labels)["thread_id"] in workers.split():
            found.append(f"{sample.values[0]} times {objection}: {text(sample.stack)}")
    return found


@pytest.mark.parametrize(
    ("rate_hz", "pause", "seconds"),
    [(FULL_SPEED_HZ, "auto", 0.4), (FULL_SPEED_HZ, "never", 0.3), (1000, "auto", 0.3)],
    ids=["full-speed", "never-paused", "1kHz"],
)
def test_no_stack_is_impossible(
    interpreter: Interpreter,
    start_target: StartTarget,
    rate_hz: float,
    pause: Pause,
    seconds: float,
) -> None:
    target = start_target(interpreter, PROGRAM)
    for mode in MODES:
        target.send(mode)
        workers = target.read_line()
        with Target(target.pid) as opened:
            enough = Enough(soak_seconds(seconds), ticks=4, samples=4)
            recording = opened.record(
                ["wall"], rate_hz=rate_hz, pause=pause, stop=enough.stop, progress=enough.progress
            )
        counters = recording.counters
        print(interpreter.name, mode, pause, rate_hz, counters, recording.pauses_ns[-1:])
        assert objections(recording, workers) == []
        if pause == "auto":
            assert counters.lost == 0, counters
        else:
            assert counters.paused == 0
