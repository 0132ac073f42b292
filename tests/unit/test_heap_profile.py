"""Profiles of memory: Go's numbers, and what ``go tool pprof`` reads of every form of them."""

import io
import os
import random
import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest
from onlooker import outputs
from onlooker.profile.heap import HeapSite, build_heap, sampled, scale_heap_sample
from onlooker.profile.model import Function, Labels, Location, Profile

from tests import profiles

GO = shutil.which("go")
needs_go = pytest.mark.skipif(
    GO is None and os.environ.get("ONLOOKER_REQUIRE_ALL") != "1",
    reason="go is not here: apt install golang-go",
)
KIB = 1024


@pytest.mark.parametrize(
    ("sample", "rate", "scaled"),
    [
        # What Go's runtime/pprof makes of them (TestScaleHeapSample in its words).
        ((4, 4 * KIB), 512 * KIB, (2050, 2_099_200)),
        ((3, 3 * KIB), 512 * KIB, (1537, 1_574_400)),
        ((1, 512 * KIB), 512 * KIB, (1, 829_411)),
        ((0, 0), 512 * KIB, (0, 0)),
        ((0, 100), 512 * KIB, (0, 0)),
        ((5, 0), 512 * KIB, (0, 0)),
        ((5, 320), 1, (5, 320)),
        ((5, 320), 0, (5, 320)),
        ((5, 320), -1, (5, 320)),
        ((0, 320), 1, (0, 0)),
        ((1, 1), 2, (2, 2)),
        # So large that each is sampled, and so small that hardly any is.
        ((2, 1 << 40), 512 * KIB, (2, 1 << 40)),
        ((1, 1), 1 << 62, (1 << 62, 1 << 62)),
    ],
)
def test_scaling_is_gos(sample: tuple[int, int], rate: int, scaled: tuple[int, int]) -> None:
    assert scale_heap_sample(*sample, rate) == scaled


@pytest.mark.parametrize(
    ("size", "factor"),
    [(64, 8192.5), (512, 1024.5), (4 * KIB, 128.5), (64 * KIB, 8.51), (512 * KIB, 1.582)],
)
def test_factors(size: int, factor: float) -> None:
    count, _ = scale_heap_sample(1000, 1000 * size, 512 * KIB)
    assert count / 1000 == pytest.approx(factor, rel=1e-3)


def place(name: str, line: int = 3, file: str = "/srv/app/app.py") -> Location:
    return Location(Function(name, name.rpartition(".")[2], file, 1), line)


F, G, MAIN = place("app.f"), place("app.g"), place("app.main")
DICT: Labels = (("type", "dict"),)


def heap(*sites: HeapSite, kind: str = "heap", rate: int = 1, all_frames: bool = False) -> Profile:
    return build_heap(
        kind,
        sites,
        rate=rate,
        time_ns=10**18,
        comments=("source: none", "VmRSS = 4096"),
        mapping=profiles.PYTHON,
        all_frames=all_frames,
    )


def site(*stack: Location, objects: int, size: int, labels: Labels = ()) -> HeapSite:
    """Of which half of what was allocated is still in use."""
    return HeapSite(stack, objects, objects * size, 2 * objects, 2 * objects * size, labels)


@pytest.mark.parametrize(("kind", "shown"), [("heap", ""), ("allocs", "alloc_space")])
def test_profile_is_what_go_writes(kind: str, shown: str) -> None:
    profile = heap(site(F, MAIN, objects=4, size=100), kind=kind, rate=512 * KIB)
    types = [(value.type, value.unit) for value in profile.sample_types]
    assert types == [
        ("alloc_objects", "count"),
        ("alloc_space", "bytes"),
        ("inuse_objects", "count"),
        ("inuse_space", "bytes"),
    ]
    assert (profile.period_type.type, profile.period_type.unit) == ("space", "bytes")
    assert (profile.kind, profile.period, profile.default_sample_type) == (kind, 512 * KIB, shown)
    assert (profile.time_ns, profile.duration_ns) == (10**18, 0)
    (sample,) = profile.samples
    assert sample.labels == (("bytes", 100),)
    assert sample.values == (
        *scale_heap_sample(8, 800, 512 * KIB),
        *scale_heap_sample(4, 400, 512 * KIB),
    )


def test_equal_ones_are_one_and_what_holds_most_comes_first() -> None:
    profile = heap(
        site(F, objects=1, size=64),
        site(F, objects=2, size=64),
        site(F, objects=1, size=65),
        site(F, objects=1, size=64, labels=DICT),
        site(G, objects=50, size=64),
        HeapSite((MAIN,), 0, 0, 9, 90),
        HeapSite((MAIN,), 0, 0, 0, 0),
    )
    assert [(sample.stack, sample.values[2:], sample.labels) for sample in profile.samples] == [
        ((G,), (50, 3200), (("bytes", 64),)),
        ((F,), (3, 192), (("bytes", 64),)),
        ((F,), (1, 65), (("bytes", 65),)),
        ((F,), (1, 64), (("bytes", 64), *DICT)),
        ((MAIN,), (0, 0), (("bytes", 10),)),
    ]


def test_order_depends_on_nothing_but_the_samples() -> None:
    sites = [
        site(*stack, objects=1, size=8, labels=labels)
        for stack in ((F,), (G,), (F, G), (MAIN,))
        for labels in ((), DICT, (("type", 3),), (("type", "int"),))
    ]
    ordered = heap(*sites).samples
    random.Random(3).shuffle(sites)
    assert heap(*sites).samples == ordered


IMPORTS = place(
    "importlib._bootstrap._call_with_frames_removed", 241, "<frozen importlib._bootstrap>"
)
READS = place(
    "importlib._bootstrap_external.get_data",
    1,
    "/usr/lib/python3.8/importlib/_bootstrap_external.py",
)
TRACES = place("tracemalloc.start", 9, "/usr/lib/python3.12/tracemalloc.py")
STARTS = place("threading._bootstrap", 5, "/usr/lib/python3.12/threading.py")


@pytest.mark.parametrize(
    ("stack", "shown"),
    [
        ((READS, IMPORTS, F, IMPORTS, MAIN), (F, IMPORTS, MAIN)),
        ((F, MAIN, STARTS), (F, MAIN)),
        ((READS, F, STARTS), (F,)),
        ((TRACES, MAIN), (MAIN,)),
        ((READS, IMPORTS), (READS, IMPORTS)),
        ((READS, STARTS), (STARTS,)),
        ((), ()),
    ],
)
def test_glue_is_left_out_unless_it_is_all(
    stack: tuple[Location, ...], shown: tuple[Location, ...]
) -> None:
    assert heap(site(*stack, objects=1, size=8)).samples[0].stack == shown
    assert heap(site(*stack, objects=1, size=8), all_frames=True).samples[0].stack == stack


def random_heap(seed: int, rate: int) -> Profile:
    choose = random.Random(seed)
    places = [place(f"app.f{number}", number + 1) for number in range(9)]
    sites = []
    for _ in range(300):
        size = choose.choice([1, 16, 64, 500, 4096, 1 << 16, 1 << 19, 1 << 22])
        objects, gone = choose.randrange(1, 40), choose.randrange(40)
        sites.append(
            HeapSite(
                tuple(choose.choices(places, k=choose.randrange(1, 6))),
                *(objects, objects * size, objects + gone, (objects + gone) * size),
            )
        )
    return heap(*sites, rate=rate)


@pytest.mark.parametrize("rate", [0, 1, 1000, 512 * KIB])
def test_scaling_can_be_undone(rate: int) -> None:
    sites = [
        site(place(f"app.f{objects}"), objects=objects, size=size)
        for objects in (1, 3, 977)
        for size in (1, 700, 1 << 18, 1 << 21)
    ]
    found = sorted(sampled(sample, rate) for sample in heap(*sites, rate=rate).samples)
    assert found == sorted(
        (it.alloc_objects, it.alloc_bytes, it.inuse_objects, it.inuse_bytes) for it in sites
    )


def written(profile: Profile, form: str) -> bytes:
    file = io.BytesIO()
    outputs.load(form).write(profile, file)
    return file.getvalue()


def test_text_is_gos() -> None:
    profile = heap(
        site(F, MAIN, objects=2, size=10, labels=DICT),
        site(G, objects=10, size=2048),
        rate=512 * KIB,
    )
    header, record, frame, empty, *rest = written(profile, "text").decode().splitlines()
    assert header == "heap profile: 12: 20500 [24: 41000] @ heap/1048576"
    assert re.fullmatch(r"10: 20480 \[20: 40960\] @ 0x[0-9a-f]+", record)
    assert re.fullmatch(r"#\t0x[0-9a-f]+\tapp\.g\+0x2\t/srv/app/app\.py:3", frame)
    assert empty == ""
    assert re.fullmatch(r"2: 20 \[4: 40\] @ 0x[0-9a-f]+ 0x[0-9a-f]+", rest[0])
    assert rest[1] == '# labels: {"type":"dict"}'
    assert rest[-3:] == ["", "# source: none", "# VmRSS = 4096"]


def test_text_of_what_is_all_in_use_still_has_four_columns() -> None:
    text = written(heap(HeapSite((F,), 1, 512, 1, 512)), "text").decode()
    assert text.startswith("heap profile: 1: 512 [1: 513] @ heap/2\n1: 512 [1: 512] @ 0x")
    assert written(heap(), "text").startswith(b"heap profile: 0: 0 [0: 1] @ heap/2\n")


def go_pprof(folder: Path, *arguments: str) -> str:
    assert GO is not None, "go is not here: apt install golang-go"
    done = subprocess.run(
        [GO, "tool", "pprof", *arguments],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "HOME": str(folder), "PPROF_TMPDIR": str(folder)},
    )
    # What it says of text from Go as well (there is no program in it), and how it took -tagfocus.
    said = [line for line in done.stderr.splitlines() if not line.startswith("tagfocus:")]
    assert (done.returncode, said) in [(0, []), (0, ["Main binary filename not available."])]
    return done.stdout


def raw(folder: Path, profile: bytes) -> tuple[str, str, "Counter[tuple[tuple[int, ...], ...]]"]:
    """Return the sample types, the period, and how often there are a stack, its values and size."""
    (folder / "profile").write_bytes(profile)
    shown = go_pprof(folder, "-raw", str(folder / "profile"))
    period = re.search(r"^Period: (\d+)$", shown, re.MULTILINE)
    samples, _, locations = shown.partition("Samples:\n")[2].partition("Locations\n")
    types, *lines = samples.splitlines()
    addresses = {
        number: int(address, 16)
        for number, address in re.findall(r"^ +(\d+): (0x[0-9a-f]+) M=1", locations, re.MULTILINE)
    }
    found: Counter[tuple[tuple[int, ...], ...]] = Counter()
    values: tuple[int, ...] = ()
    stack: tuple[int, ...] = ()
    for line in lines:
        if sample := re.fullmatch(r" *((?:\d+ +)*\d+): ((?:\d+ )*)", line):
            values = tuple(map(int, sample[1].split()))
            stack = tuple(addresses[number] for number in sample[2].split())
        elif size := re.search(r"bytes:\[(\d+)", line):
            found[stack, values, (int(size[1]),)] += 1
    return types, period[1] if period else "", found


@needs_go
@pytest.mark.parametrize("rate", [1, 512 * KIB])
@pytest.mark.parametrize("seed", range(3))
def test_go_reads_the_same_of_text_as_of_the_message(seed: int, rate: int, tmp_path: Path) -> None:
    profile = random_heap(seed, rate)
    types, period, found = raw(tmp_path, written(profile, "pprof"))
    assert types.split() == [
        *("alloc_objects/count", "alloc_space/bytes", "inuse_objects/count"),
        "inuse_space/bytes",
    ]
    assert period == str(rate)
    assert sum(found.values()) == len(profile.samples)
    assert raw(tmp_path, written(profile, "text")) == (types, period, found)


@needs_go
def test_go_shows_it(tmp_path: Path) -> None:
    sites = site(F, MAIN, objects=4, size=4 * KIB), site(G, MAIN, objects=1, size=600)
    for kind, shown in (("heap", "inuse_space"), ("allocs", "alloc_space")):
        path = tmp_path / f"{kind}.pb.gz"
        path.write_bytes(written(heap(*sites, kind=kind), "pprof"))
        assert f"Type: {shown}\n" in go_pprof(tmp_path, "-top", str(path))
    tags = go_pprof(tmp_path, "-tags", str(tmp_path / "heap.pb.gz"))
    assert "4kB" in tags
    focused = go_pprof(tmp_path, "-top", "-tagfocus=bytes=500b:2kb", str(tmp_path / "heap.pb.gz"))
    assert "app.g" in focused
    assert "app.f" not in focused
