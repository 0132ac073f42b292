"""The rule that refused is named, and what mends it."""

import pytest
from onlooker.permission import Standing, explain

SYS_PTRACE = 1 << 19
NET_RAW = 1 << 13
DAC_READ_SEARCH = 1 << 2
ALL = (1 << 41) - 1

# A user who looks at a process of their own, which is allowed unless something says no.
ALLOWED = Standing(
    uid=1000,
    gid=1000,
    capabilities=0,
    capability_bound=ALL,
    in_user_namespace=False,
    target_uids=(1000, 1000, 1000),
    target_gids=(1000, 1000, 1000),
    target_capabilities=0,
    target_dumpable=True,
    yama_scope=None,
)
ROOT = ALLOWED._replace(uid=0, gid=0, capabilities=ALL)


@pytest.mark.parametrize(
    ("standing", "reason", "hint"),
    [
        (ALLOWED._replace(target_uids=(0, 0, 0)), "belongs to user root", "as root (sudo)"),
        (ALLOWED._replace(target_uids=(4321,) * 3), "user #4321", "sudo -u #4321"),
        (ALLOWED._replace(target_uids=(1000, 0, 0)), "user root", "as root (sudo)"),
        (ALLOWED._replace(target_gids=(1000, 7, 7)), "group", "as root (sudo)"),
        (ALLOWED._replace(target_dumpable=False), "not dumpable", "as root (sudo)"),
        (ALLOWED._replace(target_capabilities=NET_RAW), "capabilities that we lack", "as root"),
        (
            ALLOWED._replace(yama_scope=1),
            "kernel.yama.ptrace_scope is 1",
            "sudo sysctl kernel.yama.ptrace_scope=0",
        ),
        (ALLOWED._replace(yama_scope=2), "kernel.yama.ptrace_scope is 2", "as root (sudo)"),
        (ROOT._replace(yama_scope=3), "kernel.yama.ptrace_scope is 3", "restart the machine"),
        (ROOT._replace(in_user_namespace=True), "user namespace", "on the host as root"),
        (ALLOWED._replace(yama_scope=0), "security module", "dmesg"),
        (
            ALLOWED._replace(target_uids=(0, 0, 0), capabilities=SYS_PTRACE),
            "CAP_DAC_READ_SEARCH",
            "both capabilities",
        ),
        (
            ALLOWED._replace(target_uids=(0, 0, 0), capabilities=SYS_PTRACE | DAC_READ_SEARCH),
            "security module",
            "dmesg",
        ),
        (ROOT._replace(yama_scope=2), "security module", "dmesg"),
    ],
)
def test_names_the_rule_that_refused(standing: Standing, reason: str, hint: str) -> None:
    said, advice = explain(standing)
    assert reason in said
    assert hint in advice


def test_user_comes_before_yama_as_in_the_kernel() -> None:
    said, _ = explain(ALLOWED._replace(target_uids=(0, 0, 0), yama_scope=1))
    assert "user root" in said
    assert "yama" not in said


def test_container_without_the_capability_is_not_told_to_use_sudo() -> None:
    in_container = ROOT._replace(capabilities=ALL & ~SYS_PTRACE, capability_bound=ALL & ~SYS_PTRACE)
    for standing in (
        in_container._replace(yama_scope=1, target_uids=(0, 0, 0), target_gids=(0, 0, 0)),
        in_container._replace(target_uids=(33, 33, 33)),
    ):
        _, advice = explain(standing)
        assert "--cap-add=SYS_PTRACE" in advice
        assert "as root (sudo)" not in advice
