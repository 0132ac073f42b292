"""pprof files read back: ours as they were, others' if they are sound, and nothing else."""

import gzip
import io
import os
import random
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from onlooker import outputs
from onlooker.errors import UnreadableProfile
from onlooker.outputs import pprof_message, reading
from onlooker.outputs import profile_pb2 as pb
from onlooker.profile.kinds import KINDS
from onlooker.profile.model import Function, Location, Profile, Sample, ValueType

from tests import profiles
from tests.commands import go_pprof

needs_go = pytest.mark.skipif(
    shutil.which("go") is None and os.environ.get("ONLOOKER_REQUIRE_ALL") != "1",
    reason="go is not here: apt install golang-go",
)


def packed(profile: Profile) -> bytes:
    file = io.BytesIO()
    outputs.load("pprof").write(profile, file)
    return file.getvalue()


def message(profile: Profile) -> pb.Profile:
    return pb.Profile.FromString(gzip.decompress(packed(profile)))


def saved(folder: Path, data: bytes) -> Path:
    path = folder / "it.pb.gz"
    path.write_bytes(data)
    return path


def as_the_file_has_it(profile: Profile) -> Profile:
    """The profile without what the format or pprof's demangler doesn't let us write."""

    def function(found: Function) -> Function:
        return Function(
            found.name,
            pprof_message._undemangled(found),
            found.filename.replace("\udcff", "\\udcff"),
            found.start_line,
        )

    samples = [
        Sample(
            tuple(Location(function(at.function), at.line) for at in s.stack), s.values, s.labels
        )
        for s in profile.samples
    ]
    return profile._replace(samples=samples)


HEAP = profiles.heap_profile(
    [
        profiles.held("app", "CACHE", "{...}", "dict", count=7, size=64),
        profiles.held("app", "<shared>", "größe", count=1, size=1 << 40),
    ]
)
ALLOCS = HEAP._replace(kind="allocs", default_sample_type="alloc_space")
OURS = [
    pytest.param(profiles.small_profile(), id="small"),
    pytest.param(profiles.cpu_profile([]), id="empty"),
    pytest.param(HEAP, id="heap"),
    pytest.param(ALLOCS, id="allocs"),
    *(pytest.param(profiles.random_profile(seed), id=f"random{seed}") for seed in range(5)),
]


@pytest.mark.parametrize("profile", OURS)
@pytest.mark.parametrize("unpack", [bytes, gzip.decompress], ids=["gzip", "plain"])
def test_ours_is_what_it_was(
    tmp_path: Path, profile: Profile, unpack: Callable[[bytes], bytes]
) -> None:
    path = saved(tmp_path, unpack(packed(profile)))
    found = reading.read(path)
    assert found == as_the_file_has_it(profile)
    assert reading.comments(path) == profile.comments


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())
def test_kind_is_known(kind: object) -> None:
    assert isinstance(kind, type(KINDS["cpu"]))
    profile = profiles.cpu_profile([], (kind.note,) if kind.note else ())._replace(
        sample_types=kind.sample_types,
        default_sample_type=kind.default_sample_type,
    )
    assert reading.parse(gzip.decompress(packed(profile))).kind == kind.name


def test_kind_of_others_is_what_they_show_first() -> None:
    types = ValueType("samples", "count"), ValueType("time", "nanoseconds")
    profile = profiles.cpu_profile([])._replace(sample_types=types)
    assert reading.parse(gzip.decompress(packed(profile))).kind == "time"
    profile = profile._replace(default_sample_type="samples")
    assert reading.parse(gzip.decompress(packed(profile))).kind == "samples"


def test_numbers_are_those_of_protobuf() -> None:
    """Packed or each alone, in any order, negative, and as long as they may be."""
    numbers = [0, 1, 127, 128, 300, (1 << 63) - 1, -1, -300, -(1 << 63)]
    found = pb.Profile(string_table=["", "n", "count"])
    for number in (1, 200, 1 << 40, (1 << 64) - 1):
        found.location.add(id=number, address=number)
    for _ in numbers:
        found.sample_type.add(type=1, unit=2)
    found.sample.add(location_id=[200, (1 << 64) - 1, 1, 1 << 40], value=numbers)
    (sample,) = reading.parse(found.SerializeToString()).samples
    assert sample.values == tuple(numbers)
    names = [at.function.name for at in sample.stack]
    assert names == ["0xc8", "0xffffffffffffffff", "0x1", "0x10000000000"]
    unpacked = b"\x08\x01" + b"".join(b"\x10" + bytes([n]) for n in range(9)) + b"\x08\xc8\x01"
    del found.sample[:]
    message = found.SerializeToString() + b"\x12" + bytes([len(unpacked)]) + unpacked
    (sample,) = reading.parse(message).samples
    assert sample.values == tuple(range(9))
    assert [at.function.name for at in sample.stack] == ["0x1", "0xc8"]


def test_parts_join(monkeypatch: pytest.MonkeyPatch) -> None:
    data = gzip.decompress(packed(profiles.random_profile(7)))
    whole = reading.parse(data)
    monkeypatch.setattr(reading, "_PART_BYTES", 50)
    assert reading.parse(data) == whole


def test_inlined_calls_and_addresses_without_names() -> None:
    """As compilers' profiles have them."""
    found = pb.Profile(string_table=["", "n", "count", "inner", "outer", "lib.so"])
    found.sample_type.add(type=1, unit=2)
    found.mapping.add(id=9, filename=5)
    found.function.add(id=5, name=3)
    found.function.add(id=6, name=4)
    inlined = found.location.add(id=70, mapping_id=9)
    inlined.line.add(function_id=5, line=11)
    inlined.line.add(function_id=6, line=12)
    found.location.add(id=71, mapping_id=9, address=0xABC)
    found.sample.add(location_id=[70, 71], value=[3])
    (sample,) = reading.parse(found.SerializeToString()).samples
    assert [(at.function.name, at.line) for at in sample.stack] == [
        ("inner", 11),
        ("outer", 12),
        ("0xabc", 0),
    ]
    assert sample.stack[2].function.filename == "lib.so"


@needs_go
def test_profile_that_go_wrote(tmp_path: Path) -> None:
    """What Go writes anew, with its own numbering and field order, is read as ours."""
    profile = profiles.random_profile(3)
    # It leaves out empty stacks, and sums may be too long.
    profile = profile._replace(
        samples=[
            sample._replace(values=(sample.values[0], sample.values[1] >> 20))
            for sample in profile.samples
            if sample.stack
        ],
    )
    path = saved(tmp_path, packed(profile))
    # It tells on stderr what it writes.
    go = ["go", "tool", "pprof", "-proto", f"-output={tmp_path / 'go.pb.gz'}", str(path)]
    environment = {**os.environ, "HOME": str(tmp_path), "PPROF_TMPDIR": str(tmp_path)}
    subprocess.run(go, check=True, capture_output=True, env=environment)

    def counted(samples: Sequence[Sample]) -> dict[object, tuple[int, ...]]:
        sums: dict[object, tuple[int, ...]] = {}
        for sample in samples:
            names = tuple((at.function.name, at.line) for at in sample.stack)
            key = names, tuple(sorted(sample.labels))
            before = sums.get(key, (0, 0))
            sums[key] = tuple(a + b for a, b in zip(before, sample.values, strict=True))
        return {key: values for key, values in sums.items() if any(values)}

    found = reading.read(tmp_path / "go.pb.gz")
    assert counted(found.samples) == counted(profile.samples)
    assert (found.sample_types, found.period) == (profile.sample_types, profile.period)


@needs_go
def test_go_sees_the_same(tmp_path: Path) -> None:
    """``go tool pprof -raw`` counts as many samples, of the same values and names."""
    path = saved(tmp_path, packed(profiles.small_profile()))
    raw = go_pprof("-raw", path, cwd=tmp_path)
    found = reading.read(path)
    values = re.findall(r"^ +(\d+) +(\d+): [\d ]+$", raw, re.MULTILINE)
    assert [tuple(map(int, pair)) for pair in values] == [s.values for s in found.samples]
    for at in {at for sample in found.samples for at in sample.stack}:
        assert f" M=1 {at.function.name} {at.function.filename}:{at.line} " in raw


# What is no profile.


def broken(change: Callable[[pb.Profile], object]) -> bytes:
    found = message(profiles.small_profile())
    change(found)
    return found.SerializeToString()


def twice(table: str) -> Callable[[pb.Profile], object]:
    return lambda found: getattr(found, table).append(getattr(found, table)[0])


GOOD = gzip.compress(gzip.decompress(packed(profiles.small_profile())))
BAD = {
    "empty": (b"", "string table"),
    "text": (b"flat flat% sum% cum cum%\n", "protobuf"),
    "json": (b'{"threads": []}', "protobuf"),
    "other-gzip": (gzip.compress(b"hello, world, this is a text\n"), "protobuf"),
    "gzip-magic-only": (b"\x1f\x8b", "truncated"),
    "truncated": (GOOD[:-20], "truncated"),
    "half": (GOOD[: len(GOOD) // 2], "truncated"),
    "checksum": (GOOD[:-8] + b"\0" * 8, "damaged"),
    "flipped": (GOOD[:60] + bytes([GOOD[60] ^ 0xFF]) + GOOD[61:], "damaged"),
    "plain-truncated": (gzip.decompress(GOOD)[:-20], "truncated"),
    "concatenated": (GOOD + GOOD, "one behind the other"),
    "no-types": (broken(lambda p: p.ClearField("sample_type")), "no sample types"),
    "no-strings": (broken(lambda p: p.ClearField("string_table")), "string table"),
    "short-string-table": (broken(lambda p: p.string_table.__delitem__(5)), "string"),
    "negative-string": (broken(lambda p: p.comment.append(-1)), "string"),
    "width": (broken(lambda p: p.sample[1].value.append(3)), "3 values instead of 2"),
    "no-location": (broken(lambda p: p.location.__delitem__(0)), "location that isn't there"),
    "no-function": (broken(lambda p: p.function.__delitem__(0)), "function that isn't there"),
    "location-twice": (broken(twice("location")), "location's id"),
    "function-twice": (broken(twice("function")), "function's id"),
    "id-0": (broken(lambda p: p.function.add()), "function's id"),
    "not-utf-8": (
        gzip.decompress(GOOD).replace(b"MainThread", b"Main\xff\xffread"),
        "no message of pprof's",
    ),
}


@pytest.mark.parametrize(("data", "why"), BAD.values(), ids=BAD.keys())
def test_what_is_no_profile_is_refused(tmp_path: Path, data: bytes, why: str) -> None:
    path = saved(tmp_path, data)
    with pytest.raises(UnreadableProfile, match=why) as failed:
        reading.read(path)
    assert str(path) in str(failed.value)
    assert failed.value.hint
    assert failed.value.exit_code == 2


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    for path, why in ((tmp_path, "directory"), (tmp_path / "missing", "No such file")):
        with pytest.raises(UnreadableProfile, match=why):
            reading.read(path)


def test_size_is_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MAX_BYTES", 1 << 20)
    path = saved(tmp_path, gzip.compress(b"\0" * (50 << 20)))
    with pytest.raises(UnreadableProfile, match="more than 1 MiB"):
        reading.read(path)
    with pytest.raises(UnreadableProfile, match="more than 1 MiB"):
        reading.read("/dev/zero")
    monkeypatch.setattr(reading, "MAX_ENTRIES", 20)
    with pytest.raises(UnreadableProfile, match="more than 20 entries"):
        reading.read(saved(tmp_path, GOOD))


def test_no_bytes_do_harm() -> None:
    """Whatever the bytes are, there is a profile or an error that says why not."""
    choose = random.Random(1)
    good = gzip.decompress(packed(profiles.random_profile(2, samples=30)))
    refused = 0
    for _ in range(2000):
        data = bytearray(good)
        for _ in range(choose.randrange(1, 4)):
            data[choose.randrange(len(data))] = choose.randrange(256)
        try:
            reading.parse(bytes(data[: choose.choice([len(data), choose.randrange(len(data))])]))
        except ValueError:
            refused += 1
    assert 500 < refused < 2000
