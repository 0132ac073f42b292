"""Makes code objects without end, whose names, files and lines all tell of one number.

Function gNNNNNN of file NNNNNN calls fNNNNNN of the same file; the texts of all numbers have the
same size, so that each takes the place of one before. The argument says how they are made.
"""

import itertools
import sys
import types

#: Functions of a number begin at line 1 + number % LINES of their file.
LINES = 97

SOURCE = """def f%(number)06d(turns):
    for i in range(turns):
        i = i + 1
    return i
def g%(number)06d(turns):
    return f%(number)06d(turns)
"""


def turns_of(number):
    """Most are gone at once, and about half of the time one of the others runs."""
    return 8000 if number % 4 == 0 else 10


def compiled(number):
    source = "\n" * (number % LINES) + SOURCE % {"number": number}
    namespace = {}
    exec(compile(source, "%06d" % number, "exec"), namespace)
    namespace["g%06d" % number](turns_of(number))
    namespace.clear()  # or the functions would live on as a cycle


def renamed(code, number):
    changes = {
        "co_name": code.co_name[0] + "%06d" % number,
        "co_filename": "%06d" % number,
        "co_firstlineno": code.co_firstlineno + number % LINES,
    }
    if hasattr(code, "co_qualname"):
        changes["co_qualname"] = changes["co_name"]
    if code is G:
        changes["co_names"] = ("f%06d" % number,)
    return code.replace(**changes)


def replaced(number):
    f = types.FunctionType(renamed(F, number), {"range": range})
    types.FunctionType(renamed(G, number), {"f%06d" % number: f})(turns_of(number))


F, G = [
    constant
    for constant in compile(SOURCE % {"number": 0}, "", "exec").co_consts
    if isinstance(constant, types.CodeType)
]

if __name__ == "__main__":
    make = {"compiled": compiled, "replaced": replaced}[sys.argv[1]]
    print("ready", flush=True)
    for number in itertools.count():
        make(number % 1000000)
