"""The agent's memory for an hour's profile of a large program."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .agents import Onlooker
from .pprof import contents
from .processes import run
from .targets import Target
from .tools import Tools

FUNCTIONS = 20_000
FUNCTIONS_PER_MODULE = 100
STACKS = 50_000
"""Distinct stacks that the program can be found in, if each of its functions were at one line."""
TICKS = 360_000
"""An hour at 100 Hz. They are taken at 10 kHz, since what an agent keeps depends on what it has
seen, not on how long that took."""
RATE_HZ = 10_000


@dataclass(frozen=True)
class Memory:
    """One run."""

    version: str
    ticks_asked: int
    ticks: int
    stacks: int
    locations: int
    functions: int
    peak_rss_kib: int
    profile_kib: int

    def as_row(self) -> dict[str, Any]:
        """For the JSON line."""
        return dict(vars(self))


def memory(tools: Tools, agent: Onlooker, ticks: int) -> list[Memory]:
    """Profiles the program for a quarter of the ticks, and for all, so that the growth shows."""
    write_program(tools.scratch / "large")
    measured = []
    for share in (4, 1):
        with Target(tools, "3.14", "large/main.py", STACKS) as target:
            seconds = ticks / share / RATE_HZ
            command = agent.attach_command(target.pid, RATE_HZ, seconds)
            finished = run(command, limit_s=seconds + 120).checked()
            found = contents(agent.profile)
            measured.append(
                Memory(
                    target.version,
                    ticks // share,
                    found.samples,
                    found.stacks,
                    found.locations,
                    found.functions,
                    finished.peak_rss_kib,
                    agent.profile.stat().st_size // 1024,
                )
            )
    return measured


def write_program(folder: Path) -> None:
    """Writes modules of functions that call each other, each by a path that a seed decides."""
    folder.mkdir(parents=True, exist_ok=True)
    choose = random.Random(1)  # the same program every time
    modules = FUNCTIONS // FUNCTIONS_PER_MODULE
    for module in range(modules):
        numbers = range(module * FUNCTIONS_PER_MODULE, (module + 1) * FUNCTIONS_PER_MODULE)
        functions = "\n\n".join(_function(number, choose) for number in numbers)
        (folder / f"subsystem_{module:03}.py").write_text(
            f"from table import table\n\n{functions}\n"
        )
    (folder / "table.py").write_text(f"table = [None] * {FUNCTIONS}\n")
    imports = "\n".join(f"import subsystem_{module:03}" for module in range(modules))
    (folder / "main.py").write_text(_MAIN.format(imports=imports, functions=FUNCTIONS))


def _function(number: int, choose: random.Random) -> str:
    callees = [choose.randrange(FUNCTIONS) for _ in range(4)]
    name = f"handle_{choose.choice(_VERBS)}_{choose.choice(_NOUNS)}_{number}"
    branches = "\n".join(
        f"    if choice == {index}:\n        return table[{callee}](depth - 1, seed)"
        for index, callee in enumerate(callees)
    )
    return f"""def {name}(depth, seed):
    if depth == 0:
        for _ in range(2000):
            seed ^= 1
        return seed
    seed = (seed * 1103515245 + 12345) & 0x7FFFFFFF
    choice = (seed >> 16) & 3
{branches}

table[{number}] = {name}"""


_VERBS = ("create", "update", "validate", "render", "fetch", "serialize", "merge", "publish")
_NOUNS = ("order", "customer", "invoice", "shipment", "document", "session", "report", "index")

_MAIN = '''"""usage: main.py STACKS

Calls down one of so many paths after the other, some far more often than others.
"""

import json
import random
import sys

from table import table
{imports}

stacks = int(sys.argv[1])
choose = random.Random(2)
print(json.dumps({{}}), flush=True)
while True:
    # The n-th of the paths is taken about 1/n as often as the first.
    path = int(stacks ** choose.random())
    table[path * 7919 % {functions}](20 + path % 21, path)
'''
