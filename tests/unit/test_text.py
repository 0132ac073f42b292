"""The text form, as Go's legacy parser reads it."""

import io
import os
import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest
from onlooker import outputs
from onlooker.outputs import text
from onlooker.profile.model import Function, Labels, Location, Profile, Sample, ValueType

from tests import profiles

GO = shutil.which("go")

CONTENTIONS = (ValueType("contentions", "count"), ValueType("delay", "nanoseconds"))
GOROUTINE = (ValueType("goroutine", "count"),)

#: Those of parseGoCount and parseContention (google/pprof, profile/legacy_profile.go).
COUNT_START = re.compile(r"\A(\S+) profile: total \d+\Z")
COUNT = re.compile(r"\A(\d+) @(( 0x[0-9a-f]+)+)\Z")
CONTENTION = re.compile(r"(\d+) *(\d+) @([ x0-9a-f]*)")

#: What Go's scanner takes as a line.
LINE_LIMIT = 64 * 1024

#: Values by stack, which is addresses.
Stacks = Counter[tuple[int, ...]]


def as_contentions(profile: Profile, kind: str) -> Profile:
    samples = [
        sample._replace(values=(sample.values[0], sample.values[1] >> 12))
        for sample in profile.samples
    ]
    return profile._replace(kind=kind, sample_types=CONTENTIONS, samples=samples)


def as_counts(profile: Profile, kind: str) -> Profile:
    samples = [sample._replace(values=sample.values[:1]) for sample in profile.samples]
    types = (ValueType(kind, "count"),)
    return profile._replace(kind=kind, sample_types=types, samples=samples)


def as_time(profile: Profile) -> Profile:
    samples = [
        sample._replace(values=(sample.values[0], sample.values[1] >> 12))
        for sample in profile.samples
    ]
    return profile._replace(samples=samples)


PROFILES = [
    pytest.param(form(base), id=f"{name}-{of}")
    for of, base in (
        ("small", profiles.small_profile()),
        ("random", profiles.random_profile(5)),
        ("empty", profiles.cpu_profile([])),
    )
    for name, form in (
        ("cpu", as_time),
        ("block", lambda base: as_contentions(base, "block")),
        ("mutex", lambda base: as_contentions(base, "mutex")),
        ("goroutine", lambda base: as_counts(base, "goroutine")),
        ("custom", lambda base: as_counts(base, "example.com/conn")),
    )
]


def written(profile: Profile, form: str = "text") -> bytes:
    file = io.BytesIO()
    outputs.load(form).write(profile, file)
    return file.getvalue()


def lines(profile: Profile) -> list[str]:
    return written(profile).decode().splitlines()


def hexes(found: str) -> tuple[int, ...]:
    """Return addresses, as the parser takes them: those of the calls."""
    return tuple(int(address, 16) - 1 for address in found.split())


def parsed(profile: Profile) -> tuple[str, list[tuple[tuple[int, ...], tuple[int, ...]]]]:
    """Return the header and the samples, as the parser's regular expressions find them."""
    header, *rest = lines(profile)
    data = [line for line in rest if line.strip() and not line.startswith("#")]
    assert all(len(line.encode()) < LINE_LIMIT for line in (header, *rest))
    if header.startswith("---"):
        attributes = [line for line in data if "=" in line]
        assert attributes[0] == "cycles/second=1000000000"
        assert attributes[1:] == (["sampling period=1"] if header == "--- mutex:" else [])
        matches = [CONTENTION.fullmatch(line) for line in data[len(attributes) :]]
        assert all(matches)
        return header, [(hexes(m[3]), (int(m[2]), int(m[1]))) for m in matches if m]
    assert COUNT_START.fullmatch(header)
    matches = [COUNT.fullmatch(line) for line in data]
    assert all(matches)
    return header, [(hexes(m[2]), (int(m[1]),)) for m in matches if m]


def raw(profile: bytes, folder: Path) -> tuple[list[str], Stacks]:
    """Return the sample types and each stack's last value, as ``go tool pprof`` has them."""
    path = folder / "profile"
    path.write_bytes(profile)
    assert GO is not None, "go is not here: apt install golang-go"
    done = subprocess.run(
        [GO, "tool", "pprof", "-raw", str(path)],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "HOME": str(folder), "PPROF_TMPDIR": str(folder)},
    )
    assert done.returncode == 0, done.stderr
    # What it says of text from Go as well: there is no program in it.
    assert done.stderr in {"", "Main binary filename not available.\n"}
    _, _, rest = done.stdout.partition("Samples:\n")
    samples, _, rest = rest.partition("Locations\n")
    types, *found = samples.splitlines()
    addresses = {
        number: int(address, 16)
        for number, address in re.findall(r"^ +(\d+): (0x[0-9a-f]+) M=1", rest, re.MULTILINE)
    }
    stacks: Stacks = Counter()
    for line in found:
        match = re.fullmatch(r" *((?:\d+ +)*\d+): ((?:\d+ )*)", line)
        if match:  # and not labels
            stack = tuple(addresses[number] for number in match[2].split())
            stacks[stack] += int(match[1].split()[-1])
    return types.split(), stacks


@pytest.mark.skipif(
    GO is None and os.environ.get("ONLOOKER_REQUIRE_ALL") != "1",
    reason="go is not here: apt install golang-go",
)
@pytest.mark.parametrize("profile", PROFILES)
def test_go_reads_the_same_stacks_and_values(profile: Profile, tmp_path: Path) -> None:
    """As in the binary form, address for address."""
    types, stacks = raw(written(profile), tmp_path)
    binary_types, binary_stacks = raw(written(profile, "pprof"), tmp_path)
    if profile.kind in {"block", "mutex"}:
        assert types == ["contentions/count", "delay/nanoseconds"]
    elif profile.kind == "cpu":
        assert types == ["cpu/nanoseconds/count"]
    else:
        assert types == [f"{profile.kind}/count"]
    assert len(types) == 1 or types == binary_types
    if len(types) == 1:
        # pprof leaves out what has no stack, and as text it takes nothing that has none.
        total = sum(sample.values[-1] for sample in profile.samples if not sample.stack)
        assert list((stacks - binary_stacks).values()) == ([total] if total else [])
        stacks &= binary_stacks
    assert stacks == binary_stacks


@pytest.mark.parametrize("profile", PROFILES)
def test_lines_are_what_the_parser_takes(profile: Profile) -> None:
    header, samples = parsed(profile)
    values = [sample.values for sample in profile.samples]
    if profile.kind in {"block", "mutex"}:
        assert header == {"block": "--- contention:", "mutex": "--- mutex:"}[profile.kind]
    else:
        name = "cpu/nanoseconds" if profile.kind == "cpu" else profile.kind
        assert header == f"{name} profile: total {sum(value[-1] for value in values)}"
    for column in range(len(samples[0][1]) if samples else 0):
        back = -1 - column
        assert sum(v[back] for _, v in samples) == sum(v[back] for v in values)
    assert [v[-1] for _, v in samples] == sorted((v[-1] for _, v in samples), reverse=True)


def goroutines(*samples: tuple[int, tuple[Location, ...], Labels]) -> Profile:
    profile = profiles.cpu_profile(
        [Sample(stack, (count,), labels) for count, stack, labels in samples]
    )
    return profile._replace(kind="goroutine", sample_types=GOROUTINE)


def test_layout_is_go_s() -> None:
    """It is what Go's tabwriter makes of these: at least a tab after the widest cell."""
    main = Location(profiles.function("main.main.func2.1", 11, "/srv/demo/main.go"), 12)
    start = Location(profiles.function("main.leak", 1, "/srv/demo/main.go"), 4)
    full = Location(profiles.function("main.sixteen", 7, "/srv/demo/main.go"), 8)
    native = Location(Function("<native thread>", "<native thread>", "", 0), 0)
    profile = goroutines(
        (2, (main, start), (("worker", 'w"1\n\x00é\u200b\U0001f600'), ("req", "42"))),
        (1, (native,), ()),
        (1, (full,), (("a", "b"),)),
    )
    found = [re.sub(r"0x[0-9a-f]{8,}", "0xADDRESS", line) for line in lines(profile)]
    blocks = "\n".join(found).strip().split("\n\n")
    assert sorted(blocks[1:]) == [
        "1 @ 0xADDRESS\n#\t0xADDRESS\t<native thread>",
        '1 @ 0xADDRESS\n# labels: {"a":"b"}\n#\t0xADDRESS\tmain.sixteen+0x1\t/srv/demo/main.go:8',
    ]
    assert blocks[0].splitlines() == [
        "goroutine profile: total 4",
        "2 @ 0xADDRESS 0xADDRESS",
        '# labels: {"req":"42", "worker":"w\\"1\\n\\x00é\\u200b😀"}',
        "#\t0xADDRESS\tmain.main.func2.1+0x1\t/srv/demo/main.go:12",
        "#\t0xADDRESS\tmain.leak+0x3\t\t/srv/demo/main.go:4",
    ]


def test_address_to_return_to_is_one_more_than_that_of_the_call() -> None:
    at = Location(profiles.function("app.f"), 3)
    _, sample, frame, _ = lines(goroutines((1, (at,), ())))
    assert int(sample.split()[2], 16) == int(frame.split()[1], 16) + 1


def test_equal_stacks_are_one_and_labels_tell_them_apart() -> None:
    f, g = (Location(profiles.function(name), 3) for name in ("app.f", "app.g"))
    a, b = (("thread", "a"),), (("thread", "b"),)
    profile = goroutines((1, (f,), a), (2, (g,), ()), (1, (f,), b), (4, (f,), a), (2, (f,), ()))
    _, samples = parsed(profile)
    assert [values for _, values in samples] == [(5,), (2,), (2,), (1,)]
    twos = [line for line in lines(profile) if line.startswith("2 ")]
    assert twos == sorted(twos), "those of equal counts go by their keys"


def test_nothing_from_a_target_breaks_the_form() -> None:
    odd = Function("<f>\n1 @ 0x1\n--- x\t" + "n" * 100_000, "f", "/a\n# b\udcff\t.py", 1)
    deep = Location(profiles.function("app.f"), 3)
    labels: Labels = (("thread", "\n7 @ 0x7\n" + "é" * 100_000), ("bytes", 512))
    profile = goroutines(
        (1, (Location(odd, 2),), labels), (1, (deep,) * 100_000, ()), (1, (), ())
    )._replace(comments=("a\n1 @ 0x1", "\x1b[2J" * 50_000))
    _, samples = parsed(profile)
    assert sorted(len(stack) for stack, _ in samples) == [1, 1, text.FRAMES_LIMIT]
    assert all(values == (1,) for _, values in samples)
    assert "<96001 frames omitted>" in written(profile).decode()
    assert written(profile).isascii() is False


def test_name_of_a_profile_has_no_space() -> None:
    spaced = goroutines()._replace(kind="open files\n")
    assert lines(spaced)[0] == "open_files\\n profile: total 0"


def test_values_are_never_more_than_pprof_can_count() -> None:
    at = Location(profiles.function("app.f"), 3)
    _, samples = parsed(goroutines((1 << 62, (at,), ()), (1 << 62, (at,), ())))
    assert [values for _, values in samples] == [((1 << 63) - 1,)]


def test_comments_come_last() -> None:
    profile = goroutines((1, (), ()))._replace(comments=("onlooker 0.1.0", "truth: samples 3"))
    assert lines(profile)[-2:] == ["# onlooker 0.1.0", "# truth: samples 3"]
