"""`onlooker run`: the program it starts is served as if Onlooker were not there."""

import os
import select
import signal
import subprocess
from pathlib import Path

import pytest

from tests.commands import ONLOOKER, Command, Finished, go_pprof, onlooker
from tests.interpreters import Interpreter, target_environment
from tests.kernel import children

SPIN = """
import os, signal, sys, time

def spin_for(seconds):
    ends_at = time.process_time() + seconds
    while time.process_time() < ends_at:
        sum(range(100))

"""


def run(
    *options: str,
    program: str,
    interpreter: Interpreter,
    cwd: Path,
    arguments: tuple[str, ...] = (),
) -> Finished:
    """`onlooker run` of a program's source text."""
    (cwd / "program.py").write_text(SPIN + program)
    argv = interpreter.argv(interpreter.path_in_target(cwd / "program.py"), *arguments)
    return onlooker("run", *options, "--", *argv, cwd=cwd)


@pytest.mark.parametrize("status", [0, 3])
def test_exit_status_is_the_programs(
    any_interpreter: Interpreter, tmp_path: Path, status: int
) -> None:
    program = "spin_for(0.5); print(sys.argv[1:]); sys.exit(int(sys.argv[1]))"
    done = run(
        *("-o", "it.pb.gz"),
        program=program,
        interpreter=any_interpreter,
        cwd=tmp_path,
        arguments=(str(status), "--pid", "-- x"),
    )
    assert done.exit_code == status
    assert done.text == f"['{status}', '--pid', '-- x']\n"
    assert "the target ended" in done.stderr
    assert "__main__.spin_for" in go_pprof("-top", "it.pb.gz", cwd=tmp_path)


def test_every_interpreter_from_its_start(interpreter: Interpreter, tmp_path: Path) -> None:
    """Those with a root folder are started by unshare, which executes Python."""
    done = run(
        *("-q", "-o", "it.pb.gz"),
        program="spin_for(0.5)",
        interpreter=interpreter,
        cwd=tmp_path,
    ).ok()
    assert done.stderr == ""
    assert "__main__.spin_for" in go_pprof("-top", "it.pb.gz", cwd=tmp_path)


def test_death_by_a_signal(any_interpreter: Interpreter, tmp_path: Path) -> None:
    program = "spin_for(0.5); os.kill(os.getpid(), signal.SIGKILL)"
    done = run("-o", "it.pb.gz", program=program, interpreter=any_interpreter, cwd=tmp_path)
    assert done.exit_code == 128 + signal.SIGKILL
    assert "__main__.spin_for" in go_pprof("-top", "it.pb.gz", cwd=tmp_path)


def test_seconds_end_the_recording_and_not_the_program(
    any_interpreter: Interpreter, tmp_path: Path
) -> None:
    program = "spin_for(0.5); print('the end')"
    done = run(
        *("--seconds", "0.1", "--json", "-o", "it.pb.gz"),
        program=program,
        interpreter=any_interpreter,
        cwd=tmp_path,
    ).ok()
    assert '"end": "the time was up"' in done.text
    assert "the end\n" in done.text


@pytest.mark.parametrize(("source", "exit_code"), [("pass", 6), ("raise SystemExit(5)", 5)])
def test_program_that_ends_at_once(
    any_interpreter: Interpreter, tmp_path: Path, source: str, exit_code: int
) -> None:
    done = onlooker("run", "--", *any_interpreter.argv("-Ic", source), cwd=tmp_path)
    if list(tmp_path.iterdir()):  # it was seen in its short life, so its own status counts
        assert done.exit_code in {0, 5}
        assert "the target ended" in done.stderr
    else:
        assert done.exit_code == exit_code
        assert "ended before anything was sampled" in done.stderr


def test_program_that_is_not_python(tmp_path: Path) -> None:
    done = onlooker("run", "--", "sleep", "1", cwd=tmp_path)
    assert done.exit_code == 6
    assert "is not a Python process" in done.stderr
    assert onlooker("run", "--", "false", cwd=tmp_path).exit_code == 1


def test_program_that_can_not_be_started(tmp_path: Path) -> None:
    done = onlooker("run", "--", "./there-is-none", cwd=tmp_path)
    assert (done.exit_code, done.stderr.splitlines()[0]) == (
        2,
        "onlooker: can't start './there-is-none': No such file or directory",
    )


def test_program_that_becomes_another_one(any_interpreter: Interpreter, tmp_path: Path) -> None:
    """Both are recorded, and the name that was asked for is the last one's."""
    program = """
if sys.argv[1:] == ["first"]:
    def first(): spin_for(0.5)
    first()
    os.execv(sys.executable, [sys.executable, __file__])
def second(): spin_for(0.5)
second()
"""
    run(
        *("-o", "it.pb.gz"),
        program=program,
        interpreter=any_interpreter,
        cwd=tmp_path,
        arguments=("first",),
    ).ok()
    first, second = (go_pprof("-top", name, cwd=tmp_path) for name in ("it-1.pb.gz", "it.pb.gz"))
    assert "__main__.first" in first
    assert "__main__.second" not in first
    assert "__main__.second" in second
    assert "__main__.first" not in second


SIGNALLED = """
def spin_until_told():
    while not told:
        sum(range(100))
told = []
handle = lambda number, frame: told.append(number)
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
    signal.signal(number, handle)
print("ready", flush=True)
spin_until_told()
spin_for(0.1)
print(*(signal.Signals(number).name for number in told), flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_signals_go_to_the_program(
    any_interpreter: Interpreter, tmp_path: Path, number: signal.Signals
) -> None:
    (tmp_path / "program.py").write_text(SPIN + SIGNALLED)
    arguments = ("run", "-v", "-o", "it.pb.gz", "--", any_interpreter.path, "program.py")
    with Command(*arguments, cwd=tmp_path) as command:
        assert command.process.stdout
        assert command.process.stdout.readline() == b"ready\n"
        command.wait_until_it_records()
        command.process.send_signal(number)
        done = command.finish().ok()
    assert done.text == f"{number.name}\n"
    assert "Type: cpu" in go_pprof("-top", "it.pb.gz", cwd=tmp_path)


def test_a_picture_is_taken_before_a_signal_is_passed_on(
    any_interpreter: Interpreter, tmp_path: Path
) -> None:
    (tmp_path / "program.py").write_text(SPIN + SIGNALLED)
    arguments = ("run", "--profile", "goroutine", "-o", "it.pb.gz", "--")
    with Command(*arguments, any_interpreter.path, "program.py", cwd=tmp_path) as command:
        assert command.process.stdout
        assert command.process.stdout.readline() == b"ready\n"
        command.wait_for("when a signal comes")
        command.process.send_signal(signal.SIGTERM)
        done = command.finish().ok()
    assert done.text == "SIGTERM\n"
    top = go_pprof("-top", "-cum", "it.pb.gz", cwd=tmp_path)
    assert "Type: goroutine" in top
    assert "__main__.spin_until_told" in top


def test_a_picture_is_taken_after_some_seconds(
    any_interpreter: Interpreter, tmp_path: Path
) -> None:
    program = """
def wait_for_the_picture():
    while not os.path.exists("it.pb.gz"):
        sum(range(1000))
wait_for_the_picture()
"""
    options = ("--profile", "goroutine", "--seconds", "2", "-o", "it.pb.gz")
    run(*options, program=program, interpreter=any_interpreter, cwd=tmp_path).ok()
    assert "__main__.wait_for_the_picture" in go_pprof("-top", "-cum", "it.pb.gz", cwd=tmp_path)


def test_no_picture_is_taken_of_what_has_ended(
    any_interpreter: Interpreter, tmp_path: Path
) -> None:
    options = ("--profile", "goroutine", "--seconds", "1000")
    done = run(*options, program="", interpreter=any_interpreter, cwd=tmp_path)
    assert done.exit_code == 6
    assert "ended before its picture was taken" in done.stderr


def test_ctrl_c_reaches_the_program_once(any_interpreter: Interpreter, tmp_path: Path) -> None:
    """On a terminal the kernel sends SIGINT to both."""
    (tmp_path / "program.py").write_text(SPIN + SIGNALLED)
    master, slave = os.openpty()
    # The shell's part: a session whose terminal this is.
    shell = "import fcntl, os, sys, termios; os.setsid(); fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
    shell += "os.execv(sys.argv[1], sys.argv[1:])"
    argv = [*ONLOOKER, "run", "-q", "-o", "it.pb.gz", "--", any_interpreter.path, "program.py"]
    with subprocess.Popen(
        [ONLOOKER[0], "-Ic", shell, *argv],
        stdin=slave,
        stdout=subprocess.PIPE,
        env=target_environment({}),
        cwd=tmp_path,
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == b"ready\n"
        os.write(master, b"\x03")
        assert process.stdout.read() == b"SIGINT\n"
        assert process.wait() in {0, 6}
    os.close(master)
    os.close(slave)


def test_no_program_is_left_behind_by_demo(tmp_path: Path) -> None:
    summary = onlooker("demo", "--seconds", 0.5, "--json", cwd=tmp_path).ok().json
    assert not Path(f"/proc/{summary['pid']}").exists()
    (file,) = tmp_path.iterdir()
    top = go_pprof("-top", "-cum", file, cwd=tmp_path)
    for function in ("serve_pages", "render_page", "compress_images"):
        assert f"__main__.{function}" in top


def test_demo_ends_its_program_even_if_killed(tmp_path: Path) -> None:
    with Command("demo", "-v", cwd=tmp_path) as command:
        command.wait_until_it_records()
        (pid,) = children(command.pid)
        program = os.pidfd_open(pid)
        command.process.kill()
        command.finish()
    # A process's file becomes readable when it ends.
    readable, _, _ = select.select([program], [], [], 60)
    os.close(program)
    assert readable == [program]
