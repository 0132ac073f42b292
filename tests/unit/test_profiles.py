"""The profiles by name, with Go's words for what goes wrong, without a process."""

import gzip
import io
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from onlooker import outputs
from onlooker.errors import OnlookerError, TargetGone, UsageError
from onlooker.outputs import profile_pb2 as pb
from onlooker.profile.model import Location, Mapping, Profile, Sample, ValueType
from onlooker.profiles import CpuProfiling, NamedProfile, Profiles

from tests import profiles

F, G, H = (Location(profiles.function(name), 3) for name in ("app.f", "app.g", "app.h"))
GOROUTINE = (ValueType("goroutine", "count"),)
CONTENTIONS = (ValueType("contentions", "count"), ValueType("delay", "nanoseconds"))


def describe() -> tuple[Mapping, str]:
    return profiles.PYTHON, "target: app.py"


def no_recording(_rate_hz: float, _stop: Callable[[], bool]) -> Profile:
    raise AssertionError("nothing is to be recorded")


def goroutine() -> Profile:
    samples = [Sample((F,), (3,), ()), Sample((G, F), (1,), ())]
    return profiles.cpu_profile(samples)._replace(kind="goroutine", sample_types=GOROUTINE)


def block() -> Profile:
    samples = [Sample((F,), (3, 70), ()), Sample((G, F), (1, 900), ())]
    return profiles.cpu_profile(samples)._replace(kind="block", sample_types=CONTENTIONS)


def named() -> Profiles:
    built_in = (
        NamedProfile("goroutine", goroutine, lambda: "thread 7 é\udcff\n"),
        NamedProfile("block", block),
    )
    return Profiles(built_in, describe, no_recording)


def written(profile: NamedProfile, debug: int) -> bytes:
    file = io.BytesIO()
    profile.write_to(file, debug)
    return file.getvalue()


def formatted(profile: Profile, form: str) -> bytes:
    file = io.BytesIO()
    outputs.load(form).write(profile, file)
    return file.getvalue()


def test_profiles_are_listed_by_name_and_found() -> None:
    every = named()
    mine = every.new("a.b/conn")
    assert [profile.name for profile in every.all()] == ["a.b/conn", "block", "goroutine"]
    assert every.lookup("a.b/conn") is mine
    goroutines = every.lookup("goroutine")
    assert goroutines is not None
    assert goroutines.name == "goroutine"
    assert every.lookup("Goroutine") is None
    assert every.lookup("") is None


def test_counts() -> None:
    """The index shows them: stacks, or for contentions records."""
    every = named()
    assert [profile.count() for profile in every.all()] == [2, 4]


@pytest.mark.parametrize("debug", [-1, 0, 1, 2, 3])
def test_forms(debug: int) -> None:
    goroutines, blocks = (named().lookup(name) for name in ("goroutine", "block"))
    assert goroutines is not None
    assert blocks is not None
    form = "pprof" if debug <= 0 else "text"
    assert written(blocks, debug) == formatted(block(), form)
    if debug < 2:
        assert written(goroutines, debug) == formatted(goroutine(), form)
    else:
        assert written(goroutines, debug) == "thread 7 é\\udcff\n".encode()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("", "pprof: NewProfile with empty name"),
        ("goroutine", "pprof: NewProfile name already in use: goroutine"),
        ("mine", "pprof: NewProfile name already in use: mine"),
    ],
)
def test_names_that_can_not_be(name: str, words: str) -> None:
    every = named()
    every.new("mine")
    with pytest.raises(UsageError) as raised:
        every.new(name)
    assert str(raised.value) == words
    assert len(every.all()) == 3


def test_custom_profile_keeps_a_stack_for_each_value() -> None:
    mine = named().new("mine")
    assert mine.count() == 0
    assert mine.profile().samples == []
    for value in range(3):
        mine.add(value, [G, F])
    mine.add("a", [F])
    mine.add("b", (F, F))
    mine.add("c", [F])
    mine.add(("no", "frames"), [])
    mine.remove("b")
    mine.remove("never there")
    with pytest.raises(UsageError) as raised:
        mine.add(2, [H])
    assert str(raised.value) == "pprof: Profile.Add of duplicate value"
    assert mine.count() == 6
    found = [
        ([at.function.name for at in sample.stack], *sample.values)
        for sample in mine.profile().samples
    ]
    assert found == [(["app.g", "app.f"], 3), (["app.f"], 2), (["<no stack>"], 1)]
    mine.remove(2)
    mine.add(2, [H])
    assert mine.count() == 6


def test_custom_profile_is_what_go_writes() -> None:
    mine = named().new("mine")
    others = [[Location(H.function, line)] for line in range(20)]
    for value, stack in enumerate(([G, F], *others, [G, F])):
        mine.add(value, stack)
    message = pb.Profile.FromString(gzip.decompress(written(mine, 0)))
    text = message.string_table
    (sample_type,) = message.sample_type
    for value_type in (sample_type, message.period_type):
        assert (text[value_type.type], text[value_type.unit]) == ("mine", "count")
    assert (message.period, message.duration_nanos) == (1, 0)
    assert message.time_nanos > 0
    assert [text[comment] for comment in message.comment] == ["target: app.py"]
    addresses = {entry.id: entry.address for entry in message.location}
    stacks = [
        [f"{addresses[number] + 1:#x}" for number in sample.location_id]
        for sample in message.sample
    ]
    counts = [sample.value[0] for sample in message.sample]
    assert counts == [2, *(1 for _ in others)]
    header, *lines = written(mine, 1).decode().splitlines()
    assert header == "mine profile: total 22"
    # Both forms are in Go's order: the count, descending, and then the addresses as text.
    assert [line for line in lines if " @ " in line] == [
        f"{count} @ {' '.join(stack)}" for count, stack in zip(counts, stacks, strict=True)
    ]
    assert stacks[1:] == sorted(stacks[1:])


def test_custom_profile_takes_threads() -> None:
    every = named()
    mine = every.new("mine")
    together = threading.Barrier(8)

    def add(worker: int) -> int:
        together.wait()
        refused = 0
        for value in range(300):
            try:
                mine.add(value, [F])
            except UsageError:
                refused += 1
            mine.add((worker, value), [G])
            mine.profile()
            mine.remove((worker, value))
        return refused

    with ThreadPoolExecutor(8) as pool:
        refused = list(pool.map(add, range(8)))
    assert sum(refused) == 7 * 300, "each value is taken once"
    assert mine.count() == 300


def test_one_name_is_given_to_one_thread_only() -> None:
    every = named()
    together = threading.Barrier(8)

    def make(_: int) -> bool:
        together.wait()
        try:
            every.new("mine")
        except UsageError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(make, range(8))) == 1


class Recording:
    """Records until it is stopped, as Target.record does."""

    def __init__(self) -> None:
        self.error: OnlookerError | None = None
        self.rates: list[float] = []

    def __call__(self, rate_hz: float, stop: Callable[[], bool]) -> Profile:
        if self.error:
            raise self.error
        self.rates.append(rate_hz)
        while not stop():
            pass
        return profiles.small_profile()


def test_one_cpu_profile_at_a_time() -> None:
    recording = Recording()
    profiling = CpuProfiling(recording)
    profiling.stop()
    for rate_hz in (100, 250):
        file = io.BytesIO()
        profiling.start(file, rate_hz)
        other = io.BytesIO()
        with pytest.raises(UsageError) as raised:
            profiling.start(other, 10)
        assert str(raised.value) == "cpu profiling already in use"
        assert file.getvalue() == b""
        profiling.stop()
        assert file.getvalue() == formatted(profiles.small_profile(), "pprof")
        assert other.getvalue() == b""
        profiling.stop()
    assert recording.rates == [100, 250]


def test_what_fails_at_the_start_leaves_room_for_another() -> None:
    recording = Recording()
    profiling = CpuProfiling(recording)
    recording.error = TargetGone("process 7 has ended")
    with pytest.raises(TargetGone):
        profiling.start(io.BytesIO(), 100)
    recording.error = None
    file = io.BytesIO()
    profiling.start(file, 100)
    profiling.stop()
    assert file.getvalue()


def test_what_fails_later_is_told_by_stop() -> None:
    def record(_rate_hz: float, stop: Callable[[], bool]) -> Profile:
        while not stop():
            pass
        raise TargetGone("process 7 has ended")

    profiling = CpuProfiling(record)
    for _ in range(2):
        profiling.start(io.BytesIO(), 100)
        with pytest.raises(TargetGone):
            profiling.stop()


def test_of_many_threads_one_starts_a_cpu_profile() -> None:
    profiling = CpuProfiling(Recording())
    together = threading.Barrier(8)

    def start(_: int) -> bool:
        together.wait()
        try:
            profiling.start(io.BytesIO(), 100)
        except UsageError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(start, range(8))) == 1
    profiling.stop()
