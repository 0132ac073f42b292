"""What is refused, with its message and exit code, before anything is recorded."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.commands import ONLOOKER, Finished, onlooker
from tests.conftest import StartTarget
from tests.interpreters import Interpreter, Target, TargetError
from tests.live.test_locate_refusals import BECOME_NOBODY, OF_NOBODY, needs_root, stopped_at_start

BUSY = Path("busy.py")
COMMANDS = ("attach", "dump")


def refused(done: Finished, exit_code: int, *texts: str) -> None:
    """Checks a message of one or a few lines, and that nothing else was said."""
    assert done.exit_code == exit_code, done.stderr
    assert done.stdout == b""
    assert done.stderr.startswith("onlooker: ")
    assert "Traceback" not in done.stderr
    for text in texts:
        assert text in done.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_no_such_process(command: str, tmp_path: Path) -> None:
    with subprocess.Popen(["true"]) as ended:
        pass
    for pid in (ended.pid, 0, 1 << 40):
        done = onlooker(command, "--pid", pid, cwd=tmp_path)
        refused(done, 3, f"there is no process with pid {pid}")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("command", COMMANDS)
def test_not_python(command: str) -> None:
    with subprocess.Popen(["sleep", "1000"]) as sleep:
        done = onlooker(command, "--pid", sleep.pid)
        sleep.kill()
    refused(done, 4, "is not a Python process", "`onlooker list`")


@pytest.mark.parametrize("command", COMMANDS)
def test_not_initialised_yet(command: str, any_interpreter: Interpreter) -> None:
    with stopped_at_start(any_interpreter) as pid:
        refused(onlooker(command, "--pid", pid), 4, "Try again")


def test_finalising(any_interpreter: Interpreter, start_target: StartTarget) -> None:
    target = start_target(
        any_interpreter,
        """
        import os
        class Late:
            def __del__(self, write=os.write, read=os.read):
                write(1, b"finalising\\n")
                read(0, 1)
        late = Late()
        """,
    )
    assert target.read_line() == "finalising"
    refused(onlooker("attach", "--pid", target.pid), 4, "shutting down")


@pytest.mark.parametrize("minor", ["2.7", "3.6", "3.7"])
def test_unsupported_version(minor: str) -> None:
    program = next(Path(sys.base_prefix).parent.glob(f"{minor}.*/bin/python{minor}"), None)
    if program is None:
        pytest.skip(f"no Python {minor} is here")
    code = "import sys; sys.stdout.write('\\n'); sys.stdout.flush(); sys.stdin.read()"
    with Target([str(program), "-c", code]) as target:
        target.read_line()
        refused(onlooker("attach", "--pid", target.pid), 4, f"Python {minor}", "3.8 to 3.15")


@needs_root
@pytest.mark.parametrize("command", COMMANDS)
def test_process_of_another_user(
    any_interpreter: Interpreter, start_target: StartTarget, command: str
) -> None:
    target = start_target(any_interpreter, BUSY)
    target.read_line()
    # Other users can't even start what lies in root's home, so it is loaded before.
    code = f"""
import importlib, os, pkgutil, sys
import onlooker
for module in pkgutil.walk_packages(onlooker.__path__, "onlooker."):
    if not module.name.endswith(("__main__", "demo_program")):
        importlib.import_module(module.name)
{BECOME_NOBODY}
sys.exit(onlooker.cli.main(["{command}", "--pid", "{target.pid}"]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False, cwd="/")
    refused(
        Finished(done.returncode, done.stdout, done.stderr.decode()),
        5,
        "belongs to user root, we run as nobody",
        "sudo",
    )


@needs_root
def test_container_without_the_capability(
    any_interpreter: Interpreter, start_target: StartTarget
) -> None:
    target = start_target(any_interpreter, OF_NOBODY, "dumpable")
    target.read_line()
    without = ("setpriv", "--bounding-set=-sys_ptrace", "--inh-caps=-sys_ptrace", "--")
    done = onlooker("attach", "--pid", target.pid, enter=without)
    refused(done, 5, "we run as root and without CAP_SYS_PTRACE", "--cap-add=SYS_PTRACE")


def test_target_that_ends_before_anything(
    any_interpreter: Interpreter, start_target: StartTarget, tmp_path: Path
) -> None:
    """Whenever that is: the error is one of those that mean that it has ended."""
    target = start_target(any_interpreter, "raise SystemExit")
    done = onlooker("attach", "--pid", target.pid, "-o", tmp_path / "it")
    with pytest.raises(TargetError):
        target.read_line()
    if done.exit_code != 0:
        assert done.exit_code in {3, 4, 6}, done.stderr
        assert not (tmp_path / "it").exists()
    refused(onlooker("attach", "--pid", target.pid), 3, "zombie")


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("nonsense",),
        ("attach",),
        ("attach", "--pid", "x"),
        ("attach", "--pid", "-1"),
        ("attach", "--pid", "1", "--name", "x"),
        ("attach", "--pid", "1", "--seconds", "0"),
        ("attach", "--pid", "1", "--seconds", "nan"),
        ("attach", "--pid", "1", "--rate", "0"),
        ("attach", "--pid", "1", "--rate", "1e9"),
        ("attach", "--pid", "1", "--depth", "0"),
        ("attach", "--pid", "1", "--depth", "1.5"),
        ("attach", "--pid", "1", "--profile", "cpu,heat"),
        ("attach", "--pid", "1", "--profile", ""),
        ("attach", "--pid", "1", "--pause", "sometimes"),
        ("attach", "--pid", "1", "--format", "xml"),
        ("attach", "--pid", "1", "--quiet", "--verbose"),
        ("attach", "--pid", "1", "--", "x"),
        ("attach", "--pi", "1"),
        ("attach", "--name", "("),
        ("list", "--name", "("),
        ("dump", "--pid", "1", "--rate", "3"),
        ("run",),
        ("run", "--"),
        ("demo", "--pid", "1"),
    ],
)
def test_wrong_usage(arguments: tuple[str, ...], tmp_path: Path) -> None:
    done = onlooker(*arguments, cwd=tmp_path)
    refused(done, 2)
    assert not list(tmp_path.iterdir())


def test_several_kinds_do_not_fit_into_one_output(
    any_interpreter: Interpreter, start_target: StartTarget
) -> None:
    target = start_target(any_interpreter, BUSY)
    target.read_line()
    done = onlooker("attach", "--pid", target.pid, "--profile", "cpu,wall", "-o", "-")
    refused(done, 2, "only one kind")


def test_output_is_checked_first(
    any_interpreter: Interpreter, start_target: StartTarget, tmp_path: Path
) -> None:
    target = start_target(any_interpreter, BUSY)
    target.read_line()
    for output in ("none/such/folder", ".", "/proc/it"):
        # Without --seconds: it would record until it is stopped.
        refused(onlooker("attach", "--pid", target.pid, "-o", output, cwd=tmp_path), 7, output)


@needs_root
def test_read_only_folder(
    any_interpreter: Interpreter, start_target: StartTarget, tmp_path: Path
) -> None:
    target = start_target(any_interpreter, BUSY)
    target.read_line()
    mount = 'mount -t tmpfs -o ro none "$1" && cd "$1" && shift && exec "$@"'
    enter = ("unshare", "--mount", "sh", "-c", mount, "sh", str(tmp_path))
    refused(onlooker("attach", "--pid", target.pid, enter=enter), 7, "Read-only file system")


@pytest.mark.parametrize("command", ["attach", "dump", "run", "demo", "list", "growth", "diff"])
def test_help_shows_two_examples(command: str) -> None:
    text = onlooker(command, "--help").ok().text
    examples = text.partition("examples:\n")[2].splitlines()
    assert len(examples) == 2
    assert all(example.startswith(f"  onlooker {command}") for example in examples)


def test_closed_streams(any_interpreter: Interpreter, start_target: StartTarget) -> None:
    target = start_target(any_interpreter, BUSY)
    target.read_line()
    command = " ".join(ONLOOKER)
    for arguments, exit_code in (
        (f"dump --pid {target.pid} >&-", 7),
        (f"dump --pid {target.pid} 2>&-", 0),
        (f"attach --pid {target.pid} --seconds 0.1 -o - 2>&- | gzip -t", 0),
        (f"attach --pid {target.pid} --seconds 0.1 -o - 2>&1 >/dev/null | head -c 1", 0),
        (f"dump --pid {target.pid} >/dev/full", 7),
        ("attach --help >/dev/full", 7),
        ("attach --help | head -c 1", 0),
    ):
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", f"{command} {arguments}"],
            capture_output=True,
            check=False,
            text=True,
            env={**os.environ, "TERM": "dumb"},
        )
        assert done.returncode == exit_code, (arguments, done)
        assert "Traceback" not in done.stderr
        assert "Exception ignored" not in done.stderr
