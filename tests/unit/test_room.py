"""How much memory a process may still get, as the kernel tells of the machine and its groups."""

import os
from pathlib import Path

import pytest
from onlooker import room
from onlooker.room import room_bytes


@pytest.fixture
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The control groups of this process: web/worker, in an empty tree of version 2."""
    (tmp_path / "meminfo").write_text("MemTotal: 9000 kB\nMemAvailable:    5000 kB\n")
    (tmp_path / "memory/web/worker").mkdir(parents=True)
    (tmp_path / "web/worker").mkdir(parents=True)
    monkeypatch.setattr(room, "_MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(room, "_CGROUPS", tmp_path)
    return tmp_path


def write_group(group: Path, **files: object) -> None:
    for name, content in files.items():
        (group / name.replace("__", ".")).write_text(f"{content}\n")


@pytest.mark.parametrize(
    ("line", "folder", "limit", "usage"),
    [
        ("0::/web/worker", "", "memory__max", "memory__current"),
        (
            "7:cpu,memory:/web/worker",
            "memory",
            "memory__limit_in_bytes",
            "memory__usage_in_bytes",
        ),
    ],
    ids=["version 2", "version 1"],
)
def test_the_tightest_group_counts(
    groups: Path,
    monkeypatch: pytest.MonkeyPatch,
    line: str,
    folder: str,
    limit: str,
    usage: str,
) -> None:
    lines = f"9:pids:/elsewhere\n{line}\n"
    read_text = Path.read_text

    def read(path: Path) -> str:
        return lines if path.match("/proc/*/cgroup") else read_text(path)

    monkeypatch.setattr(Path, "read_text", read)
    assert room_bytes(os.getpid()) == 5000 * 1024
    parent = groups / folder / "web"
    write_group(parent, **{limit: 4096000, usage: 1096000, "memory__stat": "inactive_file 500000"})
    assert room_bytes(os.getpid()) == 3_500_000
    write_group(parent / "worker", **{limit: "max", usage: 1000, "memory__stat": ""})
    assert room_bytes(os.getpid()) == 3_500_000
    write_group(parent / "worker", **{limit: 1000, usage: 2000, "memory__stat": ""})
    assert room_bytes(os.getpid()) == -1000


def test_nobody_tells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "_MEMINFO", tmp_path / "none")
    monkeypatch.setattr(room, "_CGROUPS", tmp_path / "none")
    assert room_bytes(os.getpid()) is None


def test_of_this_machine() -> None:
    free = room_bytes(os.getpid())
    assert free is not None
    total_kib = int(Path("/proc/meminfo").read_text().split()[1])
    assert 0 < free < total_kib * 1024
