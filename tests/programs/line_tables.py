"""Prints the line tables of odd code, and which lines they mean by this interpreter's own account.

With the argument `small` only the tables that are worth keeping as a recording. Runs on 3.8 and later.
"""

import ast
import dis
import json
import sys
import types

SOURCE = '''
def decorator(*arguments):
    return lambda function: function

@decorator(1,
           2)
@decorator(
    3)
def decorated(x,
              y=lambda z: (z +
                           1)):
    for i in range(
            10):
        if i:
            continue
        while x:
            try:
                x -= 1
            except (ValueError,
                    TypeError) as error:
                raise
            finally:
                print(i,
                      x,
                      [a
                       for a in range(3)
                       if a],
                      {k: v
                       for k, v in
                       zip("a", "b")})
    with open(
            "x") as f, open(
            "y") as g:
        yield from (
            z
            for z in f)

class C(object):
    """doc
    string"""
    x: int = 3
%s
    def far(self):
        return decorated(1,
                         self.far(2,

                                  self.far(3)))

    async def coroutine(self):
        async with self as b:
            await b
        async for i in b:
            await (
                i)
        return [q async for q in b]

pair = lambda: (1,
    2); other = lambda: pair(
        3)

def naïve():
    é = 1; return (é,
        lambda: é)
''' % ("\n" * 200)

GENERATOR = '''
def generator(n):
    yield 0
    for i in range(2):
        yield (
            i +
            1)
    try:
        yield max(
            1,
            len([x
                 for x in range(n)]))
    finally:
        yield \\
            3
'''


def generated():
    """Code whose lines go backwards and far, as a program that writes programs makes it."""
    tree = ast.parse("x = 1\ny = 2\nz = 3\ndef f():\n  return x\nf()")
    for node in ast.walk(tree):
        if hasattr(node, "lineno"):
            node.lineno = node.end_lineno = [70_000, 300, 5, 2_000, 1, 900][node.lineno - 1]
    return tree


def long_function():
    """A function whose table is larger than 100 kB in every version."""
    call = "    x = call(%d,\n\n        call(%d), a=%d)\n"
    return "def long_function():\n" + "".join(call % (i, i, i) for i in range(18_000))


def nested(code):
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from nested(constant)


def lines_of(code):
    """The line at each byte of the bytecode, as [line or null, how many bytes have it] runs."""
    if hasattr(code, "co_lines"):
        parts = [(line, end - start) for start, end, line in code.co_lines()]
    else:
        starts = [(0, code.co_firstlineno), *dis.findlinestarts(code), (len(code.co_code), 0)]
        parts = [(line, end - at) for (at, line), (end, _) in zip(starts, starts[1:])]
    runs = []
    for line, size in parts:
        if runs and runs[-1][0] == line:
            runs[-1][1] += size
        elif size:
            runs.append([line, size])
    return runs


def suspended():
    """What generators that wait at different places say: code, f_lasti, f_lineno."""
    namespace = {}
    exec(compile(GENERATOR, "generator", "exec"), namespace)
    found = []
    for steps in range(6):
        generator = namespace["generator"](5)
        for _ in range(steps):
            next(generator)
        KEEP.append(generator)
        frame = generator.gi_frame
        found.append([id(generator.gi_code), frame.f_lasti, frame.f_lineno])
    return found


KEEP = []
sources = [SOURCE, GENERATOR, generated()]
if sys.argv[1:] != ["small"]:
    with open(ast.__file__, encoding="utf-8") as file:
        sources += [long_function(), file.read(), "\n" * 70_000 + "x = 1\n" + "\n" * 300 + "x = 2"]
tables = []
for source in sources:
    for code in nested(compile(source, "odd", "exec")):
        KEEP.append(code)
        table = code.co_linetable if sys.version_info >= (3, 10) else code.co_lnotab
        tables.append([id(code), code.co_firstlineno, len(table), lines_of(code)])
        if sys.argv[1:] == ["small"]:
            tables[-1][2] = table.hex()
print(json.dumps({"tables": tables, "suspended": suspended()}), flush=True)
sys.stdin.read()
