"""Profiles to write and to read back."""

import random
from collections.abc import Sequence
from pathlib import Path

from onlooker.profile.model import (
    Function,
    Labels,
    Location,
    Mapping,
    Profile,
    Sample,
    ValueType,
)

MILLISECOND_NS = 1_000_000
PERIOD_NS = 10 * MILLISECOND_NS

COUNT = ValueType("samples", "count")
CPU = ValueType("cpu", "nanoseconds")
PYTHON = Mapping("/usr/local/bin/python3.13", "8f2c1de0a4b95d03e7f6")

#: Names that demanglers, parsers and terminals trip over, each with the interpreter's own name.
ODD_NAMES = {
    "app.<module>": "<module>",
    "<module>": "<module>",
    "<lambda>": "<lambda>",
    "app.<listcomp>": "<listcomp>",
    "app.outer.<locals>.<lambda>": "outer.<locals>.<lambda>",
    "<frozen importlib._bootstrap>._find_and_load": "_find_and_load",
    "f[T]": "f[T]",
    "app.Box[int].get": "Box[int].get",
    "_Z3foov": "_Z3foov",
    "app._Z3foov": "_Z3foov",
    "_ZN3foo3barEv": "_ZN3foo3barEv",
    "_RNvC5crate4main": "_RNvC5crate4main",
    "ns::f<int>(int)": "ns::f<int>(int)",
    "app.call(x)": "call(x)",
    "größe.Straße.ключ.関数": "Straße.ключ.関数",
    "app.Parser.__init__": "Parser.__init__",
    "<17 frames omitted>": "<17 frames omitted>",
}


def cpu_profile(samples: list[Sample], comments: tuple[str, ...] = ()) -> Profile:
    """A profile of 2 s at 100 Hz, begun at 2026-02-03 04:05:06 UTC."""
    return Profile(
        kind="cpu",
        sample_types=(COUNT, CPU),
        period_type=CPU,
        period=PERIOD_NS,
        time_ns=1_770_091_506_000_000_000,
        duration_ns=2_000_000_000,
        samples=samples,
        comments=comments,
        mapping=PYTHON,
    )


def sample(
    *stack: Location, count: int = 1, thread: str = "MainThread", thread_id: int = 7
) -> Sample:
    """A sample with the usual labels; the stack is given leaf first."""
    labels = (("thread", thread), ("thread_id", str(thread_id)))
    return Sample(stack, (count, count * PERIOD_NS), labels)


def function(name: str, start_line: int = 1, filename: str = "/srv/app/app.py") -> Function:
    """A function of module ``app`` whose interpreter's name is known to differ."""
    return Function(name, name.partition(".")[2] or f"{name}?", filename, start_line)


def small_profile() -> Profile:
    """Two threads, a recursion, labels, comments and every odd name."""
    main = Location(function("app.<module>", 1), 40)
    walk = function("app.walk", 10)
    work = Location(function("app.work", 20), 22)
    odd = [
        sample(Location(Function(name, system_name, "/srv/app/odd.py", line), line + 1), main)
        for line, (name, system_name) in enumerate(ODD_NAMES.items(), start=50)
    ]
    return cpu_profile(
        [
            sample(Location(walk, 12), Location(walk, 14), Location(walk, 14), main, count=5),
            sample(work, Location(walk, 12), main, count=3),
            sample(work, count=2, thread="worker;1\x1b[31m", thread_id=9),
            *odd,
        ],
        comments=("onlooker 0.1.0", "# shown with -comments only"),
    )


def random_profile(seed: int, samples: int = 400) -> Profile:
    """A profile with many shared and nearly equal functions, locations, stacks and labels."""
    choose = random.Random(seed)
    functions = [
        Function(
            f"m{choose.randrange(4)}.f{choose.randrange(30)}",
            f"f{choose.randrange(30)}",
            choose.choice(["/a.py", "/b\udcff.py", ""]),
            choose.randrange(3),
        )
        for _ in range(80)
    ]

    def stack() -> tuple[Location, ...]:
        depth = choose.choice([0, 1, 5, 40])
        return tuple(Location(choose.choice(functions), choose.randrange(6)) for _ in range(depth))

    def labels() -> Labels:
        label_sets: list[Labels] = [
            (),
            (("thread", f"T{choose.randrange(3)}"), ("thread_id", str(choose.randrange(3)))),
            (("bytes", choose.randrange(2)),),
        ]
        return choose.choice(label_sets)

    return cpu_profile(
        [
            Sample(stack(), (choose.randrange(1 << 20), choose.randrange(1 << 62)), labels())
            for _ in range(samples)
        ],
    )


def write_source(folder: Path) -> tuple[Path, Profile]:
    """A source file, and a profile that says how much each of its lines took."""
    path = folder / "listed.py"
    path.write_text("def total(xs):\n    s = 0\n    for x in xs:\n        s += x\n    return s\n")
    total = Function("listed.total", "total", str(path), 1)
    return path, cpu_profile(
        [sample(Location(total, 4), count=7), sample(Location(total, 3), count=2)]
    )


HEAP_TYPES = (
    ValueType("alloc_objects", "count"),
    ValueType("alloc_space", "bytes"),
    ValueType("inuse_objects", "count"),
    ValueType("inuse_space", "bytes"),
)


def held(*path: str, count: int, size: int) -> Sample:
    """Objects of a heap profile by their owners, root first; the last name is their type."""
    stack = tuple(Location(Function(name, "", "", 0), 0) for name in reversed(path))
    values = (count, count * size, count, count * size)
    return Sample(stack, values, (("type", path[-1]), ("bytes", size)))


def heap_profile(samples: Sequence[Sample], time_ns: int = 1_770_091_506_000_000_000) -> Profile:
    """A heap profile by owner path."""
    return Profile(
        kind="heap",
        sample_types=HEAP_TYPES,
        period_type=ValueType("space", "bytes"),
        period=1,
        time_ns=time_ns,
        duration_ns=0,
        samples=samples,
        comments=("onlooker 0.1.0: onlooker heap --pid 7",),
        mapping=PYTHON,
    )
