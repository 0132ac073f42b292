"""Threads that wait, each in another kind of stack. Says what their stacks are; ends with its input.

The report has a list for each pair of interpreter and thread, leaf first: name, file, line, first
line of the code object. It is made and waited for in one line, as every thread says in one line
that it waits and does so, so that all lines are still right when somebody looks from outside.
"""

import _thread
import ast
import functools
import json
import os
import re
import sys
import threading

FOREIGN = """
def gr\u00f6\u00dfe(n):
    return [\u0416\u0443\u043a(n) for _ in range(1)]

def \u0416\u0443\u043a(n):
    return (lambda: \U00010400(n))()

def \U00010400(n):
    return %s(n)

def %s(n):
    wait()
"""
LONG_NAME = "long_" * 60
FOREIGN_FILE = "/srv/\u00fcber/\u0444\u0430\u0439\u043b/\U0001f40d.py"

INNER = """
import os, sys
def stack(frame):
    frames = []
    while frame:
        code = frame.f_code
        name = getattr(code, "co_qualname", code.co_name)
        frames.append((name, code.co_filename, frame.f_lineno, code.co_firstlineno))
        frame = frame.f_back
    return frames
class Inner:
    def tell(self):
        os.write(%d, repr(stack(sys._getframe())).encode()) and os.read(%d, 1)
def twice(function):
    list(map(lambda _: function(), [None]))
twice(Inner().tell)
"""

ready = threading.Semaphore(0)
end = threading.Lock()
end.acquire()


def wait():
    ready.release() or end.acquire()


def stack(frame):
    frames = []
    while frame:
        code = frame.f_code
        name = getattr(code, "co_qualname", code.co_name)
        frames.append((name, code.co_filename, frame.f_lineno, code.co_firstlineno))
        frame = frame.f_back
    return frames


class Calls:
    def first(self):
        return self.second(
            1,
            2,
        )

    def second(self, *numbers):
        def third():
            wait()

        return third()


def recursion(depth):
    if depth:
        return recursion(depth - 1)
    return wait()


def leaf_generator():
    yield 1
    wait()
    yield 2


def delegating(depth):
    if depth:
        yield from delegating(depth - 1)
    else:
        yield from leaf_generator()


def generators():
    for _ in delegating(5):
        pass


async def coroutine(depth):
    if depth:
        return await coroutine(depth - 1)
    async with Context():
        return None


class Context:
    async def __aenter__(self):
        async for _ in ticks():
            wait()

    async def __aexit__(self, *error):
        pass


async def ticks():
    yield 1


def coroutines():
    coroutine(5).send(None)


def exceptions():
    try:
        try:
            raise ValueError
        except ValueError:
            {}["missing"]
    except KeyError as error:
        try:
            raise RuntimeError from error
        finally:
            wait()


class Property:
    @property
    def value(self):
        return self.missing

    def __getattr__(self, name):
        return functools.reduce(lambda *_: re.sub("a", self.replace, "aa"), "xyz")

    def replace(self, match):
        return sorted("ab", key=lambda _: wait())


def through_c():
    return Property().value


def foreign():
    names = {"wait": wait}
    exec(compile(FOREIGN % (LONG_NAME, LONG_NAME), FOREIGN_FILE, "exec"), names)
    names["gr\u00f6\u00dfe"](1)


def inner_interpreter(told, ended):
    try:
        import _interpreters as interpreters
    except ImportError:
        import _xxsubinterpreters as interpreters
    interpreters.run_string(interpreters.create(), INNER % (told, ended))


def main():
    kinds = [
        Calls().first,
        lambda: recursion(60),
        generators,
        coroutines,
        exceptions,
        through_c,
        foreign,
    ]
    for kind in kinds:
        threading.Thread(target=kind, daemon=True).start()
    _thread.start_new_thread(recursion, (3,))
    for _ in range(len(kinds) + 1):
        ready.acquire()
    (hear, told), (ended, _) = os.pipe(), os.pipe()
    inner = _thread.start_new_thread(inner_interpreter, (told, ended))
    stacks = [[1, inner, ast.literal_eval(os.read(hear, 65536).decode())]]
    _thread.start_new_thread(report, (stacks,))
    Calls().first()


def report(stacks):
    ready.acquire()
    print(json.dumps(stacks + everyone(sys._getframe())), flush=True) or sys.stdin.read()
    os._exit(0)


def everyone(caller):
    frames = {**sys._current_frames(), threading.get_ident(): caller}
    return [[0, ident, stack(frame)] for ident, frame in frames.items()]


main()
