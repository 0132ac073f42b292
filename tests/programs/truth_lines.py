"""Threads that wait at known lines of odd code; prints where, by this interpreter's own account.

One JSON line: for each thread its native id and its frames, leaf first: name, file and line.
"""

import ast
import functools
import json
import sys
import threading
import time

lock = threading.Lock()


def gate(*arguments, **keywords):
    lock.acquire()
    lock.release()


def sleep():
    time.sleep(1000)


SOURCE = """
def loop():
    for i in range(3):
        if i == 1:
            (
                gate()
            )
        else:
            i += 1

def many_lines():
    max(
        1,
        len([
            1,
            gate(
                1,
                2,
            ),
        ]),
        key=lambda x: x,
    )

def comprehensions():
    [
        {
            y: gate()
            for y
            in range(2)
        }
        for x in range(2)
        if x or
        not gate_of_nothing(
            x
        )
    ]

def gate_of_nothing(x):
    return False

def nested_comprehensions():
    return {
        gate(
            a
        )
        for a in [
            b + 1
            for b in range(3)
        ]
    }

def generators():
    def numbers():
        yield 1
        yield gate(
        )
    def more():
        yield from (
            n
            for n
            in numbers()
        )
    for n in more(

    ):
        pass

def decorated():
    def decorator(function):
        @functools.wraps(function)
        def wrapper(*args):
            return (
                function(
                    *args))
        return wrapper
    @decorator
    @decorator
    def inner(a,
              b):
        gate(a,
             b)
    inner(
        1,
        2)

def decorating():
    @functools.partial(
        max,
        gate())
    @functools.wraps(gate)
    def never():
        pass

def lambdas():
    (lambda x:
        (lambda y: [x,
            gate(
        )])(
            2)
    )(1)

def classes():
    class Outer:
        x = 1
        class Inner(
            object
        ):
            y = 2; z = gate()

def default_arguments():
    def f(x=1,
          y=gate(
          )):
        pass

def finally_and_with():
    class Manager:
        def __enter__(self): return self
        def __exit__(self, *args):
            gate()
    try:
        with Manager(

        ) as x, Manager() as y:
            raise ValueError(
                1)
    except ValueError:
        pass

def handled():
    try:
        int(
            "x")
    except (TypeError,
            ValueError):
        gate(); 1

def asserted():
    assert 0 == 1 - (
        1
    ), gate()
    assert not gate(
    )

def chained():
    x = type("X", (), {"f": lambda self: self, "g": gate})()
    (x
        .f()
        .f()
        .g())

def operators():
    class Number:
        def __add__(self, other):
            gate(
            )
        def __len__(self):
            return (1 +
                    (Number() + 1
                     or 0))
    len(
        Number()
    )

def text():
    f'''{
        gate()
    }'''

def back_to_the_start():
    i = 0
    while (i < 2 and
            (i == 0 or gate(

            ))):
        i += 1

def conditional():
    return (1
            if not 1
            else gate()
            if 2
            else 3)

def coroutine():
    async def inner():
        gate(

        )
    async def outer():
        await (
            inner(
            ))
    try:
        outer(
        ).send(None)
    except StopIteration:
        pass
"""

NAMES = """
def naïve_é():
    gate()

def Жук():
    (naïve_é(
    ))

class 𐐀:
    def 𐐀x(self):
        Жук(

        )

def started():
    𐐀(
    ).𐐀x()
"""

# Line, then what comes at it: lines that go back and forth, as programs write them.
GENERATED = "def started():\n gate(\n  first(\n  ))\ndef first():\n gate()"
GENERATED_LINES = [0, 5, 70_000, 300, 2_000, 900, 130]

LONG = 10_000

#: A file name of each kind of str, and one that no encoding has.
FILES = ["ascii.py", "na\xefve.py", "\u0416\u0443\u043a.py", "\U00010400.py", "not\udcffutf8.py"]


def in_namespace(source, file):
    namespace = {"gate": gate, "functools": functools}
    exec(compile(source, file, "exec"), namespace)
    return namespace


def generated():
    tree = ast.parse(GENERATED)
    for node in ast.walk(tree):
        if hasattr(node, "lineno"):
            node.lineno = node.end_lineno = GENERATED_LINES[node.lineno]
    return tree


def long_function():
    """A function whose table is larger than 100 kB in every version."""
    call = "    x = len([\n\n        %d, gate()]) if i == %d else 1\n"
    return "def started(i):\n" + "".join(call % (i, i) for i in range(LONG))


def starts():
    odd = in_namespace(SOURCE, "odd.py")
    for name, value in odd.items():
        if getattr(value, "__code__", None) and name not in ("gate", "gate_of_nothing"):
            yield value
    for file in FILES:
        yield in_namespace(NAMES, file)["started"]
    yield in_namespace("\n" * 70_000 + NAMES, "far.py")["started"]
    yield in_namespace(generated(), "generated.py")["started"]
    started = in_namespace(long_function(), "long.py")["started"]
    for waits_at in (0, LONG // 2, LONG - 1):
        yield functools.partial(started, waits_at)
    yield functools.partial(
        exec, compile("\n\nx = (\n  gate()\n)", "module.py", "exec"), {"gate": gate}
    )
    yield sleep


def frames(frame):
    found = []
    while frame:
        code = frame.f_code
        found.append((getattr(code, "co_qualname", code.co_name), code.co_filename, frame.f_lineno))
        frame = frame.f_back
    return found


def waits(stack):
    """Whether it has come to the line from which it does not go on."""
    name, _, line = stack[0]
    return (name, line) in [(f.__name__, f.__code__.co_firstlineno + 1) for f in (gate, sleep)]


if __name__ == "__main__":
    lock.acquire()
    threads = [threading.Thread(target=start, daemon=True) for start in starts()]
    for thread in threads:
        thread.start()
    stacks = {}
    while not stacks or not all(map(waits, stacks.values())):
        time.sleep(0.01)
        now = sys._current_frames()
        stacks = {thread.ident: frames(now[thread.ident]) for thread in threads}
    print(json.dumps([(thread.native_id, stacks[thread.ident]) for thread in threads]), flush=True)
    sys.stdin.read()
