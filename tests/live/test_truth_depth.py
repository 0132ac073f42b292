"""Stacks of thousands of frames: what is cut off is counted, and costs nothing."""

import resource
from dataclasses import dataclass
from pathlib import Path

from onlooker import Target
from onlooker.recording import DEFAULT_DEPTH, Progress

from tests.commands import onlooker
from tests.conftest import StartTarget
from tests.enough import Enough
from tests.interpreters import Interpreter
from tests.stacks import short_name

PROGRAM = Path("truth_deep.py")


@dataclass(frozen=True)
class Deep:
    """What is known of a recording of a deep thread."""

    ns_per_sample: float
    omitted: int


def cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_THREAD)
    return usage.ru_utime + usage.ru_stime


def record(
    interpreter: Interpreter, start_target: StartTarget, frames: int, depth: int = DEFAULT_DEPTH
) -> Deep:
    """Records a thread so many frames deep, and checks its stacks."""
    target = start_target(interpreter, PROGRAM, str(frames))
    tid, height = target.read_json()
    costs: list[tuple[float, int]] = []
    enough = Enough(0.4, ticks=20, samples=20)

    def progress(now: Progress) -> None:
        costs.append((cpu_s(), now.counters.samples))
        enough.progress(now)

    with Target(target.pid) as opened:
        recording = opened.record(
            ["cpu"], rate_hz=1000, depth=depth, stop=enough.stop, progress=progress
        )
    found = 0
    for sample in recording.profile("cpu", all_frames=True).samples:
        if dict(sample.labels)["thread_id"] != str(tid):
            continue
        *names, last = map(short_name, sample.stack)
        assert len(names) == depth
        leaf = names[0] == "leaf"
        assert names == [*["leaf"][:leaf], "bottom", *["down"] * (depth - 1 - leaf)]
        # It is not counted anew for each sample, and there may be a leaf more or less meanwhile.
        assert last in {f"<{height - depth + more} frames omitted>" for more in (0, 1)}
        found += sample.values[0]
    assert found > 10, recording.counters
    assert recording.counters.lost == 0
    # What comes before the first progress is for once, and does not depend on samples.
    (began_s, samples_before), (ended_s, samples) = costs[0], costs[-1]
    cost = (ended_s - began_s) * 1e9 / (samples - samples_before)
    print(
        f"{interpreter.name}, {height} frames, {cost / 1e3:.0f} us a sample, {recording.counters}"
    )
    return Deep(cost, height - depth)


def test_deep_stacks(interpreter: Interpreter, start_target: StartTarget) -> None:
    reference = record(interpreter, start_target, 1000)
    for frames in (5000, 20000):
        deep = record(interpreter, start_target, frames)
        assert deep.omitted > frames - DEFAULT_DEPTH
        assert deep.ns_per_sample < 4 * reference.ns_per_sample


def test_depth_is_respected(interpreter: Interpreter, start_target: StartTarget) -> None:
    record(interpreter, start_target, 5000, depth=10)


def test_depth_of_the_command(
    any_interpreter: Interpreter, start_target: StartTarget, tmp_path: Path
) -> None:
    target = start_target(any_interpreter, PROGRAM, "5000")
    _, height = target.read_json()
    arguments = ("--seconds", 0.3, "--depth", 7, "--all-frames", "--format", "folded", "-o", "-")
    done = onlooker("attach", "--pid", target.pid, *arguments, cwd=tmp_path).ok()
    stacks = [line.rpartition(" ")[0].split(";") for line in done.text.splitlines()]
    deep = [stack for stack in stacks if "omitted>" in " ".join(stack)]
    assert deep
    for stack in deep:
        (marker,) = [at for at, name in enumerate(stack) if "omitted>" in name]
        assert len(stack) - marker - 1 == 7
        assert stack[marker] in {f"<{height - 7 + more} frames omitted>" for more in (0, 1)}
