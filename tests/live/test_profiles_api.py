"""The profiles of a running process by name, and what the README shows of the library."""

import gzip
import io
import re
import threading
from pathlib import Path

import onlooker
import pytest
from onlooker.errors import UsageError
from onlooker.outputs import profile_pb2 as pb
from onlooker.profile.model import Profile

from tests.conftest import StartTarget
from tests.enough import MEASURES
from tests.interpreters import ROOT, Interpreter, Target

pytestmark = MEASURES

#: Uses as much CPU time as it is told to, and says how much it was.
BURN = """
    import sys, time

    def burn(seconds):
        began = time.process_time()
        while time.process_time() - began < seconds:
            sum(range(1000))
        return time.process_time() - began

    print("ready", flush=True)
    for line in sys.stdin:
        print(burn(float(line)), flush=True)
"""


@pytest.fixture
def burner(any_interpreter: Interpreter, start_target: StartTarget) -> Target:
    target = start_target(any_interpreter, BURN)
    target.read_line()
    return target


def cpu_seconds(data: bytes, function: str = "burn") -> float:
    """The CPU time of stacks that this function is in."""
    message = pb.Profile.FromString(gzip.decompress(data))
    text = message.string_table
    assert [text[shown.type] for shown in message.sample_type] == ["samples", "cpu"]
    functions = {entry.id: text[entry.name] for entry in message.function}
    names = {entry.id: functions[entry.line[0].function_id] for entry in message.location}
    return (
        sum(
            sample.value[1]
            for sample in message.sample
            if any(names[at].endswith(f".{function}") for at in sample.location_id)
        )
        / 1e9
    )


def test_cpu_profile_from_start_to_stop(
    interpreter: Interpreter, start_target: StartTarget
) -> None:
    process = start_target(interpreter, BURN)
    process.read_line()
    with onlooker.Target(process.pid) as target:
        for rate_hz in (100.0, 250.0):
            file = io.BytesIO()
            target.start_cpu_profile(file, rate_hz)
            with pytest.raises(UsageError, match=r"^cpu profiling already in use$"):
                target.start_cpu_profile(io.BytesIO())
            process.send("0.2")
            burnt = float(process.read_line())
            assert file.getvalue() == b""
            target.stop_cpu_profile()
            # The kernel counts all of it, but for what came after the last sample.
            assert 0.5 * burnt < cpu_seconds(file.getvalue()) < burnt + 0.1
            message = pb.Profile.FromString(gzip.decompress(file.getvalue()))
            assert message.period == round(1e9 / rate_hz)
            target.stop_cpu_profile()


def test_cpu_profile_of_a_target_that_ends(burner: Target) -> None:
    file = io.BytesIO()
    with onlooker.Target(burner.pid) as target:
        target.start_cpu_profile(file)
        burner.send("0.2")
        burner.read_line()
        burner.wait()
        with pytest.raises(UsageError):
            target.start_cpu_profile(io.BytesIO())
        target.stop_cpu_profile()
    assert cpu_seconds(file.getvalue()) > 0.05


def test_cpu_profile_of_a_target_that_is_gone_at_the_next_sample(burner: Target) -> None:
    """Its clock is gone too: what it told last counts."""
    file = io.BytesIO()
    with onlooker.Target(burner.pid) as target:
        target.start_cpu_profile(file, 5)
        burner.send("1")
        burnt = float(burner.read_line())
        burner.process.kill()
        burner.process.wait()
        target.stop_cpu_profile()
    assert 0.5 * burnt < cpu_seconds(file.getvalue()) < burnt + 0.1


def test_close_ends_a_cpu_profile(burner: Target) -> None:
    file = io.BytesIO()
    threads = threading.active_count()
    with onlooker.Target(burner.pid) as target:
        target.start_cpu_profile(file)
        burner.send("0.2")
        burner.read_line()
    assert cpu_seconds(file.getvalue()) > 0.05
    assert threading.active_count() == threads


def test_start_says_what_is_wrong(burner: Target) -> None:
    with onlooker.Target(burner.pid) as target:
        with pytest.raises(UsageError, match="rate"):
            target.start_cpu_profile(io.BytesIO(), 0)
        file = io.BytesIO()
        target.start_cpu_profile(file)
        target.stop_cpu_profile()
        assert file.getvalue()


def test_custom_profile_of_stacks(interpreter: Interpreter, start_target: StartTarget) -> None:
    process = start_target(interpreter, BURN)
    process.read_line()
    with onlooker.Target(process.pid) as target:
        mine = target.new_profile("example.com/request")
        assert target.lookup("example.com/request") is mine
        assert mine in target.profiles()
        (main,) = target.stacks()
        for request in ("a", "b"):
            mine.add(request, main.stack)
        with pytest.raises(UsageError):
            mine.add("a", main.stack)
        (sample,) = mine.profile().samples
        assert (sample.stack, sample.values) == (main.stack, (2,))
        assert f"pid {process.pid}," in mine.profile().comments[0]
        assert mine.profile().mapping.file == target.runtime.image_path


def delay_ns(profile: Profile) -> int:
    return sum(sample.values[1] for sample in profile.samples)


def test_block_and_mutex_grow_while_somebody_watches(
    interpreter: Interpreter, start_target: StartTarget
) -> None:
    process = start_target(interpreter, Path("waits.py"))
    process.read_line()
    with onlooker.Target(process.pid) as target:
        block, mutex = target.lookup("block"), target.lookup("mutex")
        assert block is not None
        assert mutex is not None
        assert {"block", "mutex"} <= {profile.name for profile in target.profiles()}
        for profile in (block, mutex):
            empty = profile.profile()
            assert (profile.count(), len(empty.samples)) == (0, 0)
            assert f"{profile.name}: empty, as nobody watches: " in empty.comments[1]
            assert empty.time_ns > 0
            for debug in (0, 1):
                profile.write_to(io.BytesIO(), debug)
        with target.watch(rate_hz=50) as watch:
            with pytest.raises(UsageError, match=r"^watching already in use$"):
                target.watch()
            while not delay_ns(first := block.profile()):
                pass
            while delay_ns(second := block.profile()) <= delay_ns(first):
                pass
            assert block.count() > 0
            assert (second.period, second.duration_ns) == (1, 0)
            # A recording of the same process may go on at the same time.
            assert target.record(["cpu", "block"], seconds=0.05).profile("block").samples
        assert not watch.running
        last = block.profile()
        assert delay_ns(last) >= delay_ns(second)
        assert delay_ns(block.profile()) == delay_ns(last)
        text = io.BytesIO()
        block.write_to(text, debug=1)
        assert text.getvalue().startswith(b"--- contention:\ncycles/second=1000000000\n")
        text = io.BytesIO()
        mutex.write_to(text, debug=2)
        assert text.getvalue().startswith(b"--- mutex:\ncycles/second=1000000000\nsampling period")
        with pytest.raises(UsageError, match="rate"):
            target.watch(rate_hz=0)
        target.watch()
        assert block.profile().time_ns > last.time_ns, "another watch begins anew"


def test_close_ends_a_watch(burner: Target) -> None:
    threads = threading.active_count()
    with onlooker.Target(burner.pid) as target:
        watch = target.watch()
    assert not watch.running
    assert threading.active_count() == threads


def test_examples_of_the_readme_run(
    burner: Target,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    _, _, rest = (ROOT / "README.md").read_text().partition("\n## As a library\n")
    section, _, _ = rest.partition("\n## ")
    examples = re.findall(r"^```python\n(.*?)^```$", section, re.DOTALL | re.MULTILINE)
    assert len(examples) == 2
    monkeypatch.chdir(tmp_path)
    known: dict[str, object] = {}
    for example in examples:
        burner.send("0.1")
        source = example.replace("1234", str(burner.pid)).replace("seconds=10", "seconds=0.1")
        assert source != example
        exec(compile(source, "README.md", "exec"), known)
    messages = {
        path.name: pb.Profile.FromString(gzip.decompress(path.read_bytes()))
        for path in tmp_path.glob("*.gz")
    }
    assert sorted(messages) == ["cpu.pb.gz", "profile.pb.gz", "requests.pb.gz"]
    (request,) = messages["requests.pb.gz"].sample
    assert request.value == [1]
    assert re.search(r"\('example\.com/requests', 1\)", capsys.readouterr().out)
