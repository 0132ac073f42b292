"""What people see in a browser, and what finds processes for scrapers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Final, NamedTuple

from onlooker.profile.printable import printable
from onlooker.runtime.processes import PythonProcess
from onlooker.runtime.version import version_text

_STYLE: Final = """<style>
.profile-name{
	display:inline-block;
	width:6rem;
}
</style>
"""


class Entry(NamedTuple):
    """A line of the index of profiles."""

    name: str
    query: str
    total: int
    description: str


def prefix(pid: int) -> str:
    """Return what stands before Go's paths of one process."""
    return f"/pid/{pid}"


def index(process: str, entries: Iterable[Entry], *, stack_dump: bool) -> bytes:
    """Return the index of one process's profiles, as Go's has it."""
    entries = sorted(entries)
    rows = "".join(
        f"<tr><td>{entry.total}</td><td>"
        f"<a href='{escape(entry.name + entry.query)}'>{escape(entry.name)}</a></td></tr>\n"
        for entry in entries
    )
    descriptions = "".join(
        f"<li><div class=profile-name>{escape(entry.name)}: </div> "
        f"{escape(entry.description)}</li>\n"
        for entry in entries
    )
    dump = '<a href="goroutine?debug=2">full goroutine stack dump</a>\n<br>\n' if stack_dump else ""
    return _page(
        "/debug/pprof/",
        f"/debug/pprof/<br>\n<br>\n{escape(printable(process))}<br>\n<br>\n"
        "Types of profiles available:\n"
        f"<table>\n<thead><td>Count</td><td>Profile</td></thead>\n{rows}</table>\n"
        f"{dump}<p>\nProfile Descriptions:\n<ul>\n{descriptions}</ul>\n</p>\n",
    )


def processes(found: Sequence[PythonProcess]) -> bytes:
    """Return the index of processes."""
    rows = "".join(
        f"<tr><td>{_link(process)}</td><td>{version_text(process.version)}</td>"
        f"<td>{escape(process.user)}</td><td>{escape(printable(process.command))}</td></tr>\n"
        for process in found
    )
    return _page(
        "onlooker",
        "Processes:\n<table>\n<thead><td>PID</td><td>Python</td><td>User</td><td>Command</td>"
        f"</thead>\n{rows}</table>\n"
        "<p>\n<a href='/targets'>targets</a> for Prometheus' HTTP service discovery, "
        "<a href='/metrics'>metrics</a> of Onlooker itself\n</p>\n",
    )


def targets(found: Iterable[PythonProcess], address: str) -> bytes:
    """Return the processes in the form of Prometheus' HTTP service discovery."""
    groups = [
        {"targets": [address], "labels": _labels(process)}
        for process in found
        if process.problem is None
    ]
    return json.dumps(groups).encode()


def _labels(process: PythonProcess) -> Mapping[str, str]:
    # The pid must stay: labels with __ go away, and targets that are equal then count as one.
    return {
        "__profile_path_prefix__": prefix(process.pid),
        "__meta_onlooker_command": _utf8(process.command),
        "__meta_onlooker_python": version_text(process.version),
        "__meta_onlooker_user": process.user,
        "pid": str(process.pid),
        "service_name": _utf8(process.program),
    }


def _link(process: PythonProcess) -> str:
    if process.problem:
        return f"{process.pid} ({escape(printable(str(process.problem)))})"
    return f"<a href='{prefix(process.pid)}/debug/pprof/'>{process.pid}</a>"


def _utf8(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _page(title: str, body: str) -> bytes:
    head = f"<html>\n<head>\n<title>{title}</title>\n{_STYLE}</head>\n"
    return f"{head}<body>\n{body}</body>\n</html>".encode("utf-8", "backslashreplace")
