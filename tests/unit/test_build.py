"""From the recorder's rows to a profile."""

import random
from collections import defaultdict

import pytest
from onlooker.profile.bootstrap import without_bootstrap
from onlooker.profile.build import Recording, build
from onlooker.profile.kinds import KINDS
from onlooker.profile.model import Function, Labels, Location, Mapping, Profile
from onlooker.profile.rows import HOLDS_GIL, ON_CPU, Row, Thread

RECORDING = Recording(
    rate_hz=200,
    time_ns=1_700_000_000_000_000_000,
    duration_ns=3_000_000_000,
    comments=("onlooker 0.1.0",),
    mapping=Mapping("/usr/bin/python3.12", "beef"),
)
STDLIB = "/usr/lib/python3.12"


def location(name: str, filename: str = "/srv/app.py", line: int = 1) -> Location:
    return Location(Function(name, name.rpartition(".")[2], filename, 1), line)


MAIN, WORK, SLEEP = location("app.main"), location("app.work"), location("app.sleep")
BOOTSTRAP = location("threading.Thread._bootstrap", f"{STDLIB}/threading.py")
INNER = location("threading.Thread._bootstrap_inner", f"{STDLIB}/threading.py")
RUN = location("threading.Thread.run", f"{STDLIB}/threading.py")

STACKS = {1: [WORK, MAIN], 2: [WORK, MAIN], 3: [SLEEP, MAIN], 4: [WORK, RUN, INNER, BOOTSTRAP]}
THREADS = {10: Thread(110, "MainThread"), 11: Thread(111, "worker"), 12: Thread(112)}


def cpu(rows: list[Row], *, all_frames: bool = False) -> Profile:
    return build(KINDS["cpu"], rows, STACKS.__getitem__, THREADS, RECORDING, all_frames=all_frames)


def test_circumstances_are_kept() -> None:
    profile = cpu([])
    assert profile.kind == "cpu"
    assert profile.period == 5_000_000
    assert (profile.time_ns, profile.duration_ns) == (RECORDING.time_ns, RECORDING.duration_ns)
    assert (profile.comments, profile.mapping) == (RECORDING.comments, RECORDING.mapping)
    assert list(profile.samples) == []


def test_equal_stacks_of_a_thread_are_one_sample() -> None:
    profile = cpu(
        [
            Row(1, 10, ON_CPU, 2, 99, 20),
            Row(3, 10, ON_CPU, 1, 99, 5),
            Row(2, 10, ON_CPU | HOLDS_GIL, 3, 99, 30),
            Row(1, 11, ON_CPU, 4, 99, 40),
            Row(1, 10, 0, 100, 99, 0),
        ]
    )
    assert [(sample.stack, sample.values, dict(sample.labels)) for sample in profile.samples] == [
        ((WORK, MAIN), (5, 50), {"thread": "MainThread", "thread_id": "110"}),
        ((SLEEP, MAIN), (1, 5), {"thread": "MainThread", "thread_id": "110"}),
        ((WORK, MAIN), (4, 40), {"thread": "worker", "thread_id": "111"}),
    ]


def test_thread_without_a_name_or_unknown_has_its_id_only() -> None:
    profile = cpu([Row(1, 12, ON_CPU, 1, 1, 1), Row(1, 13, ON_CPU, 1, 1, 1)])
    assert [sample.labels for sample in profile.samples] == [
        (("thread_id", "112"),),
        (("thread_id", "13"),),
    ]


def test_interpreters_are_told_apart_only_if_there_are_several() -> None:
    threads = {1: Thread(50, "t", interpreter=0), 2: Thread(50, "t", interpreter=3)}
    rows = [Row(1, 1, 0, 1, 1, 1), Row(1, 2, 0, 1, 1, 1)]
    several = build(KINDS["wall"], rows, STACKS.__getitem__, threads, RECORDING)
    assert [dict(sample.labels)["interpreter"] for sample in several.samples] == ["0", "3"]
    one = build(KINDS["wall"], rows[:1], STACKS.__getitem__, {1: threads[1]}, RECORDING)
    assert "interpreter" not in dict(one.samples[0].labels)


def test_samples_are_a_sequence() -> None:
    samples = cpu([Row(1, 10, ON_CPU, 1, 1, 1), Row(3, 11, ON_CPU, 2, 2, 2)]).samples
    assert [sample.stack for sample in samples] == [(WORK, MAIN), (SLEEP, MAIN)]
    assert [samples[-1]] == list(samples)[1:] == samples[1:]
    with pytest.raises(IndexError):
        samples[2]


def test_bootstrap_frames_are_hidden_unless_asked_for() -> None:
    rows = [Row(4, 11, ON_CPU, 1, 1, 1)]
    assert cpu(rows).samples[0].stack == (WORK,)
    assert cpu(rows, all_frames=True).samples[0].stack == (WORK, RUN, INNER, BOOTSTRAP)


@pytest.mark.parametrize("seed", range(5))
def test_sums_equal_a_plain_addition(seed: int) -> None:
    choose = random.Random(seed)
    frames = [location(f"app.f{number}", line=line) for number in range(4) for line in range(2)]
    stacks = {i: choose.choices(frames, k=choose.randrange(4)) for i in range(60)}
    rows = [
        Row(
            choose.randrange(60),
            choose.choice([10, 11, 12]),
            choose.randrange(4),
            choose.randrange(1, 9),
            choose.randrange(1 << 40),
            choose.randrange(1 << 40),
        )
        for _ in range(3000)
    ]
    expected: dict[tuple[tuple[Location, ...], str], list[int]] = defaultdict(lambda: [0, 0])
    for row in rows:
        if row.facts & HOLDS_GIL:
            sums = expected[tuple(stacks[row.stack_id]), str(THREADS[row.thread_id].thread_id)]
            sums[0] += row.samples
            sums[1] += row.wall_ns
    profile = build(KINDS["gil"], rows, stacks.__getitem__, THREADS, RECORDING)

    def thread_id(labels: Labels) -> object:
        return dict(labels)["thread_id"]

    found = {(s.stack, thread_id(s.labels)): list(s.values) for s in profile.samples}
    assert found == expected
    assert len(profile.samples) == len(found), "no stack and labels twice"


# Bootstrap frames, leaf first. What real interpreters have there is tested in tests/live.

FROZEN_RUN = location("runpy._run_code", "<frozen runpy>")
FROZEN_MAIN = location("runpy._run_module_as_main", "<frozen runpy>")
COMMAND = location("<module>", "<string>")
SPAWN = location("multiprocessing.spawn.spawn_main", f"{STDLIB}/multiprocessing/spawn.py")


@pytest.mark.parametrize(
    ("stack", "shown"),
    [
        ([WORK, MAIN], [WORK, MAIN]),
        ([WORK, FROZEN_RUN, FROZEN_MAIN], [WORK]),
        # Frames further up than the first frame of the program's own belong to what it does.
        ([WORK, RUN, INNER, BOOTSTRAP, MAIN], [WORK, RUN, INNER, BOOTSTRAP, MAIN]),
        ([FROZEN_RUN, WORK, FROZEN_RUN, FROZEN_MAIN], [FROZEN_RUN, WORK]),
        # All of it is bootstrap: shown whole, never empty.
        ([INNER, BOOTSTRAP], [INNER, BOOTSTRAP]),
        ([], []),
        # The command that multiprocessing gives to python -c, and one that a user gives.
        ([WORK, SPAWN, COMMAND], [WORK]),
        ([SPAWN, COMMAND], [SPAWN, COMMAND]),
        ([WORK, COMMAND], [WORK, COMMAND]),
        ([COMMAND], [COMMAND]),
        # A cut stack has lost its root: what is left there isn't how the program was started.
        (
            [WORK, RUN, location("<9 frames omitted>", "")],
            [WORK, RUN, location("<9 frames omitted>", "")],
        ),
    ],
)
def test_only_the_root_is_bootstrap(stack: list[Location], shown: list[Location]) -> None:
    assert list(without_bootstrap(stack)) == shown


@pytest.mark.parametrize(
    ("name", "filename", "hidden"),
    [
        ("threading._bootstrap", "/opt/py38/lib/python3.8/threading.py", True),
        ("threading.Timer.start", f"{STDLIB}/threading.py", False),
        ("app._bootstrap", "/srv/app.py", False),
        ("mythreading._bootstrap", "/srv/mythreading.py", False),
        ("app.spawn._main", "/srv/app/spawn.py", False),
        ("importlib._bootstrap._find_and_load", "<frozen importlib._bootstrap>", True),
        (
            "concurrent.futures.thread._worker",
            "lib/python312.zip/concurrent/futures/thread.py",
            True,
        ),
        ("concurrent.futures.process.run", f"{STDLIB}/concurrent/futures/process.py", False),
    ],
)
def test_file_and_code_name_decide(name: str, filename: str, hidden: bool) -> None:
    stack = [WORK, location(name, filename)]
    assert list(without_bootstrap(stack)) == ([WORK] if hidden else stack)
