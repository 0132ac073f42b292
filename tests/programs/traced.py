"""Runs tracemalloc, and tells what it has traced: python traced.py FRAMES [cleared|stopped|never].

It prints a line when it is ready, and then does nothing until it reads a byte. While it does
nothing, its traces are those that it tells then, in one line of JSON, except of the lines that look.
"""

import _tracemalloc
import collections
import contextlib
import ctypes
import functools
import gc
import io
import json
import os
import sys
import tracemalloc

gc.disable()
frames, mode = int(sys.argv[1]), (sys.argv[2:] or ["traces"])[0]


class Node:
    def __init__(self, payload):
        self.payload = payload


def text(number):
    return "text %d" % number


def nodes(depth, count):
    if depth:
        return nodes(depth - 1, count)
    return [Node(text(number)) for number in range(count)]


class Kinds:
    class Inner:
        def method(self):
            return bytes(2001)

    @classmethod
    def of_class(cls):
        return bytes(2002)

    @staticmethod
    def static():
        return bytes(2003)

    @property
    def value(self):
        return bytes(2004)

    @functools.lru_cache(maxsize=None)
    def cached(self):
        return bytes(2005)

    @contextlib.contextmanager
    def context(self):
        yield bytes(2006)


def closure():
    def inner():
        return bytes(2007)

    return inner


def generator():
    yield bytes(2008)


async def coroutine():
    return bytes(2009)


short = lambda: bytes(2010)


def each_kind():
    kinds = Kinds()
    with kinds.context() as managed:
        yield from (kinds.Inner().method(), kinds.of_class(), kinds.static(), kinds.value)
        yield from (kinds.cached(), managed, closure()(), next(generator()), short())
        try:
            coroutine().send(None)
        except StopIteration as stop:
            yield stop.value


ODD = "kept = [bytes(1000 + n) for n in range(20)]"
odd_files = ["/srv/gr\xf6\xdfe.py", "/srv/\u6587.py", "/srv/\U0001f600.py", "/srv/bad\udcff.py", ""]

if mode != "never":
    tracemalloc.start(frames)
    kept = {
        depth: nodes(depth, 300) for depth in (0, 3, 40)
    }
    modules = []
    for name in odd_files:
        module = {}
        exec(compile(ODD, name, "exec"), module)
        modules.append(module)
    each = list(each_kind())
    track = ctypes.pythonapi.PyTraceMalloc_Track
    track.argtypes = [ctypes.c_uint, ctypes.c_size_t, ctypes.c_size_t]
    for domain in (1, 7, 4000000000):
        for number in range(50):
            track(domain, 0x10000 + 64 * number, 1 << 20)
if mode == "cleared":
    tracemalloc.clear_traces()
if mode == "stopped":
    tracemalloc.stop()

wait = io.FileIO(0, closefd=False).readinto
byte = bytearray(1)
look, get_traced_memory = _tracemalloc._get_traces, tracemalloc.get_traced_memory
memory = traces = None
# Whoever looks takes objects that are free but still traced, as those of the line that had them
# last: of this one, then.
first_line = sys._getframe().f_lineno
spare = [[] for _ in range(100)], [(n, n) for n in range(5000)], list(range(10000, 10500))
os.write(1, b"ready\n")
wait(byte)
memory = get_traced_memory()
traces = look()
last_line = sys._getframe().f_lineno

told = collections.Counter((trace[0], trace[1], trace[2]) for trace in traces)
looking = list(range(first_line, last_line + 1))
print(
    json.dumps(
        {
            "traced": memory[0],
            "peak": memory[1],
            "looking": looking,
            "traces": [[*key, count] for key, count in told.items()],
        }
    ),
    flush=True,
)
