"""Makes objects of known blocks when told how many, and says what the allocators know of them.

For each line that it reads, KIND COUNT, it makes so many objects of a kind and writes what
pymalloc has in use to stderr; then it prints a line. `large` prints the addresses of large objects
with the sizes of their blocks, as malloc_usable_size() tells them.
"""

import array
import collections
import ctypes
import json
import os
import sys
import types

# More than fits a block of pymalloc's, so that reading takes none.
LINE_BYTES = 1000
HEAD_BYTES = 16  # PyGC_Head
COLLECTED = 1 << 14  # Py_TPFLAGS_HAVE_GC

KEPT = [[None] * 20_000 for _ in range(80)]


class Plain:
    def __init__(self):
        self.a, self.b, self.c = 1, 2, None


class Slotted:
    __slots__ = ("a", "b")


class ChildOfDict(dict):
    pass


def child():
    made = ChildOfDict()
    made.attribute = None
    return made


def generate(argument):
    local = argument
    yield local


def started():
    made = generate(1)
    next(made)
    return made


def outer(argument):
    return lambda: argument


def called(argument):
    return (lambda: argument) and len(str(argument))


def code():
    """A code object with all that it has when it was called often, asked for and kept things for."""
    made = called.__code__.replace(co_firstlineno=7)
    call = types.FunctionType(made, globals())
    for _ in range(CALLS):
        call(1)
    made.co_code, made.co_varnames, made.co_cellvars, made.co_freevars
    assert set_extra(ctypes.py_object(made), EXTRA, None) == 0
    return made


MAKERS = {
    "object": object,
    "float": lambda: float("1.5"),
    "plain": Plain,
    "slotted": Slotted,
    "child": child,
    "list": lambda: [1, 2, 3, 4, 5],
    "tuple": lambda: tuple([1, 2, 3, 4]),
    "dict": lambda: {"a": 1, "b": 2, "c": 3},
    "general-dict": lambda: {1: 1, "b": 2, None: 3, (): 4, 5: 5, 6: 6},
    "set": lambda: {1, 2, 3},
    "larger-set": lambda: set(range(9)),
    "closure": lambda: outer(1),
    "generator": started,
    "bytearray": lambda: bytearray(b"x" * 100),
    "array": lambda: array.array("d", [0.5] * 20),
    "int": lambda: int("1" * 60),
    "method": lambda: SOME.method,
    "complex": lambda: complex("1j"),
    "odict": lambda: collections.OrderedDict(a=1, b=2, c=3),
    "code": code,
}


class Some:
    def method(self):
        pass


SOME = Some()

# Calls after which 3.8 to 3.10 give code caches (OPCACHE_MIN_RUNS of Python/ceval.c).
CALLS = 1100 if sys.version_info < (3, 11) else 1
NAMES = ["_PyEval_RequestCodeExtraIndex", "_PyCode_SetExtra"]
if sys.version_info >= (3, 12):
    NAMES = ["PyUnstable_Eval_RequestCodeExtraIndex", "PyUnstable_Code_SetExtra"]
request_extra, set_extra = (getattr(ctypes.pythonapi, name) for name in NAMES)
set_extra.argtypes = [ctypes.py_object, ctypes.c_ssize_t, ctypes.c_void_p]
EXTRA = request_extra(None)
LIBC = ctypes.CDLL(None)
LIBC.malloc_usable_size.argtypes = [ctypes.c_void_p]
LIBC.malloc_usable_size.restype = ctypes.c_size_t


def make(kind, count, kept):
    maker = MAKERS.get(kind)
    size = 0 if maker else int(kind) - sys.getsizeof(b"")
    for place in range(count):
        kept[place] = maker() if maker else bytes(size)


def word(address):
    return ctypes.c_uint64.from_address(address).value


def head_bytes(thing):
    return HEAD_BYTES if type(thing).__flags__ & COLLECTED else 0


def own_bytes(thing):
    """Of an object's own block: pymalloc rounds up to 16."""
    size = head_bytes(thing) + type(thing).__basicsize__
    if size > 512:
        return LIBC.malloc_usable_size(id(thing) - head_bytes(thing))
    return -(-size // 16) * 16


# Where the pointer to the larger block is: the same in all versions.
POINTERS = {list: 24, dict: 32, set: 40, array.array: 24, type: 176}


def large():
    things = [
        *(b"x" * size for size in (600, 5000, 10**6)), "y" * 10**5, "\u4e2d" * 10**5,
        *(tuple(range(count)) for count in (100, 10**5)), 10**9999,
        *(list(range(count)) for count in (100, 10**3, 10**6)),
        *({str(key): None for key in range(count)} for count in (80, 10**3, 10**5)),
        *({key: None for key in range(count)} for count in (80, 10**5)),
        *({str(key) for key in range(count)} for count in (80, 10**5)),
        array.array("d", [0.5] * 10**4),
        *(type("Documented", (), {"__doc__": "x" * size, "__slots__": ()}) for size in (10**3, 60_000)),
    ]  # fmt: skip
    told = {}
    for thing in things:
        pointer = POINTERS.get(type(thing))
        if pointer is None:
            told[id(thing)] = LIBC.malloc_usable_size(id(thing) - head_bytes(thing))
        else:
            block = word(id(thing) + pointer)
            told[id(thing)] = own_bytes(thing) + LIBC.malloc_usable_size(block)
    KEPT[-1][: len(things)] = things
    return json.dumps(told) + "\n"


turn = 0
while True:
    command = os.read(0, LINE_BYTES)
    if not command:
        break
    if command == b"large\n":
        out = large()
        while out:
            out = out[os.write(1, out.encode()) :]
        continue
    kind, count = command.decode().split()
    make(kind, int(count), KEPT[turn])
    turn += 1
    del command, kind, count
    sys._debugmallocstats()
    os.write(1, b"made\n")
