"""Recordings of every version give exactly the stacks that their programs said they had."""

from pathlib import Path

import pytest
from onlooker._native import ffi, lib
from onlooker.observe.recorder import native_layout

from tests.interpreters import MINOR_VERSIONS
from tests.native.recordings import Recording, load, paths
from tests.native.replay import Replay, open_memory


@pytest.fixture(params=paths(), ids=lambda path: path.stem, scope="module")
def recording(request: pytest.FixtureRequest) -> Recording:
    path: Path = request.param
    return load(path)


def stacks_by_thread(text: str) -> dict[str, list[str]]:
    """The frames by the line that names the thread."""
    stacks: dict[str, list[str]] = {}
    frames: list[str] = []
    for line in text.splitlines():
        if line.startswith(" "):
            frames.append(line)
        else:
            frames = stacks.setdefault(line, [])
    return stacks


def test_every_version_has_a_recording() -> None:
    versions = [load(path).version for path in paths()]
    assert [(version >> 24, version >> 16 & 0xFF) for version in versions] == list(MINOR_VERSIONS)


def test_stacks_are_what_the_program_said(recording: Recording) -> None:
    with Replay(recording) as replay:
        for tick in range(1, 200):
            assert replay.tick() == lib.ONLOOKER_OK
            assert replay.counter("ticks") == tick
        told = stacks_by_thread(recording.stacks)
        assert replay.stacks() == recording.stacks
        assert replay.counter("threads") == len(told)
        assert replay.counter("samples") + replay.counter("lost") == 199 * len(told)
        # Nothing moves in a recording. What is called torn only took too long on a busy machine.
        assert replay.counter("lost") < 20


def test_only_the_running_thread_holds_the_gil(recording: Recording) -> None:
    with Replay(recording) as replay:
        assert replay.tick() == lib.ONLOOKER_OK
        # They all wait, in system calls.
        assert [row.facts for row in replay.rows()] == [0] * len(replay.rows())


@pytest.mark.parametrize("depth", [1, 2, 7, 60])
def test_frames_beyond_the_depth_are_counted(recording: Recording, depth: int) -> None:
    cut = {}
    for thread, frames in stacks_by_thread(recording.stacks).items():
        cut[thread] = frames[:depth]
        if len(frames) > depth:
            cut[thread].append(f"  <omitted> :{len(frames) - depth} of 0")
    with Replay(recording, depth=depth) as replay:
        assert replay.tick() == lib.ONLOOKER_OK
        assert stacks_by_thread(replay.stacks()) == cut


def test_a_page_that_cannot_be_read_costs_no_truth(recording: Recording) -> None:
    told = stacks_by_thread(recording.stacks)
    lost, failed = 0, 0
    for address in recording.pages:
        pages = {other: page for other, page in recording.pages.items() if other != address}
        with Replay(recording, pages=pages) as replay:
            for _ in range(2):
                result = replay.tick()
                assert result in (lib.ONLOOKER_OK, lib.ONLOOKER_FAULT)
            # What cannot be read whole is not shown at all: no stack is wrong, and no thread new.
            read = stacks_by_thread(replay.stacks())
            assert read.items() <= told.items()
            if result == lib.ONLOOKER_OK:
                assert len(read) + replay.counter("lost") // 2 >= replay.counter("threads")
            lost += len(read) < len(told)
            failed += result == lib.ONLOOKER_FAULT
    # Every page was needed by some thread or another, or the recorder reads more than it needs.
    assert lost > len(recording.pages) // 2
    assert failed < 3


def test_a_target_that_finalises_is_gone(recording: Recording) -> None:
    offsets = recording.layout.offsets
    address = recording.runtime_address + offsets["runtime_finalizing"]
    page = bytearray(recording.pages[address & ~0xFFF])
    page[address & 0xFFF] = 1
    pages = {**recording.pages, address & ~0xFFF: bytes(page)}
    with Replay(recording, pages=pages) as replay:
        assert replay.tick() == lib.ONLOOKER_GONE
        assert replay.rows() == []


def test_layouts_that_make_no_sense_are_refused(recording: Recording) -> None:
    memory = open_memory(recording.pages)
    options = recording.options()
    try:
        for field, _ in ffi.typeof("layout").fields:
            for value in (-2, -(1 << 31), (1 << 24) + 1, (1 << 31) - 1):
                layout = native_layout(recording.layout)
                setattr(layout, field, value)
                assert not lib.recorder_open(memory, 0, layout, options), (field, value)
        for field in ("frame_previous", "code_name", "object_type", "unicode_state", "thread_next"):
            layout = native_layout(recording.layout)
            setattr(layout, field, -1)
            assert not lib.recorder_open(memory, 0, layout, options), field
        for field in ("frame_instr", "code_linetable", "bytes_data", "unicode_ascii_data"):
            layout = native_layout(recording.layout)
            setattr(layout, field, 1 << 20)
            assert not lib.recorder_open(memory, 0, layout, options), field
        options.period_ns = 0
        assert not lib.recorder_open(memory, 0, native_layout(recording.layout), options)
    finally:
        lib.memory_close(memory)
