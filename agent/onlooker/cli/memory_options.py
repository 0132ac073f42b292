"""The options of the commands that tell of memory, and those for what is written."""

from __future__ import annotations

import argparse

from onlooker import outputs
from onlooker.cli import quantities
from onlooker.memory import FREEZES
from onlooker.profile.difference import BY
from onlooker.profile.heap import HEAP_BY, SOURCES
from onlooker.profile.kinds import KINDS


def output(parser: argparse.ArgumentParser, names: str = "") -> None:
    """Where a profile goes, and in what format. ``names`` tells more about default names."""
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        help="where to write, - for standard output (default: a name made of program, pid, time"
        f" and kind, in the working folder){names}",
    )
    parser.add_argument(
        "--format", choices=outputs.names(), default="pprof", help="the format (default pprof)"
    )


def heap(parser: argparse.ArgumentParser) -> None:
    """Those of `onlooker heap`."""
    option = parser.add_argument
    option(
        "--source",
        choices=SOURCES,
        default="auto",
        help="objects: all that there are; tracemalloc: what a process that runs it has traced,"
        " by where it was allocated; auto (the default): traces if there are any, else objects",
    )
    option(
        "--by",
        dest="heap_by",
        choices=HEAP_BY,
        default="path",
        help="what a stack of objects is: path (the default), what holds them; type; module",
    )
    option(
        "--freeze",
        choices=FREEZES,
        default="snapshot",
        help="snapshot (the default): the process stands still for a fork of it, some milliseconds;"
        " stop: while it is read; none: it goes on, and objects that move are missed",
    )
    option(
        "--profile",
        dest="heap_kind",
        choices=[kind.name for kind in KINDS.values() if kind.heap],
        default="heap",
        metavar="KIND",
        help="heap (the default), or allocs, which differs in what is shown first",
    )
    option(
        "--top",
        type=quantities.between("number of rows", int, 1, 1_000_000),
        default=10,
        metavar="N",
        help="rows of a table, at most (default 10)",
    )
    output(parser)
    option(
        "--all-frames",
        action="store_true",
        help="of traces, show also the frames that only start programs, threads and event loops",
    )
    snapshots = parser.add_argument_group("snapshots, for cron")
    snapshots.add_argument(
        "--dir",
        dest="snapshot_dir",
        metavar="DIR",
        help="write a snapshot into this directory, of every process that --name matches",
    )
    snapshots.add_argument(
        "--keep",
        type=quantities.between("number of snapshots", int, 1, 1_000_000_000),
        metavar="N",
        help="then keep those of the newest N runs, of each program",
    )
    snapshots.add_argument(
        "--max-bytes", type=quantities.size, metavar="SIZE", help="no more than so much, as 2G"
    )
    snapshots.add_argument(
        "--max-age", type=quantities.duration, metavar="TIME", help="none older than this, as 14d"
    )
    asked = parser.add_argument_group("questions, answered instead")
    either = asked.add_mutually_exclusive_group()
    either.add_argument(
        "--who", metavar="TYPE", help="who holds the objects of a type, as shop.session.Session"
    )
    either.add_argument(
        "--object", type=_address, metavar="ADDRESS", help="what one object is and who refers to it"
    )


def _address(text: str) -> int:
    try:
        return int(text, 16)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no address such as 0x7f31c2a04d80") from None


def growing(parser: argparse.ArgumentParser) -> None:
    """Those of `onlooker growth`."""
    option = parser.add_argument
    option(
        "directory",
        metavar="DIR",
        help="where `onlooker heap --dir` puts its snapshots; those that can't be read are left"
        " out, which is said, and is an error only if none is left",
    )
    option(
        "-p",
        "--pid",
        type=quantities.pid,
        metavar="N",
        help="only this process, the last with this id",
    )
    option(
        "--since",
        type=quantities.duration,
        metavar="TIME",
        help="only the last 90m, 6h or 14d before the newest snapshot",
    )


def differing(parser: argparse.ArgumentParser) -> None:
    """Those of `onlooker diff`."""
    option = parser.add_argument
    option("before", metavar="BEFORE", help="a pprof file, Onlooker's or another tool's")
    option("after", metavar="AFTER", help="a later one of the same kind")
    option(
        "--by",
        choices=BY,
        default="stack",
        help="what to compare: stack (the default; in a heap profile, the path of owners), type"
        " (what is at its end), function (with all that it calls or owns)",
    )


def compared(parser: argparse.ArgumentParser) -> None:
    """Those of both."""
    option = parser.add_argument
    option(
        "--top",
        type=quantities.between("number of rows", int, 1, 1_000_000),
        default=10,
        metavar="N",
        help="rows of a table, at most (default 10)",
    )
    option("-o", "--output", metavar="FILE", help="write the difference as a pprof file, too")
