"""`onlooker attach`: options, output, what it says, and how it is ended."""

import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

from tests.commands import Command, go_pprof, onlooker
from tests.conftest import StartTarget
from tests.interpreters import Interpreter, Target

BUSY = Path("busy.py")


@pytest.fixture
def busy(any_interpreter: Interpreter, start_target: StartTarget) -> Target:
    target = start_target(any_interpreter, BUSY)
    assert target.read_line() == "ready"
    return target


def test_default_output_is_named_and_opens(busy: Target, tmp_path: Path) -> None:
    done = onlooker("attach", "--pid", busy.pid, "--seconds", 0.5, cwd=tmp_path).ok()
    (file,) = tmp_path.iterdir()
    assert re.fullmatch(rf"busy-{busy.pid}-\d{{8}}T\d{{6}}\.\d{{3}}Z-cpu\.pb\.gz", file.name)
    assert done.stdout == b""
    assert f"go tool pprof -http=: {file.name}" in done.stderr
    top = go_pprof("-top", file, cwd=tmp_path)
    assert "Type: cpu" in top
    assert "__main__.spin_left" in top
    assert f"attach --pid {busy.pid} --seconds 0.5" in go_pprof("-comments", file, cwd=tmp_path)


def test_summary_agrees_with_pprof(busy: Target, tmp_path: Path) -> None:
    done = onlooker(
        "attach", "--pid", busy.pid, "--seconds", 0.5, "--profile", "wall", "-o", "it", cwd=tmp_path
    ).ok()
    top = go_pprof("-top", "-unit=ms", "it", cwd=tmp_path)
    names = [line.split()[-1] for line in top.partition("cum%\n")[2].splitlines()]
    table = done.stderr.partition("cum%\n")[2].partition("truth:")[0]
    ours = [line.split()[-1] for line in table.splitlines()]
    assert ours[:3] == names[:3]
    assert re.search(
        r"truth: samples \d+, torn \d+, retried \d+, displaced \d+, paused \d+", done.stderr
    )


def test_json_says_what_was_done(busy: Target, tmp_path: Path) -> None:
    said = onlooker(
        *("attach", "--pid", busy.pid, "--seconds", 0.5, "--rate", 200),
        *("--profile", "wall", "--json", "-o", "it.pb.gz"),
        cwd=tmp_path,
    ).ok()
    summary = said.json
    assert said.stderr == ""
    assert summary["pid"] == busy.pid
    assert summary["files"] == ["it.pb.gz"]
    assert summary["kinds"] == ["wall"]
    assert summary["end"] == "the time was up"
    assert summary["rate_hz"] == 200
    assert summary["duration_seconds"] >= 0.5
    assert summary["first_sample_seconds"] > 0
    assert summary["cpu_seconds"] > 0
    assert summary["samples"] > 0
    assert set(summary["pauses_us"]) == {"p50", "p99", "max"}
    counters = "reused torn retried displaced paused late lost"
    assert {"reached_hz", *counters.split()} <= set(summary)
    raw = go_pprof("-raw", "it.pb.gz", cwd=tmp_path)
    counts = re.findall(r"^ +(\d+) +\d+: ", raw, re.MULTILINE)
    assert sum(map(int, counts)) == summary["samples"]


def test_several_kinds_come_from_the_same_ticks(busy: Target, tmp_path: Path) -> None:
    summary = onlooker(
        *("attach", "--pid", busy.pid, "--seconds", 0.5, "--profile", "cpu,wall,gil"),
        *("--json", "-o", "it.pb.gz"),
        cwd=tmp_path,
    ).json
    assert summary["files"] == ["it-cpu.pb.gz", "it-wall.pb.gz", "it-gil.pb.gz"]
    for kind, file in zip(("cpu", "wall", "gil"), summary["files"], strict=True):
        assert f"Type: {kind}" in go_pprof("-top", file, cwd=tmp_path)


def test_standard_output(busy: Target, tmp_path: Path) -> None:
    done = onlooker(
        "attach", "--pid", busy.pid, "--seconds", 0.5, "-o", "-", "--json", cwd=tmp_path
    ).ok()
    (tmp_path / "it").write_bytes(done.stdout)
    assert "Type: cpu" in go_pprof("-top", "it", cwd=tmp_path)
    assert '"files": ["-"]' in done.stderr


def test_text_format(busy: Target) -> None:
    arguments = ("attach", "--pid", busy.pid, "--seconds", 0.5, "-o", "-", "--format", "folded")
    lines = onlooker(*arguments, "--profile", "wall").ok().text.splitlines()
    functions = {line.rpartition(" ")[0].rpartition(";")[2] for line in lines}
    assert any(name.endswith("spin_left") for name in functions)
    assert sum(int(line.rpartition(" ")[2]) for line in lines) > 0
    assert not any("_bootstrap" in line for line in lines)
    with_all = onlooker(*arguments, "--profile", "wall", "--all-frames").ok().text
    assert "threading.Thread._bootstrap;" in with_all


def test_binary_output_is_kept_from_a_terminal(busy: Target) -> None:
    read_fd, write_fd = os.openpty()
    arguments = ("attach", "--pid", busy.pid, "--seconds", 0.1, "-o", "-")
    with Command(*arguments, stdout=write_fd) as command:
        done = command.finish()
    os.close(write_fd)
    os.close(read_fd)
    assert done.exit_code == 2
    assert "terminal" in done.stderr


def test_quiet_only_prints_the_name_it_chose(busy: Target, tmp_path: Path) -> None:
    arguments = ("attach", "--pid", busy.pid, "--seconds", 0.2, "-q")
    done = onlooker(*arguments, cwd=tmp_path).ok()
    assert done.stderr == ""
    assert [done.text.strip()] == [file.name for file in tmp_path.iterdir()]
    done = onlooker(*arguments, "-o", "it", cwd=tmp_path).ok()
    assert (done.stdout, done.stderr) == (b"", "")


def test_by_name(busy: Target, tmp_path: Path) -> None:
    (argument,) = [argument for argument in busy.argv if argument.endswith("busy.py")]
    with Target([*busy.argv[:-1], argument, "the one that is meant"]) as other:
        other.read_line()
        summary = onlooker(
            *("attach", "--name", "the one that is meant", "--seconds", 0.1, "--json", "-o", "it"),
            cwd=tmp_path,
        ).json
        assert summary["pid"] == other.pid
        several = onlooker("attach", "--name", f"{argument}( the one that is meant)?$")
        assert several.exit_code == 2
        assert {str(busy.pid), str(other.pid)} <= set(several.stderr.split())
    none = onlooker("attach", "--name", "no process has this name")
    assert none.exit_code == 3


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_early(busy: Target, tmp_path: Path, number: signal.Signals) -> None:
    with Command(
        *("attach", "--pid", busy.pid, "-v", "-o", "it.pb.gz"),
        cwd=tmp_path,
        preexec=lambda: signal.signal(number, signal.SIG_DFL),  # the tests may run by nohup
    ) as command:
        command.wait_until_it_records()
        command.process.send_signal(number)
        done = command.finish().ok()
    assert "it ended because it was stopped" in done.stderr
    assert "Type: cpu" in go_pprof("-top", "it.pb.gz", cwd=tmp_path)


def test_nohup_is_heeded(busy: Target, tmp_path: Path) -> None:
    with Command(
        *("attach", "--pid", busy.pid, "-v", "-o", "it.pb.gz"),
        cwd=tmp_path,
        preexec=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),
    ) as command:
        command.wait_until_it_records()
        command.process.send_signal(signal.SIGHUP)
        command.process.send_signal(signal.SIGINT)
        command.finish().ok()


def test_ctrl_c_ends_it_in_the_background_too(busy: Target, tmp_path: Path) -> None:
    """A shell ignores SIGINT for its background commands."""
    with Command(
        *("attach", "--pid", busy.pid, "-v", "-o", "it.pb.gz"),
        cwd=tmp_path,
        preexec=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    ) as command:
        command.wait_until_it_records()
        command.process.send_signal(signal.SIGINT)
        command.finish().ok()


def test_a_second_signal_aborts(busy: Target, tmp_path: Path) -> None:
    """The output is a FIFO that nobody reads: writing it takes until the second signal."""
    os.mkfifo(tmp_path / "fifo")
    with Command(
        "attach", "--pid", busy.pid, "--seconds", 0.1, "-v", "-o", "fifo", cwd=tmp_path
    ) as command:
        command.wait_until_it_records()
        command.process.send_signal(signal.SIGINT)
        command.process.send_signal(signal.SIGTERM)
        done = command.finish()
    assert done.exit_code == 130
    assert "Traceback" not in done.stderr


def test_closed_pipe_ends_quietly(busy: Target) -> None:
    with Command(
        *("attach", "--pid", busy.pid, "--seconds", 0.2, "-o", "-", "-v"), stdout=subprocess.PIPE
    ) as command:
        command.wait_until_it_records()
        assert command.process.stdout
        command.process.stdout.close()
        command.process.stdout = None
        done = command.finish()
    assert done.exit_code == 0
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr


def test_progress_is_for_terminals(busy: Target, tmp_path: Path) -> None:
    arguments = ("attach", "--pid", busy.pid, "--seconds", 0.5, "-o", "it")
    with Command(*arguments, cwd=tmp_path, terminal=True) as command:
        command.wait_for(r"\[#")
        shown = command.finish().ok().stderr
    assert re.search(r"\d+\.\d of 0\.5 s  samples \d+  torn \d+  retried", shown)
    assert "\x1b[1m" in shown
    with Command(*arguments, cwd=tmp_path, env={"NO_COLOR": "1"}, terminal=True) as command:
        shown = command.finish().ok().stderr
    assert not re.search(r"\x1b\[\d*m", shown)
    with Command(*arguments, "-q", cwd=tmp_path, terminal=True) as command:
        assert command.finish().ok().stderr == ""
    assert "\x1b" not in onlooker(*arguments, cwd=tmp_path).ok().stderr


def test_deep_stack_is_cut_and_marked(
    any_interpreter: Interpreter, start_target: StartTarget
) -> None:
    target = start_target(
        any_interpreter,
        """
        import sys
        sys.setrecursionlimit(10_000)
        def down(left):
            if left:
                return down(left - 1)
            print("deep", flush=True)
            sys.stdin.read()
        down(1000)
        """,
    )
    target.read_line()
    (line,) = (
        onlooker(
            *("attach", "--pid", target.pid, "--seconds", 0.2, "--profile", "wall"),
            *("-o", "-", "--format", "folded", "--depth", 10),
        )
        .ok()
        .text.splitlines()
    )
    frames = line.rpartition(" ")[0].split(";")
    assert re.fullmatch(r"<99\d frames omitted>", frames[0])
    assert len(frames) == 11


def test_rate_beyond_reach_says_what_was_reached(busy: Target, tmp_path: Path) -> None:
    done = onlooker(
        *("attach", "--pid", busy.pid, "--seconds", 0.3, "--rate", 1_000_000, "-o", "it"),
        cwd=tmp_path,
    ).ok()
    assert re.search(r"the rate reached was \d+ Hz", done.stderr)
