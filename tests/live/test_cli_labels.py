"""`--label-context-var`: what go tool pprof shows of it, and what the notes say."""

import re
from pathlib import Path

from tests.commands import go_pprof, onlooker
from tests.conftest import StartTarget
from tests.interpreters import Interpreter

TENANTS = """
    import contextvars, threading

    tenant = contextvars.ContextVar("tenant")

    def for_acme():
        tenant.set("acme")
        ready.wait()
        threading.Event().wait()

    def for_globex():
        tenant.set("gl\\N{LATIN SMALL LETTER O WITH DIAERESIS}bex")
        ready.wait()
        threading.Event().wait()

    ready = threading.Barrier(3)
    for function in (for_acme, for_globex):
        threading.Thread(target=function, daemon=True).start()
    ready.wait()
    print("ready", flush=True)
    threading.Event().wait()
"""


def test_pprof_tells_values_apart(
    any_interpreter: Interpreter, start_target: StartTarget, tmp_path: Path
) -> None:
    target = start_target(any_interpreter, TENANTS)
    target.read_line()
    done = onlooker(
        *("attach", "--pid", target.pid, "--seconds", 0.5, "--profile", "wall", "-o", "it"),
        *("--label-context-var", "tenant", "--label-context-var", "no such"),
        cwd=tmp_path,
    ).ok()
    missing = "no ContextVar is named 'no such': no sample has its label"
    assert missing in done.stderr
    assert missing in go_pprof("-comments", "it", cwd=tmp_path)
    tags = go_pprof("-tags", "it", cwd=tmp_path)
    assert re.search(r" tenant: Total .*\n.*: acme\n.*: glöbex\n", tags) or re.search(
        r" tenant: Total .*\n.*: glöbex\n.*: acme\n", tags
    )
    focused = go_pprof("-top", "-tagfocus=tenant=glöbex", "it", cwd=tmp_path)
    assert "for_globex" in focused
    assert "for_acme" not in focused
    shown = onlooker("dump", "--pid", target.pid, "--label-context-var", "tenant").ok().text
    assert "tenant=acme" in shown
