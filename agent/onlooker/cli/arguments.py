"""The command line: what the commands and their options are."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Sequence
from typing import Any, Final, NoReturn

from onlooker.cli import memory_options, quantities, terminal
from onlooker.errors import UsageError
from onlooker.memory import Freeze
from onlooker.observe.recorder import PAUSES, Pause
from onlooker.profile.difference import By
from onlooker.profile.heap import HeapBy, Source
from onlooker.profile.kinds import KINDS
from onlooker.recording import (
    DEFAULT_DEPTH,
    DEFAULT_RATE_HZ,
    MAX_DEPTH,
    MAX_RATE_HZ,
    MIN_RATE_HZ,
)
from onlooker.server.settings import (
    DEFAULT_BACKGROUND_HZ,
    DEFAULT_LISTEN,
    DEFAULT_MAX_PROFILES,
    DEFAULT_MAX_SECONDS,
)
from onlooker.version import VERSION

_EXAMPLES: Final = {
    "attach": """\
  onlooker attach --pid 1234 --seconds 30
  onlooker attach --name gunicorn --profile wall --rate 1000 --format folded -o - | less""",
    "dump": """\
  onlooker dump --pid 1234 --locals                 # with the variables of functions
  onlooker dump --name 'manage.py runserver' --json""",
    "run": """\
  onlooker run -- python app.py --port 8000
  onlooker run --profile cpu,wall -o app.pb.gz -- python -m pytest tests""",
    "demo": """\
  onlooker demo
  onlooker demo --seconds 2 --profile wall,gil -o demo.pb.gz""",
    "list": """\
  onlooker list
  onlooker list --name celery --json""",
    "serve": """\
  onlooker serve --pid 1234
  onlooker serve --name gunicorn --listen 10.0.0.7:6061 --token-file /etc/onlooker.token
  go tool pprof http://127.0.0.1:6061/debug/pprof/profile?seconds=5""",
    "heap": """\
  onlooker heap --pid 1234
  onlooker heap --name gunicorn --dir /var/lib/onlooker --keep 96 --max-age 14d
  onlooker heap --pid 1234 --who 'shop.session.Session'""",
    "growth": """\
  onlooker growth /var/lib/onlooker
  onlooker growth /var/lib/onlooker --pid 1234 --since 6h --json""",
    "diff": """\
  onlooker diff before.pb.gz after.pb.gz
  onlooker diff before.pb.gz after.pb.gz --by type -o difference.pb.gz""",
}

EXIT_CODES: Final = """\
exit codes: 0 done, 1 an error of Onlooker's, 2 wrong usage, 3 no such process,
  4 not a Python process or one that is not supported, 5 not permitted,
  6 the target ended before anything was gathered, 7 the output could not be written"""


class Arguments(argparse.Namespace):
    """The command line as understood. A command has only the options that its --help shows."""

    command: str
    verbose: bool = False
    quiet: bool = False
    json: bool = False
    pid: int | None = None
    name: str | None = None
    seconds: float | None
    rate: float
    profile: tuple[str, ...]
    output: str | None
    format: str
    pause: Pause
    depth: int
    all_frames: bool
    context_vars: list[str]
    locals: bool
    program: list[str]
    pids: list[int]
    listen: str
    background_rate: float
    max_profiles: int
    max_seconds: int
    token_file: str | None
    tls_cert: str | None
    tls_key: str | None
    tls_client_ca: str | None
    before: str
    after: str
    by: By
    top: int
    directory: str
    source: Source
    heap_by: HeapBy
    freeze: Freeze
    heap_kind: str
    snapshot_dir: str | None
    keep: int | None
    max_bytes: int | None
    max_age: float | None
    who: str | None
    object: int | None
    since: float | None


class _Help(argparse.RawDescriptionHelpFormatter):
    """Knows its width, for argparse would load shutil and all kinds of compression to find it."""

    def __init__(self, prog: str, **options: Any) -> None:
        super().__init__(prog, **{"width": terminal.columns(sys.stdout) - 2, **options})


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(message, f"`{self.prog} --help` shows what there is.")

    def _print_message(self, message: str, file: object = None) -> None:
        # Of --help and --version; error() says the rest.
        terminal.put(message)


def parse(argv: Sequence[str]) -> Arguments:
    """Understand a command line. Raises UsageError; prints and exits for --help and --version."""
    # What follows -- is another program's, and argparse must not touch it.
    own, program = list(argv), None
    if "--" in own:
        at = own.index("--")
        own, program = own[:at], own[at + 1 :]
    parser = _parser(own)
    arguments = parser.parse_args(own, Arguments())
    if arguments.command is None:
        raise UsageError("no command was given", "`onlooker demo` is a first one to try.")
    if arguments.command == "run":
        if program is not None:
            arguments.program += ["--", *program] if arguments.program else program
        if not arguments.program:
            raise UsageError("no program was given", "`onlooker run -- python app.py` runs one.")
    elif arguments.command == "serve" and not arguments.pids and arguments.name is None:
        raise UsageError("no process was given", "--pid N or --name PATTERN says which to serve.")
    elif program is not None:
        raise UsageError(f"`{arguments.command}` takes nothing after --")
    return arguments


def _parser(argv: Sequence[str]) -> _Parser:
    """Return what understands this command line."""
    parser = _Parser(
        prog="onlooker",
        description="Looks into running Python processes from the outside, and writes what it sees"
        " as pprof profiles.",
        epilog=EXIT_CODES,
        formatter_class=_Help,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"onlooker {VERSION}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")

    def add(name: str, description: str, *options: Callable[[_Parser], None]) -> _Parser:
        command: _Parser = commands.add_parser(
            name,
            help=description,
            description=f"{description[0].upper()}{description[1:]}.",
            epilog=f"examples:\n{_EXAMPLES[name]}",
            formatter_class=_Help,
            allow_abbrev=False,
        )
        if name in argv:  # all options of all commands would take longer than any module
            for option in (*options, _common):
                option(command)
        return command

    add("attach", "profile a running process", _target, _seconds(None), _recording)
    add(
        "dump",
        "print the stack of every thread, asyncio task and greenlet of a process",
        _target,
        _reading,
        _labels,
        _dumping,
    )
    run = add("run", "start a program and profile it until it ends", _seconds(None), _recording)
    run.add_argument(
        "program",
        nargs=argparse.REMAINDER,
        metavar="-- PROGRAM [ARGUMENT ...]",
        help="the command that starts it; its exit status becomes Onlooker's",
    )
    add("demo", "profile a small busy program of Onlooker's own", _seconds(5.0), _recording)
    add(
        "serve",
        "serve profiles over HTTP, as Go's /debug/pprof/",
        _serving,
        _rate,
        _reading,
        _labels,
    )
    list_ = add("list", "list the Python processes, and why some can't be looked into")
    list_.add_argument("--name", metavar="PATTERN", help="only those whose command line matches")
    add("heap", "write what holds the memory of a process, as of now", _target, memory_options.heap)
    add(
        "growth",
        "tell what grows across the snapshots in a directory",
        memory_options.growing,
        memory_options.compared,
    )
    add(
        "diff",
        "tell what differs between two pprof files",
        memory_options.differing,
        memory_options.compared,
    )
    return parser


def _target(parser: _Parser) -> None:
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("-p", "--pid", type=quantities.pid, metavar="N", help="the process")
    which.add_argument(
        "-n",
        "--name",
        metavar="PATTERN",
        help="the one Python process whose command line matches this regular expression",
    )


def _seconds(default: float | None) -> Callable[[_Parser], None]:
    until = f"default {default:g}" if default else "default: until it ends, or Ctrl-C"

    def option(parser: _Parser) -> None:
        parser.add_argument(
            "-s",
            "--seconds",
            type=_positive,
            default=default,
            metavar="S",
            help=f"how long ({until})",
        )

    return option


def _serving(parser: _Parser) -> None:
    option = parser.add_argument
    option(
        *("-p", "--pid"),
        dest="pids",
        type=quantities.pid,
        action="append",
        default=[],
        metavar="N",
        help="a process; may be given several times",
    )
    option(
        *("-n", "--name"),
        metavar="PATTERN",
        help="all Python processes whose command line matches this regular expression, as they"
        " come and go",
    )
    option(
        "--listen",
        default=DEFAULT_LISTEN,
        metavar="HOST:PORT",
        help=f"where (default {DEFAULT_LISTEN}); addresses that others reach need a token or"
        " client certificates",
    )
    option(
        "--token-file",
        metavar="FILE",
        help="has the token that clients must show, as `Authorization: Bearer TOKEN` or ?token=",
    )
    option("--tls-cert", metavar="FILE", help="the server's certificate; serves https")
    option("--tls-key", metavar="FILE", help="its key, unless the same file has it")
    option(
        "--tls-client-ca",
        metavar="FILE",
        help="authorities of client certificates; a client with one needs no token",
    )
    option(
        "--background-rate",
        type=quantities.between("background rate", float, 0, MAX_RATE_HZ),
        default=DEFAULT_BACKGROUND_HZ,
        metavar="HZ",
        help="samples of each thread a second for block and mutex, which are about the time since"
        f" the start (default {DEFAULT_BACKGROUND_HZ:g}); 0: none, and nothing is read while"
        " nobody asks",
    )
    option(
        "--max-profiles",
        type=quantities.between("number of profiles", int, 1, 1000),
        default=DEFAULT_MAX_PROFILES,
        metavar="N",
        help=f"profiles made at once, at most (default {DEFAULT_MAX_PROFILES})",
    )
    option(
        "--max-seconds",
        type=quantities.between("number of seconds", int, 1, 86400),
        default=DEFAULT_MAX_SECONDS,
        metavar="S",
        help=f"how long a client's profile may take, at most (default {DEFAULT_MAX_SECONDS})",
    )


def _rate(parser: _Parser) -> None:
    parser.add_argument(
        "-r",
        "--rate",
        type=quantities.between("rate", float, MIN_RATE_HZ, MAX_RATE_HZ),
        default=DEFAULT_RATE_HZ,
        metavar="HZ",
        help=f"samples of each thread a second (default {DEFAULT_RATE_HZ:g});"
        " one beyond reach is as fast as it can be",
    )


def _recording(parser: _Parser) -> None:
    kinds = "; ".join(f"{kind.name}: {kind.help}" for kind in KINDS.values() if not kind.heap)
    _rate(parser)
    parser.add_argument(
        "--profile",
        type=_kinds,
        default=("cpu",),
        metavar="KIND[,KIND]",
        help=f"what to profile (default cpu; {kinds}); several kinds make a file each",
    )
    memory_options.output(parser, "; with several kinds each name gets its kind")
    _reading(parser)
    _labels(parser)


def _labels(parser: _Parser) -> None:
    parser.add_argument(
        "--label-context-var",
        dest="context_vars",
        action="append",
        default=[],
        metavar="NAME",
        help="label samples, threads and tasks with the value of the context variable"
        " (contextvars.ContextVar) of this name, as in NAME=value; may be given several times;"
        " otel: with trace_id and span_id of OpenTelemetry's current span",
    )


def _reading(parser: _Parser) -> None:
    parser.add_argument(
        "--pause",
        choices=tuple(PAUSES),
        default="auto",
        help="whether a thread may be stopped for some microseconds to read its stack: auto (the"
        " default; only if there is no other way to see its stack as it is), never, always",
    )
    parser.add_argument(
        "--depth",
        type=quantities.between("depth", int, 1, MAX_DEPTH),
        default=DEFAULT_DEPTH,
        metavar="N",
        help=f"frames kept of a stack, from the innermost (default {DEFAULT_DEPTH})",
    )
    parser.add_argument(
        "--all-frames",
        action="store_true",
        help="show also the frames that only start programs, threads and event loops",
    )


def _dumping(parser: _Parser) -> None:
    parser.add_argument(
        "--locals",
        action="store_true",
        help="show the variables of the functions that threads, tasks and greenlets are in, as they"
        " were when the stack was read: values of"
        " builtin types, of others the type; a thread that runs is stopped for it, for 50 ms at"
        " most (not with --pause never: what moves is left out)",
    )


def _common(parser: _Parser) -> None:
    parser.add_argument("--json", action="store_true", help="print what there is to say as JSON")
    loudness = parser.add_mutually_exclusive_group()
    loudness.add_argument("-q", "--quiet", action="store_true", help="say nothing but errors")
    loudness.add_argument("-v", "--verbose", action="store_true", help="say more")


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < 1e9:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds")
    return value


def _kinds(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(text.split(",")))
    recorded = [kind.name for kind in KINDS.values() if not kind.heap]
    for name in names:
        if name not in KINDS:
            raise argparse.ArgumentTypeError(
                f"there is no kind {name!r}; the kinds are {', '.join(recorded)}"
            )
        if name not in recorded:
            raise argparse.ArgumentTypeError(
                f"{name} can't be recorded, as it is of memory as it is now: use onlooker heap"
            )
    return names
