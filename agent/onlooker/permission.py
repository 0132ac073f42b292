"""Why the kernel refuses to show us a process, and what mends it.

The order of the questions is the kernel's own (__ptrace_may_access in kernel/ptrace.c, then
cap_ptrace_access_check in security/commoncap.c and yama_ptrace_access_check), so the answer is the
rule that refused and not merely one that could have.
"""

from __future__ import annotations

import os
import pwd
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from onlooker.errors import NoSuchProcess, NotPermitted, OnlookerError

_CAP_SYS_PTRACE = 1 << 19  # include/uapi/linux/capability.h
_CAP_DAC_READ_SEARCH = 1 << 2
_CAP_DAC_OVERRIDE = 1 << 1
_ALL_USERS = ("0", "0", "4294967295")  # the uid_map of the first user namespace


class Standing(NamedTuple):
    """What the kernel compares before it lets one process look into another.

    `target_uids` and `target_gids` are (real, effective, saved); the capability fields are the bit
    masks of /proc/PID/status. `yama_scope` is None on a kernel without Yama.
    """

    uid: int
    gid: int
    capabilities: int
    capability_bound: int
    in_user_namespace: bool
    target_uids: tuple[int, ...]
    target_gids: tuple[int, ...]
    target_capabilities: int
    target_dumpable: bool
    yama_scope: int | None


def absent(pid: int) -> OnlookerError:
    """Return the error to raise after /proc has shown no process `pid`."""
    with suppress(ProcessLookupError, OverflowError):
        try:
            if pid > 0 and not Path(f"/proc/{pid}").exists():
                os.kill(pid, 0)  # signal 0 is never sent: it only asks whether it could be
        except PermissionError:
            return not_permitted(pid)
    return NoSuchProcess(f"there is no process with pid {pid}, or it has just ended")


def not_permitted(pid: int) -> NotPermitted:
    """Return the error to raise after the kernel has refused access to process `pid`."""
    try:
        standing = read_standing(pid)
    except (OSError, KeyError, ValueError):
        return NotPermitted(
            f"not permitted to look into process {pid}: /proc hides it (mounted with hidepid?)",
            "Run the command as root (sudo), or as a member of the group in /proc's gid= option.",
        )
    reason, hint = explain(standing)
    return NotPermitted(f"not permitted to look into process {pid}: {reason}", hint)


def explain(standing: Standing) -> tuple[str, str]:
    """Return (reason, what to do) for a refused access."""
    privileged = bool(standing.capabilities & _CAP_SYS_PTRACE)
    as_root = _how_to_get_the_capability(standing)
    if privileged and standing.in_user_namespace:
        return (
            (
                "we are in a user namespace (a rootless container?), and CAP_SYS_PTRACE counts only"
                " for processes of that namespace"
            ),
            "Run the command on the host as root (sudo), with the pid that the host sees.",
        )
    strangers = set(standing.target_uids) - {standing.uid}
    opens_files = standing.capabilities & (_CAP_DAC_READ_SEARCH | _CAP_DAC_OVERRIDE)
    if privileged and not opens_files and (strangers or not standing.target_dumpable):
        # /proc/PID/mem may be opened by its owner only (mode 0600).
        return (
            "we have CAP_SYS_PTRACE, but /proc/PID/mem takes CAP_DAC_READ_SEARCH as well",
            "Give the command both capabilities, or run it as root (sudo).",
        )
    if not privileged:
        if strangers:
            user = user_name(max(strangers))
            as_them = f"Run the command as that user (sudo -u {user}). " if max(strangers) else ""
            return (
                (
                    f"it belongs to user {user}, we run as {user_name(standing.uid)} and without"
                    " CAP_SYS_PTRACE"
                ),
                as_them + as_root,
            )
        if set(standing.target_gids) - {standing.gid}:
            return "its group is not ours, and we run without CAP_SYS_PTRACE", as_root
        if not standing.target_dumpable:
            return (
                (
                    "it is not dumpable (it changed its user, its file isn't readable by us, or it"
                    " called prctl(PR_SET_DUMPABLE, 0)), and we run without CAP_SYS_PTRACE"
                ),
                as_root,
            )
        if standing.target_capabilities & ~standing.capabilities:
            return "it has capabilities that we lack, and we run without CAP_SYS_PTRACE", as_root
    if standing.yama_scope == 3:
        return (
            "the sysctl kernel.yama.ptrace_scope is 3, which forbids it even to root",
            "The value can't be lowered: change it in /etc/sysctl.d and restart the machine.",
        )
    if not privileged and standing.yama_scope == 2:
        return "the sysctl kernel.yama.ptrace_scope is 2 and we run without CAP_SYS_PTRACE", as_root
    if not privileged and standing.yama_scope == 1:
        return (
            (
                "the sysctl kernel.yama.ptrace_scope is 1 (only a process's own parents may look"
                " into it) and we run without CAP_SYS_PTRACE"
            ),
            (
                "Allow it until the next start of the machine: sudo sysctl"
                f" kernel.yama.ptrace_scope=0. {as_root}"
            ),
        )
    return (
        (
            "users and capabilities would allow it, so a security module (AppArmor, SELinux, a"
            " container's profile) forbids it"
        ),
        "The kernel's log names the rule: sudo dmesg | grep -i -E 'denied|ptrace'.",
    )


def read_standing(pid: int) -> Standing:
    """Read what the kernel compares, from /proc. Raises OSError, KeyError or ValueError."""
    ours = _read_status("self")
    target = _read_status(str(pid))
    target_uids = _ids(target["Uid"])
    try:
        yama_scope = int(Path("/proc/sys/kernel/yama/ptrace_scope").read_text())
    except OSError:
        yama_scope = None
    return Standing(
        # The fourth number is the file system's id, which is what access through /proc compares.
        uid=int(ours["Uid"].split()[3]),
        gid=int(ours["Gid"].split()[3]),
        capabilities=int(ours["CapEff"], 16),
        capability_bound=int(ours["CapBnd"], 16),
        in_user_namespace=tuple(Path("/proc/self/uid_map").read_text().split()) != _ALL_USERS,
        target_uids=target_uids,
        target_gids=_ids(target["Gid"]),
        target_capabilities=int(target["CapPrm"], 16),
        # The files of a process that isn't dumpable belong to root (task_dump_owner, fs/proc).
        target_dumpable=Path(f"/proc/{pid}/mem").stat().st_uid == target_uids[1],
        yama_scope=yama_scope,
    )


def _how_to_get_the_capability(standing: Standing) -> str:
    if standing.capability_bound & _CAP_SYS_PTRACE:
        return "Run the command as root (sudo), which has CAP_SYS_PTRACE."
    # Even root can't have it here, so sudo would not help.
    return (
        "CAP_SYS_PTRACE is withheld from this container: start it with --cap-add=SYS_PTRACE"
        " (Docker, Podman), add SYS_PTRACE to securityContext.capabilities.add (Kubernetes), or run"
        " the command on the host."
    )


def _read_status(pid: str) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text(errors="replace").splitlines()
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


def _ids(field: str) -> tuple[int, ...]:
    return tuple(int(number) for number in field.split()[:3])


def user_name(uid: int) -> str:
    """Return the name of a user, or # and the number where it has no name."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"#{uid}"
