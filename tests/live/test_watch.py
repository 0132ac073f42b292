"""A recording in the background gives profiles that only grow, until the target ends."""

import threading
from pathlib import Path

import pytest
from onlooker import Profile, Target
from onlooker.errors import UsageError
from onlooker.recording import STOPPED, TARGET_ENDED
from onlooker.watch import Watch

from tests.conftest import StartTarget
from tests.enough import MEASURES
from tests.interpreters import Interpreter

pytestmark = MEASURES

WAITS = Path("waits.py")


def delay_ns(profile: Profile) -> int:
    return sum(sample.values[1] for sample in profile.samples)


def test_it_only_grows(any_interpreter: Interpreter, start_target: StartTarget) -> None:
    target = start_target(any_interpreter, WAITS)
    threads = len(target.read_json())
    with Target(target.pid) as opened, Watch(opened, rate_hz=50) as watch:
        while not delay_ns(first := watch.profile("block")):
            pass
        while delay_ns(second := watch.profile("block")) <= delay_ns(first):
            pass
        assert watch.running
        # Others may ask at the same time.
        answers: list[Profile] = []
        asking = [
            threading.Thread(target=lambda: answers.append(watch.profile("block")))
            for _ in range(5)
        ]
        for thread in asking:
            thread.start()
        for thread in asking:
            thread.join()
        watch.close()
        assert not watch.running
        last = watch.profile("block")
        assert watch.recording().end == STOPPED
        with pytest.raises(UsageError, match="was not recorded"):
            watch.profile("cpu")
    assert all(delay_ns(second) <= delay_ns(answer) <= delay_ns(last) for answer in answers)
    assert len(answers) == 5
    assert sum(sample.values[0] for sample in last.samples) >= threads - 1


def test_what_was_recorded_outlives_the_target(
    any_interpreter: Interpreter, start_target: StartTarget
) -> None:
    target = start_target(any_interpreter, WAITS)
    target.read_line()
    with Target(target.pid) as opened, Watch(opened, rate_hz=50) as watch:
        while not delay_ns(watch.profile("block")):
            pass
        target.close()
        while watch.running:
            watch.profile("mutex")
        assert watch.recording().end == TARGET_ENDED
        assert delay_ns(watch.profile("block")) > 0
