"""Which frames of a stack only start a program, a thread, a process or an event loop, or import.

Every stack of a thread begins with the same frames of ``threading``, every program started by
``python -m`` with those of ``runpy``. They say nothing, so profiles leave them out. The table holds
for CPython 3.8 to 3.15; the names are code names (co_name), as older versions know no others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final

from onlooker.profile.model import Function, Location

_ANY: Final = frozenset[str]()
"""Every function of the file."""

BOOTSTRAP: Final[Mapping[str, frozenset[str]]] = {
    # python -m, runpy.run_path(), and the import system underneath them.
    "runpy": _ANY,
    "importlib._bootstrap": _ANY,
    "importlib._bootstrap_external": _ANY,
    "zipimport": _ANY,
    # Thread.run is the standard one that calls the target; an override is in the user's file.
    "threading": frozenset({"_bootstrap", "_bootstrap_inner", "run"}),
    "concurrent.futures.thread": frozenset({"_worker", "run"}),
    "concurrent.futures.process": frozenset({"_process_worker", "_process_chunk"}),
    "multiprocessing.spawn": frozenset({"spawn_main", "_main"}),
    "multiprocessing.forkserver": frozenset({"main", "_serve_one"}),
    "multiprocessing.process": frozenset({"_bootstrap", "run"}),
    "multiprocessing.pool": frozenset({"worker", "mapstar", "starmapstar"}),
    "asyncio.runners": frozenset({"run"}),
    "asyncio.base_events": frozenset({"run_until_complete", "run_forever", "_run_once"}),
    "asyncio.events": frozenset({"_run"}),
}

# What allocates for whoever imports or traces: at the leaf of a stack it hides who that is.
_GLUE: Final[Mapping[str, frozenset[str]]] = {
    "importlib._bootstrap": _ANY,
    "importlib._bootstrap_external": _ANY,
    "zipimport": _ANY,
    "tracemalloc": _ANY,
}

# multiprocessing starts its processes by python -c "from multiprocessing.spawn import ...".
_COMMAND: Final = ("<string>", "<module>")
_COMMAND_CALLS: Final = ("multiprocessing/spawn.py", "multiprocessing/forkserver.py")


def _files(modules: Mapping[str, frozenset[str]]) -> dict[str, frozenset[str]]:
    """Return the table by what a code object's file name is or ends with."""
    files = {}
    for module, functions in modules.items():
        # The modules that CPython 3.11 and later freeze have no path (the import system never had).
        files[f"<frozen {module}>"] = functions
        files[module.replace(".", "/") + ".py"] = functions
    return files


_FILES: Final = _files(BOOTSTRAP)
_GLUE_FILES: Final = _files(_GLUE)
_FUNCTIONS_KEPT: Final = 4096
_LONGEST_TAIL: Final = 1 + max(module.count(".") for module in (*BOOTSTRAP, *_GLUE))


@lru_cache(_FUNCTIONS_KEPT)
def is_bootstrap(function: Function) -> bool:
    """Tell whether the function only starts other code."""
    return _is_in(_FILES, function)


@lru_cache(_FUNCTIONS_KEPT)
def _is_glue(function: Function) -> bool:
    return _is_in(_GLUE_FILES, function)


def _is_in(files: Mapping[str, frozenset[str]], function: Function) -> bool:
    parts = function.filename.rsplit("/", _LONGEST_TAIL)
    for length in range(1, min(len(parts), _LONGEST_TAIL) + 1):
        functions = files.get("/".join(parts[-length:]))
        if functions is not None:
            return functions is _ANY or _code_name(function) in functions
    return False


def without_bootstrap(stack: Sequence[Location]) -> Sequence[Location]:
    """Return the stack, leaf first, without the bootstrap frames at its root.

    If it has no other frames it is returned whole, as Go does with its runtime's frames: a
    thread that is still starting is shown starting, not as an empty stack.
    """
    end = len(stack)
    if end > 1 and _is_command(stack[-1].function, stack[-2].function):
        end -= 1
    while end > 0 and is_bootstrap(stack[end - 1].function):
        end -= 1
    return stack[:end] if end > 0 else stack


def without_glue(stack: Sequence[Location]) -> Sequence[Location]:
    """Return the stack, leaf first, as ``without_bootstrap`` and without importing at its leaf.

    For stacks of allocations: an import is told by the line that imports. A stack of nothing else
    is returned whole.
    """
    start = 0
    while start < len(stack) and _is_glue(stack[start].function):
        start += 1
    return without_bootstrap(stack[start:]) if start < len(stack) else stack


def _is_command(root: Function, called: Function) -> bool:
    filename, name = _COMMAND
    return (
        root.filename == filename
        and _code_name(root) == name
        and called.filename.endswith(_COMMAND_CALLS)
    )


def _code_name(function: Function) -> str:
    return function.name.rpartition(".")[2]
