"""The parts of the command that need no process to look into."""

import io
import sys

import pytest
from onlooker import cli
from onlooker.cli import progress, summary, terminal
from onlooker.cli.arguments import parse
from onlooker.cli.session import with_word
from onlooker.errors import OnlookerError, UsageError
from onlooker.observe.recorder import Counters
from onlooker.target import Progress, Recording


def counters(**given: int) -> Counters:
    return Counters(**{**dict.fromkeys(Counters._fields, 0), **given})


def test_fault_of_ours_is_short(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(_name: str) -> None:
        raise RuntimeError("it broke")

    monkeypatch.setattr(cli, "import_module", broken)
    assert cli.main(["list"]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("onlooker: internal error: RuntimeError: it broke\n")
    assert "Traceback" not in said.err
    assert cli.main(["list", "--verbose"]) == 1
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize("error", [*OnlookerError.__subclasses__(), OnlookerError])
def test_every_error_has_its_exit_code(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: type[OnlookerError],
) -> None:
    def failing(_name: str) -> None:
        raise error("what and why", "what next")

    monkeypatch.setattr(cli, "import_module", failing)
    assert cli.main(["list"]) == error.exit_code
    assert capsys.readouterr().err == "onlooker: what and why\n  what next\n"


def test_ctrl_c_before_anything(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(_name: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "import_module", interrupted)
    assert cli.main(["list"]) == 130
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("command_line", "program"),
    [
        (["run", "--", "a", "-q"], ["a", "-q"]),
        (["run", "-q", "--", "a", "--", "b"], ["a", "--", "b"]),
        (["run", "-q", "a", "-v"], ["a", "-v"]),
        (["run", "a", "--", "b"], ["a", "--", "b"]),
    ],
)
def test_program_to_run_is_left_as_it_is(command_line: list[str], program: list[str]) -> None:
    assert parse(command_line).program == program


def test_kinds_are_given_once() -> None:
    assert parse(["demo", "--profile", "wall,cpu,wall"]).profile == ("wall", "cpu")


@pytest.mark.parametrize("kind", ["heap", "wall,allocs"])
def test_memory_is_not_recorded(kind: str) -> None:
    with pytest.raises(UsageError, match="use onlooker heap"):
        parse(["attach", "--pid", "1", "--profile", kind])


def test_no_command_names_one_to_try() -> None:
    with pytest.raises(UsageError) as error:
        parse([])
    assert "onlooker demo" in error.value.hint


@pytest.mark.parametrize(
    ("path", "with_kind"),
    [
        ("a/it.pb.gz", "a/it-cpu.pb.gz"),
        ("it.prof", "it-cpu.prof"),
        ("a.b/it", "a.b/it-cpu"),
        (".pb.gz", "-cpu.pb.gz"),
    ],
)
def test_word_in_a_file_name(path: str, with_kind: str) -> None:
    assert with_word(path, ".pb.gz", "cpu") == with_kind


def test_progress_line() -> None:
    def recording() -> Recording:
        raise AssertionError

    state = Progress(1_500_000_000, counters(samples=150, torn=2, late=1), recording)
    counts = "samples 150  torn 2  retried 0  displaced 0  paused 0  late 1  spared 0  lost 0"
    assert progress.text(state, None) == f"1.5 s  {counts}"
    assert progress.text(state, 3.0) == f"[##########..........] 1.5 of 3 s  {counts}"
    assert progress.text(state, 1.0).startswith(f"[{'#' * 20}] 1.5 of 1 s")


def test_percentiles_are_values_that_were_measured() -> None:
    pauses_ns = [1000 * value for value in range(1, 101)]
    assert summary.pauses_us(pauses_ns) == {"p50": 50.0, "p99": 99.0, "max": 100.0}
    assert summary.pauses_us([7000]) == {"p50": 7.0, "p99": 7.0, "max": 7.0}
    assert summary.pauses_us([]) == {"p50": 0.0, "p99": 0.0, "max": 0.0}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("environment", "coloured"),
    [({"TERM": "xterm"}, True), ({"TERM": "dumb"}, False), ({"NO_COLOR": "1"}, False)],
)
def test_colours(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], coloured: bool
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert terminal.styled("text", terminal.BOLD) == ("\x1b[1mtext\x1b[0m" if coloured else "text")
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert terminal.styled("text", terminal.BOLD) == "text"
