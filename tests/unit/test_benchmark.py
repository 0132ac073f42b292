"""The benchmark's own sums, against other ways to get them."""

from __future__ import annotations

import gzip
import itertools
from pathlib import Path

import pytest
from onlooker.outputs import profile_pb2

from scripts.benchmark.pprof import Contents, contents
from scripts.benchmark.slowdown import Ratios, Window, compare


def test_counts_what_protobuf_wrote(tmp_path: Path) -> None:
    profile = profile_pb2.Profile(string_table=["", "samples"], period=1 << 40)
    for value in (1, 300, (1 << 62) + 5):
        profile.sample.add(location_id=[1, 2], value=[value, 7])
    profile.location.add(id=1)
    profile.location.add(id=2)
    profile.function.add(id=1, name=1)
    path = tmp_path / "p.pb.gz"
    path.write_bytes(gzip.compress(profile.SerializeToString()))

    assert contents(path) == Contents(301 + (1 << 62) + 5, 3, 2, 1)


def test_refuses_a_profile_that_is_cut_off(tmp_path: Path) -> None:
    profile = profile_pb2.Profile(string_table=["", "samples"])
    path = tmp_path / "p.pb.gz"
    path.write_bytes(gzip.compress(profile.SerializeToString()[:-1]))

    with pytest.raises(ValueError, match="past the end"):
        contents(path)


@pytest.mark.parametrize("pairs", [6, 9, 12, 15])
def test_the_interval_holds_the_true_median_as_often_as_it_says(pairs: int) -> None:
    # Each ratio is as likely below the true median, 1, as above: all the ways that can happen.
    held = 0
    for above in itertools.product((False, True), repeat=pairs):
        low, high = Ratios(tuple(1.01 if one else 0.99 for one in above)).interval
        held += low < 1 < high
    assert held / 2**pairs >= 0.95


def test_windows_are_compared_with_their_neighbours() -> None:
    # Blocks of 10, but of 15 while profiled, on a machine that becomes twice as fast at 1000.
    times = [*range(0, 200, 10), *range(200, 305, 15), *range(305, 500, 10)]
    times += [*range(1000, 1200, 5), 1207]
    windows = [
        Window(False, 0, 200),
        Window(True, 200, 305),
        Window(False, 305, 500),
        Window(True, 600, 700),  # nothing was done
        Window(False, 1000, 1100),
    ]
    assert compare(windows, times) == (1.5,)
