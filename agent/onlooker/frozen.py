"""The memory of a running process as it was at one moment."""

from __future__ import annotations

import errno
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

from onlooker._native import ffi, lib
from onlooker.errors import (
    MemoryFault,
    NotPermitted,
    OnlookerError,
    TargetGone,
    UsageError,
)
from onlooker.memory import Freeze, ProcessMemory
from onlooker.permission import not_permitted
from onlooker.room import room_bytes
from onlooker.runtime.identity import identify, read_status
from onlooker.runtime.maps import read_maps

STOP_LIMIT_S: Final = 1.0
"""How long the threads of the target may take to stop, while those that have stopped wait."""

HOLD_LIMIT_S: Final = 10.0
"""How long a stop may last, whatever we still have to read."""

_SYSCALL_RETURN: Final = b"\x0f\x05\xc3"  # syscall; ret
_SIGRETURN: Final = b"\x48\xc7\xc0\x0f\x00\x00\x00\x0f\x05"  # mov $15, %rax; syscall
_TEXT_LIMIT_BYTES: Final = 256 << 20
_PIECE_BYTES: Final = 1 << 20

_STUCK_HINT: Final = (
    "It waits in the kernel where only death wakes it, for a disk, a network file system or a vfork"
    " child. Try again, or read the memory while it changes: --freeze none."
)


class Frozen:
    """A process whose memory stands still, until `release`.

    `memory` reads it; it is of the process `pid`, whose /proc/PID/maps and smaps fit it: a clone of
    the target (`how` is "snapshot") or the target itself ("stop", and "none", where it moves).
    """

    def __init__(self, memory: ProcessMemory, how: Freeze, notes: tuple[str, ...]) -> None:
        self.memory = memory
        self.pid = memory.pid
        self.how = how
        self._notes = notes
        self._native: Any = None
        self._lock = threading.Lock()
        self._report: _Report | None = None

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences about what was not done as asked for."""
        report = self._now()
        notes = self._notes
        if report and report.expired:
            notes += (f"the stop was ended after {HOLD_LIMIT_S:g} s",)
        if report and report.zombies:
            notes += (
                (
                    f"{report.zombies} of our clones stays a zombie of the target, until the next"
                    " snapshot or its end"
                ),
            )
        return notes

    @property
    def pause_ns(self) -> int:
        """How long the target stood still so far."""
        phases = self.phases_ns
        return sum(phases[name] for name in ("stop", "clone", "hold", "resume"))

    @property
    def phases_ns(self) -> dict[str, int]:
        """What it stood still for: to "stop" all threads, to "clone" it, to "hold" a stop while it
        is read, to "resume" the threads; and later, one thread, to "reap" the clone.
        """
        report = self._now()
        return {
            name: getattr(report, f"{name}_ns") if report else 0
            for name in ("stop", "clone", "hold", "resume", "reap")
        }

    def release(self) -> None:
        """Let the clone, or the stopped target, go at once. May be called twice.

        Nothing can be read any more.
        """
        with self._lock:
            if self._native is not None:
                lib.freeze_end(self._native)
                self._report = _look(self._native)
                ffi.release(self._native)
                self._native = None
            self.memory.close()  # after the end: until then the native code may replace the file

    def _now(self) -> _Report | None:
        with self._lock:
            return _look(self._native) if self._native is not None else self._report

    @property
    def _is_held(self) -> bool:
        with self._lock:
            return self._native is not None

    @property
    def _expired(self) -> bool:
        report = self._now()
        return bool(report and report.expired)


@contextmanager
def frozen(pid: int, freeze: Freeze = "snapshot") -> Iterator[Frozen]:
    """Freeze process `pid`; whatever happens, it is let go at the end.

    A snapshot that can't be made becomes a stop, which `notes` tells.

    Raises NoSuchProcess, NotPermitted (another tracer has it, too), TargetGone (it ended
    meanwhile), OnlookerError (a thread doesn't stop; what was read isn't of one moment, since the
    stop was ended at its limit or the snapshot was killed) and UsageError (our own process).
    """
    taken = _freeze(pid, freeze)
    try:
        yield taken
    except Exception as error:
        if taken.how == "snapshot" and taken._is_held and _has_ended(taken.pid):
            raise OnlookerError(
                f"the snapshot of process {pid} was killed while it was read",
                "If the kernel did it for lack of memory (sudo dmesg tells), use --freeze stop.",
            ) from error
        if not taken._expired:
            raise
    finally:
        taken.release()
    if taken._expired:
        raise OnlookerError(
            f"process {pid} was stopped for {HOLD_LIMIT_S:g} s, and let go before all was read",
            "Use --freeze snapshot, which stops it for milliseconds.",
        )


class _Report(NamedTuple):
    """freeze_report of native/onlooker_freeze.h."""

    outcome: int
    error: int
    tid: int
    child: int
    held: int
    expired: int
    zombies: int
    threads: int
    stop_ns: int
    clone_ns: int
    hold_ns: int
    resume_ns: int
    reap_ns: int


def _look(native: Any) -> _Report:
    report = ffi.new("freeze_report *")
    lib.freeze_look(native, report)
    return _Report(*(getattr(report, name) for name in _Report._fields))


def _freeze(pid: int, freeze: Freeze) -> Frozen:
    if pid == os.getpid():
        raise UsageError("a process can't freeze itself")
    identify(pid)
    memory = ProcessMemory(pid)
    try:
        if freeze == "none":
            return Frozen(memory, freeze, ())
        notes: tuple[str, ...] = ()
        if freeze == "snapshot":
            taken, why = _snapshot(pid, memory)
            if taken:
                return taken
            notes = (f"no snapshot: {why}; stopped the target instead",)
        stopped = Frozen(memory, "stop", notes)
        stopped._native = _native(memory, lib.ONLOOKER_FREEZE_STOP)
        return stopped
    except BaseException:
        memory.close()
        raise


def _snapshot(pid: int, memory: ProcessMemory) -> tuple[Frozen | None, str]:
    """The snapshot, or why there is none."""
    why = _obstacle(pid)
    site = _site(pid, memory)
    if not (why or site):
        why = f"the instructions for it are not in the process (on {os.uname().machine})"
    if why or not site:
        return None, why
    native = _native(memory, lib.ONLOOKER_FREEZE_SNAPSHOT, site, _leftovers(pid))
    try:
        report = _look(native)
        if report.outcome != lib.ONLOOKER_FROZEN:
            ffi.release(native)
            return None, _failure(report)
        taken = Frozen(ProcessMemory(report.child), "snapshot", ())
    except BaseException:
        ffi.release(native)
        raise
    taken._native = native
    memory.close()
    return taken, ""


def _obstacle(pid: int) -> str:
    """Why a clone would do harm or could not be; empty if nothing speaks against it."""
    try:
        status, threads = read_status(pid), [*_thread_statuses(pid)]
    except OSError as error:
        return f"/proc tells too little about the process ({error.strerror})"
    if any(thread.get("Seccomp", "0") != "0" for thread in threads):
        return "a seccomp filter guards the process, and might kill it for the clone"
    if any("shstk" in thread.get("x86_Thread_features", "") for thread in threads):
        return "the process has a shadow stack, which allows no system call of ours"
    if _starts_a_namespace(pid):
        return "the process's next child is to be the first of another pid namespace"
    # The clone has page tables of its own, and a copy of every page that the target writes to
    # while we read: seldom more than a fraction, since reading takes some 0.2 s for each GiB.
    need = 1024 * (_kib(status, "VmPTE") + _kib(status, "RssAnon") // 4)
    room = room_bytes(pid)
    if room is not None and room < need:
        return f"it might take {need >> 20} MiB, and only {max(room, 0) >> 20} MiB are free"
    return ""


def _starts_a_namespace(pid: int) -> bool:
    """Whether children go to another pid namespace, which would end with our clone."""
    own, childrens = (Path(f"/proc/{pid}/ns/{name}") for name in ("pid", "pid_for_children"))
    try:
        return own.readlink() != childrens.readlink()
    except OSError:  # what the kernel says of a namespace that is still empty
        return True


def _threads(pid: int) -> list[int]:
    return [int(thread.name) for thread in Path(f"/proc/{pid}/task").iterdir()]


def _thread_statuses(pid: int) -> Iterator[dict[str, str]]:
    for tid in _threads(pid):
        with suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
            yield read_status(tid)


def _kib(status: dict[str, str], field: str) -> int:
    return int(status.get(field, "0 kB").split()[0])


def _site(pid: int, memory: ProcessMemory) -> tuple[int, int] | None:
    """Where the process has the two instructions that a clone takes; see native/inject.h."""
    if os.uname().machine != "x86_64":
        return None
    try:
        text = [region for region in read_maps(pid) if "x" in region.permissions]
    except OSError:
        return None
    # The C library has both; elsewhere they can only be by chance.
    text.sort(key=lambda region: not region.name.startswith(("libc.", "libc-", "ld-")))
    found: dict[bytes, int] = {}
    budget = _TEXT_LIMIT_BYTES
    for region in text:
        for start in range(region.start, region.end, _PIECE_BYTES):
            length = min(_PIECE_BYTES + len(_SIGRETURN), region.end - start)
            budget -= length
            try:
                piece = memory.read(start, length) if budget > 0 else b""
            except MemoryFault:
                break
            for code in (_SYSCALL_RETURN, _SIGRETURN):
                if code not in found and (index := piece.find(code)) >= 0:
                    found[code] = start + index
            if len(found) == 2:
                return found[_SYSCALL_RETURN], found[_SIGRETURN]
    return None


def _leftovers(pid: int) -> list[int]:
    """The clones of killed agents, zombies by now, as the target's pid namespace knows them.

    Other zombies may be waited for by the program. Ours are those whose end is not signalled (a
    process that fork or vfork makes has SIGCHLD), that used no time of their own, and that were
    killed with our mark or ended with our own exit status.
    """
    found = []
    with suppress(OSError, KeyError):
        depth = len(read_status(pid)["NSpid"].split())
        for child in _children(pid):
            with suppress(OSError, KeyError, ValueError, IndexError):
                if _is_leftover(child, pid):
                    found.append(int(read_status(child)["NSpid"].split()[depth - 1]))
    return found


def _children(pid: int) -> Iterator[int]:
    for tid in _threads(pid):
        with suppress(FileNotFoundError, ProcessLookupError):
            yield from map(int, Path(f"/proc/{pid}/task/{tid}/children").read_text().split())


def _is_leftover(child: int, parent: int) -> bool:
    # From the third field on (proc_pid_stat(5)).
    fields = Path(f"/proc/{child}/stat").read_bytes().rpartition(b")")[2].split()
    user_ticks, exit_signal, exit_code = (int(fields[index]) for index in (11, 35, 49))
    if fields[0] != b"Z" or int(fields[1]) != parent or exit_signal or user_ticks:
        return False
    if exit_code == signal.SIGKILL:
        return _oom_score_adj(child) == _MARK != _oom_score_adj(parent)
    return exit_code == _EXIT_STATUS << 8


_MARK: Final[int] = lib.ONLOOKER_FREEZE_OOM_SCORE_ADJ
_EXIT_STATUS: Final[int] = lib.ONLOOKER_FREEZE_EXIT_STATUS


def _oom_score_adj(pid: int) -> int:
    return int(Path(f"/proc/{pid}/oom_score_adj").read_text())


def _native(
    memory: ProcessMemory,
    how: int,
    site: tuple[int, int] = (0, 0),
    leftovers: list[int] | None = None,
) -> Any:
    """A freeze that lasts, or a snapshot's that failed for a reason that a stop doesn't have."""
    pid = memory.pid
    zombies = ffi.new("int32_t[]", leftovers or [])
    options = {
        "pid": pid,
        "how": how,
        "own_child": _parent(pid) == os.getpid(),
        "memory_fd": memory.fileno(),
        "syscall_return": site[0],
        "sigreturn": site[1],
        "stop_limit_ns": round(STOP_LIMIT_S * 1e9),
        "hold_limit_ns": round(HOLD_LIMIT_S * 1e9),
        "leftovers": zombies,
        "leftover_count": len(leftovers or []),
    }
    # It exists before it begins, so that Ctrl-C, which comes after the call, finds it and ends it.
    native = ffi.gc(lib.freeze_open(ffi.new("freeze_options *", options)), lib.freeze_close)
    try:
        if error := lib.freeze_begin(native) if native else errno.ENOMEM:
            raise OnlookerError(f"can't freeze process {pid}: {os.strerror(error)}")
        report = _look(native)
        if report.outcome not in _ALLOWS_A_STOP:
            raise _error(memory, report)
    except BaseException:
        ffi.release(native)
        raise
    return native


_ALLOWS_A_STOP: Final = {
    lib.ONLOOKER_FROZEN,
    lib.ONLOOKER_FREEZE_NO_SITE,
    lib.ONLOOKER_FREEZE_NO_THREAD,
    lib.ONLOOKER_FREEZE_NO_CLONE,
}


def _failure(report: _Report) -> str:
    """Why no clone could be made."""
    if report.outcome == lib.ONLOOKER_FREEZE_NO_SITE:
        return "the instructions for it are not where they were"
    if report.outcome == lib.ONLOOKER_FREEZE_NO_THREAD:
        return "no thread can make it (32-bit code, a filter, or a stack without room)"
    if report.error == errno.EAGAIN:
        return "the target may have no more processes (RLIMIT_NPROC, or pids.max of its cgroup)"
    if report.error == errno.ENOMEM:
        with suppress(OSError):
            if Path("/proc/sys/vm/overcommit_memory").read_text().strip() == "2":
                return "vm.overcommit_memory is 2, which leaves no room for it"
        return "the kernel has no memory for it"
    return f"the clone failed ({os.strerror(report.error)})"


def _error(memory: ProcessMemory, report: _Report) -> OnlookerError:
    """What to raise when the target could not even be stopped."""
    pid, tid = memory.pid, report.tid
    if report.outcome == lib.ONLOOKER_FREEZE_GONE:
        return TargetGone(f"process {pid} ended, or runs another program, before it was frozen")
    if report.outcome == lib.ONLOOKER_FREEZE_TRACED:
        return OnlookerError(
            f"we trace thread {tid} of process {pid} already: it is being frozen or recorded",
            "Freeze it once at a time.",
        )
    if report.outcome == lib.ONLOOKER_FREEZE_REFUSED:
        tracer = _tracer(pid, tid)
        if not tracer:
            return not_permitted(pid)
        return NotPermitted(
            f"process {pid} can't be stopped: another tracer is attached to it ({tracer})",
            "End that one, or read the memory while it changes: --freeze none.",
        )
    if report.outcome == lib.ONLOOKER_FREEZE_STUCK:
        return OnlookerError(
            f"thread {tid} of process {pid} did not stop within {STOP_LIMIT_S:g} s", _STUCK_HINT
        )
    return OnlookerError(
        f"the threads of process {pid} are too many to be stopped, or start too fast",
        "Read the memory while it changes: --freeze none.",
    )


def _tracer(pid: int, tid: int) -> str:
    try:
        tracer = int(read_status(tid)["TracerPid"])
        return f"{read_status(tracer)['Name']}, pid {tracer}" if tracer else ""
    except (OSError, KeyError, ValueError):
        return ""


def _parent(pid: int) -> int:
    try:
        return int(read_status(pid)["PPid"])
    except (OSError, KeyError, ValueError):
        return 0


def _has_ended(pid: int) -> bool:
    try:
        return "VmSize" not in read_status(pid)  # its memory goes a moment before it is dead
    except OSError:
        return True
