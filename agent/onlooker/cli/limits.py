"""Limits of this process that reading many threads runs into."""

from __future__ import annotations

import resource


def raise_open_files() -> None:
    """Allow as many open files as the system lets us: each thread of a target takes some."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
