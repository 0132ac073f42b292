"""Functions with variables of all kinds; says what their values are, then waits for a line.

After that line one thread runs without a pause.
"""

import json
import sys
import threading


class Own:
    pass


class Text(str):
    pass


def simple(positional, *rest, keyword=None, **others):
    integer, negative, zero, large = 7, -(2**40) - 3, 0, 3**200
    true, none, dots, real, infinite = True, None, ..., 0.1, float("-inf")
    text, empty, wide, astral = "it's\t\"\\", "", "\u20ac\u0100", "\U0001f40d"
    lone, control, raw = "\ud800x", "\x1b[31m\n\x00", b"\xff'\x00"
    tell()


def containers():
    pair, single, nothing = (1, "two"), (3,), ()
    numbers, mixed = [1, 2.5, None], [b"", (True, {})]
    names, inner = {"a": 1, 2: [3]}, {"deep": {"er": [1]}}
    unique, frozen, no_set = {5}, frozenset([6]), set()
    tell()


def beyond():
    """What is not told as repr does, and how it is."""
    own, text, cycle = Own(), Text("no"), []
    cycle.append(cycle)
    deep = [[[[[1]]]]]
    many, long, huge = list(range(100)), "x" * 1000, 1 << 5000
    told.append({
        "own": f"<__main__.Own at {id(own):#x}>",
        "text": f"<__main__.Text at {id(text):#x}>",
        "cycle": "[[[<list of 1 items>]]]",
        "deep": "[[[<list of 1 items>]]]",
        "many": "[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, ...]",
        "long": "'" + "x" * 196 + "...",
        "huge": f"<int at {id(huge):#x} of more than 1920 bits>",
    })
    closed()


def closed():
    cell = "in a cell"

    def inner(argument):
        nonlocal cell
        cell += "!"
        unset = 1
        del unset

        def innermost():
            return argument

        free = innermost
        told.append({"argument": "'given'", "cell": "'in a cell!'",
                     **{n: f"<builtins.function at {id(v):#x}>"
                        for n, v in (("innermost", innermost), ("free", free))}})
        wait()

    inner("given")


def tell():
    frame = sys._getframe(1)
    told.append({name: repr(value) for name, value in frame.f_locals.items()})
    {"simple": containers, "containers": beyond}[frame.f_code.co_name]()


def wait():
    ready.set()
    go_on.wait()


def running():
    number = 0
    marker = "runs"
    while True:
        number += 1


told, ready, go_on = [], threading.Event(), threading.Event()
threading.Thread(
    target=simple, args=("p", 1, 2), kwargs={"keyword": "k", "other": 3}, daemon=True, name="asleep"
).start()
ready.wait()
print(json.dumps(told), flush=True)
sys.stdin.readline()
threading.Thread(target=running, daemon=True, name="runs").start()
print("running", flush=True)
sys.stdin.readline()
