"""Who a process is, as /proc tells it, and whether it can be a Python process at all."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import NamedTuple

from onlooker.errors import NoSuchProcess, NotPython
from onlooker.permission import absent, not_permitted

from .maps import DELETED

_PF_KTHREAD = 0x00200000  # include/linux/sched.h


class Identity(NamedTuple):
    """A process's ids, names and namespaces.

    `pid` is the id that we see and `ns_pid` the one that the process itself sees. `executable` is a
    path as the process sees it; `root` is where we see its root folder. `start_time_ns` counts from
    the epoch.
    """

    pid: int
    ns_pid: int
    uid: int
    executable: str
    deleted: bool
    argv: tuple[str, ...]
    start_time_ns: int
    root: str
    in_other_mount_namespace: bool
    in_other_pid_namespace: bool

    @property
    def program(self) -> str:
        """A short name: the script or module that Python runs, or the executable."""
        return program_name(self.executable, self.argv)

    def outside(self, path: str) -> str:
        """Return a path of the process as /proc/PID/maps shows it to us."""
        return path if self.root == "/" else self.root + path


def identify(pid: int) -> Identity:
    """Read who process `pid` is.

    Raises NoSuchProcess (none, a zombie, or the id of a thread), NotPython (a kernel thread) and
    NotPermitted.
    """
    process = Path(f"/proc/{pid}")
    try:
        status = read_status(pid)
        stat = (process / "stat").read_bytes()
        argv = read_command(pid)
    except (FileNotFoundError, ProcessLookupError):
        raise absent(pid) from None
    except PermissionError:
        raise not_permitted(pid) from None
    if (leader := int(status["Tgid"])) != pid:
        raise NoSuchProcess(
            f"{pid} is no process but a thread of process {leader}",
            f"Give the id of the process: --pid {leader}.",
        )
    # The name of the program is the second field and may contain anything, parentheses included.
    fields = stat.rpartition(b")")[2].split()
    state, flags, start_ticks = fields[0], int(fields[6]), int(fields[19])
    if state in (b"Z", b"X"):
        raise NoSuchProcess(
            f"process {pid} has ended already (it is a zombie that its parent,"
            f" {fields[1].decode()}, hasn't waited for)"
        )
    if flags & _PF_KTHREAD:
        raise NotPython(f"process {pid} ({status['Name']}) is a thread of the kernel")
    try:
        root = os.fsdecode((process / "root").readlink())
        executable = os.fsdecode((process / "exe").readlink())
        namespaces = [_other_namespace(process, name) for name in ("mnt", "pid")]
    except (FileNotFoundError, ProcessLookupError):
        raise absent(pid) from None
    except PermissionError:
        raise not_permitted(pid) from None
    return Identity(
        pid=pid,
        ns_pid=int(status.get("NSpid", str(pid)).split()[-1]),
        uid=int(status["Uid"].split()[1]),
        executable=inside(root, executable.removesuffix(DELETED)),
        deleted=executable.endswith(DELETED),
        argv=argv,
        start_time_ns=_start_time_ns(start_ticks),
        root=root,
        in_other_mount_namespace=namespaces[0],
        in_other_pid_namespace=namespaces[1],
    )


def read_status(pid: int) -> dict[str, str]:
    """Return the fields of /proc/PID/status. Raises OSError."""
    text = Path(f"/proc/{pid}/status").read_text(errors="replace")
    return {
        key: value.strip() for key, _, value in (row.partition(":") for row in text.split("\n"))
    }


def read_command(pid: int) -> tuple[str, ...]:
    """Return the command line of a process; at least one string. Raises OSError."""
    command = os.fsdecode(Path(f"/proc/{pid}/cmdline").read_bytes())
    return tuple(command.removesuffix("\0").split("\0"))


def inside(root: str, path: str) -> str:
    """Return `path` as a process sees it whose root folder we see at `root`."""
    return path[len(root) :] if root != "/" and path.startswith(root + "/") else path


def program_name(executable: str, argv: tuple[str, ...]) -> str:
    """Return the script's or the module's name if Python was started with one, else the program's.

    Options of the interpreter are skipped as its own command line does (Python/getopt.c).
    """
    program = executable.rpartition("/")[2]
    if not program.startswith("python"):
        return program
    arguments = iter(argv[1:])
    for argument in arguments:
        if argument == "--check-hash-based-pycs":
            next(arguments, None)
        elif not argument.startswith("-"):
            return argument.rpartition("/")[2].removesuffix(".py") or program
        elif not argument.startswith("--"):
            # Options may be joined, and what an option takes may be joined to it: -um app, -mapp.
            for index, option in enumerate(argument[1:], 2):
                if option == "m":
                    return argument[index:] or next(arguments, program)
                if option == "c":
                    return program
                if option in "WX":
                    if not argument[index:]:
                        next(arguments, None)
                    break
    return program


def _other_namespace(process: Path, name: str) -> bool:
    return (process / "ns" / name).readlink() != Path(f"/proc/self/ns/{name}").readlink()


def _start_time_ns(ticks: int) -> int:
    boot_ns = time.time_ns() - time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    return boot_ns + ticks * (1_000_000_000 // os.sysconf("SC_CLK_TCK"))
