"""Builds objects of every shape, tells where all of them are, by type, and waits. 3.8 and later.

    heap_objects.py [freeze]        with gc.freeze() at the end
"""

import array
import asyncio
import builtins
import collections
import contextvars
import ctypes
import dataclasses
import functools
import gc
import itertools
import json
import os
import sys
import threading
import types
import weakref

SOME = 40
KEEP = []
PLANTED = {}  # address: type; of what the collector doesn't lead to


def keep(*things):
    KEEP.extend(things)


def plant(thing):
    PLANTED[id(thing)] = type(thing).__qualname__


class Plain:
    def __init__(self, number):
        self.a = number + 0.5
        self.b = "text of %d" % number
        self.c = [number, float(number)]


class Slotted:
    __slots__ = ("__weakref__", "unset", "x", "y")

    def __init__(self, number):
        self.x = number + 10**6
        self.y = (number + 10**7,)


class SlottedWithDict(Slotted):
    pass


class ChildOfDict(dict):
    pass


class ChildOfList(list):
    __slots__ = ("extra",)


class ChildOfInt(int):
    pass


class ChildOfFloat(float):
    pass


class ChildOfStr(str):
    pass


class ChildOfBytes(bytes):
    pass


class ChildOfTuple(tuple):
    pass


class ChildOfSet(set):
    pass


class ChildOfDeque(collections.deque):
    pass


class ChildOfArray(array.array):
    pass


class ChildOfReference(weakref.ref):
    pass


class ChildOfError(Exception):
    pass


class Meta(type):
    pass


@dataclasses.dataclass
class Record:
    number: int
    name: str


Pair = collections.namedtuple("Pair", "left right")


def generate(number):
    text, items = "local %d" % number, [number + 0.25]
    for item in (yield items):
        yield text, item


async def wait_for_nothing(number):
    text = "awaited %d" % number
    await asyncio.sleep(0)
    return text


async def generate_asynchronously(number):
    text = "asynchronous %d" % number
    yield text


def build_instances(number):
    keep(Plain(number), Slotted(number), SlottedWithDict(number), Record(number, "r%d" % number))
    keep(Pair(number + 0.75, "p%d" % number))
    for kind in (ChildOfDict, ChildOfFloat, ChildOfSet, ChildOfError, ChildOfDeque):
        child = kind()
        child.attribute = "attribute of %s %d" % (kind.__name__, number)
        keep(child)
    for kind in (ChildOfInt, ChildOfStr, ChildOfTuple):
        child = kind("%d" % (10 ** (number % 60)))
        child.attribute = ["attribute of %s %d" % (kind.__name__, number)]
        keep(child)
    keep(ChildOfBytes(b"x" * number), ChildOfArray("d", [1.0] * number))
    child = ChildOfList([number + 0.125])
    child.extra = "extra %d" % number
    keep(child)

    shrunk, grown, materialised, replaced = Plain(number), Plain(number), Plain(number), Plain(0)
    del shrunk.b
    for extra in range(number):
        setattr(grown, "x%d" % extra, "dynamic %d" % extra)
    materialised.__dict__["more"] = number * 1.5
    replaced.__dict__ = {"other": "replaced %d" % number}
    keep(shrunk, grown, materialised, replaced)


def build_containers(number):
    deleted = {"k%d" % key: "v%d" % key for key in range(number)}
    deleted_set = {"s%d" % key for key in range(number)}
    for key in range(0, number, 3):
        del deleted["k%d" % key]
        deleted_set.remove("s%d" % key)
    keep(deleted, deleted_set, {float("nan"): "n%d" % key for key in range(number)})
    keep({("t", key): "%d" % key for key in range(number)}, {key: None for key in range(number * 9)})
    keep(frozenset(["f%d" % number, 2.5 * number]), {float("nan") for _ in range(number)})
    keep(collections.deque(["d%d" % item for item in range(number * 5)]))
    keep(collections.deque(["d%d" % item for item in range(300)], number))
    rotated = collections.deque(range(number * 64))
    rotated.rotate(number)
    keep(rotated, collections.deque([], 7))
    keep(collections.OrderedDict(a=[number], b=2.5 * number))
    keep(collections.defaultdict(list, {number: ["l%d" % number]}))
    keep(collections.Counter("c%d" % number), collections.ChainMap({}, {"m": "c%d" % number}))
    keep(types.SimpleNamespace(n=number, text="n%d" % number), types.MappingProxyType({1: "p"}))
    overallocated = []
    for item in range(number * 7):
        overallocated.append("o%d" % item)
    keep(overallocated, tuple("t%d" % item for item in range(number)), [None] * number * 100)


def build_atoms(number):
    keep("a" * number * 100, "\u00e9" * number, "\u4e2d" * number, "\U0001f40d" * number)
    cached = "\u4e2d with utf-8 %d" % number
    sys.intern(cached)
    print(cached, end="", file=NOWHERE)
    keep(cached, bytes(number * 20), bytearray(b"x" * number * 10), complex(number, number))
    keep(10 ** (number * 10), -(10 ** (number * 10)), number * 1.25, range(number, number + 9))
    keep(array.array("d", [0.5] * number), memoryview(bytearray(number + 1)))
    keep(slice(number + 1000, ["stop %d" % number]))


def build_code(number):
    cell = ["cell %d" % number]
    default = "default %d" % number

    def function(argument=default, *, keyword="k%d" % number):
        """Refers to its cell."""
        return cell, argument, keyword

    function.attribute = "attribute %d" % number
    keep(function, KEEP[0].__init__, functools.partial(function, "p%d" % number, k=[number]))
    cached = functools.lru_cache(maxsize=8)(lambda key: ["cached %s" % key])
    for key in range(number):
        cached("key %d" % key)
    keep(cached, property(function), staticmethod(function), classmethod(function))
    keep(Meta("Made%d" % number, (Plain,), {"z": "z%d" % number, "__slots__": ("s%d" % number,)}))
    names = {"made": None}
    exec("def made(a, b=%d.5):\n    c = a\n    return (lambda: (c, b, 'const %d'))" % (number, number), names)
    keep(names["made"], names["made"]("argument %d" % number))
    keep(types.ModuleType("module%d" % number, "doc %d" % number))
    try:
        raise ChildOfError("raised %d" % number)
    except ChildOfError as error:
        keep(error)


def build_generators(number):
    suspended, created, finished = generate(number), generate(number), generate(number)
    next(suspended)
    next(finished)
    finished.close()
    iterating = generate(number)
    next(iterating)
    iterating.send(["sent %d" % number])
    coroutine = wait_for_nothing(number)
    coroutine.send(None)
    keep(suspended, created, finished, iterating, coroutine)
    keep(generate_asynchronously(number), (text for text in ["expression %d" % number]))
    keep(iter(["i%d" % number]), zip([number], {"z%d" % number: 1}), enumerate("e%d" % number))
    keep(map(str, ["m%d" % number]), itertools.chain(["a"], ["b%d" % number]), reversed([number]))
    keep(itertools.tee(iter(["tee %d" % number] * 100)))
    variable = contextvars.ContextVar("variable%d" % number, default="d%d" % number)
    context = contextvars.copy_context()
    context.run(variable.set, "value %d" % number)
    keep(variable, context)


def build_weak(number):
    kept, gone = Slotted(number), Slotted(number)
    keep(kept, weakref.ref(kept), weakref.ref(gone), weakref.ref(kept, lambda reference: number))
    keep(weakref.proxy(kept), ChildOfReference(kept), weakref.WeakSet([kept]))
    keep(weakref.WeakValueDictionary({"w%d" % number: kept}), weakref.WeakKeyDictionary({kept: 1}))


def hold_in_a_frame(ready, finish):
    # None of them is a constant of the code.
    number, text, nested = float("12345.678"), "only %s" % "a local", ("%s of a tuple" % "part",)
    for local in (number, text, nested, nested[0]):
        plant(local)
    del local
    ready.set()
    finish.wait()
    return number, text, nested


def hold_by_threads():
    ready = threading.Event()
    threading.Thread(
        target=hold_in_a_frame, args=(ready, threading.Event()), daemon=True, name="holder"
    ).start()
    ready.wait()


def hold_by_native_code():
    """A static variable of the C library, which is there for getopt(), refers to it."""
    number = float("%d.125" % SOME)
    plant(number)
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(number))
    ctypes.c_void_p.in_dll(ctypes.CDLL(None), "optarg").value = id(number)


def build():
    keep(Plain(0), {number: str(number) for number in range(70_000)})
    for number in range(SOME):
        for kind in (build_instances, build_containers, build_atoms, build_code, build_generators):
            kind(number)
        build_weak(number)
    cycle = [[]]
    cycle[0].append(cycle)
    keep(cycle)
    hold_by_threads()
    hold_by_native_code()


def attributes(thing, *names):
    for name in names:
        if hasattr(thing, name):
            yield getattr(thing, name)


# Getters that make a new object each time tell nothing about what is there.
CODE = ["co_consts", "co_names", "co_name", "co_filename"]
if sys.version_info >= (3, 11):
    CODE += ["co_qualname", "co_linetable", "co_exceptiontable"]
else:
    CODE += ["co_varnames", "co_freevars", "co_cellvars", "co_code"]
    CODE += ["co_linetable" if sys.version_info >= (3, 10) else "co_lnotab"]


def referents(thing):
    """All that an object refers to, as far as Python has words for it."""
    yield type(thing)
    yield from gc.get_referents(thing)
    if isinstance(thing, dict):
        yield from dict.keys(thing)
    elif isinstance(thing, FROZEN_DICT):
        yield from thing
    elif isinstance(thing, type):
        yield from (thing.__mro__, thing.__bases__)
        if thing.__flags__ & HEAP_TYPE:  # others have no such objects
            yield from (getter(thing) for getter in NAMES_OF_TYPES)
        yield from gc.get_referents(type.__dict__["__dict__"].__get__(thing))
    elif type(thing) is types.CodeType:
        yield from attributes(thing, *CODE)
    elif type(thing) in (range, slice):
        yield from (thing.start, thing.stop, thing.step)
    elif type(thing) in DESCRIPTORS:
        yield thing.__name__
    elif isinstance(thing, contextvars.ContextVar):
        yield thing.name


FROZEN_DICT = getattr(builtins, "frozendict", ())  # of 3.15
HEAP_TYPE = 1 << 9  # of Include/object.h
NAMES_OF_TYPES = [type.__dict__[name].__get__ for name in ("__name__", "__qualname__")]
DESCRIPTORS = (
    *(types.WrapperDescriptorType, types.MethodDescriptorType, types.ClassMethodDescriptorType),
    *(types.GetSetDescriptorType, types.MemberDescriptorType),
)


def account():
    """Addresses by type of all that the collector's lists lead to, but for what accounts for it."""
    gc.collect()
    gc.unfreeze()  # 3.12 freezes what is immortal, and gc.get_objects() leaves that out
    gc.disable()
    roots = gc.get_objects()
    seen, waiting, alive, found = set(), [], [], {}
    seen.update(map(id, (roots, seen, waiting, alive, found, sys._getframe())))
    for thing in roots:
        if id(thing) not in seen:
            seen.add(id(thing))
            waiting.append(thing)
    del roots[:]
    while waiting:
        thing = waiting.pop()
        alive.append(thing)
        found.setdefault(type(thing).__qualname__, []).append(id(thing))
        for referent in referents(thing):
            if id(referent) not in seen:
                seen.add(id(referent))
                waiting.append(referent)
    return json.dumps({"objects": found, "planted": PLANTED})


NOWHERE = open(os.devnull, "w", encoding="utf-8")
build()
del build
out = account() + "\n"
while out:
    out = out[os.write(1, out.encode()) :]
if "freeze" in sys.argv:
    gc.freeze()
read = os.read
while read(0, 1):
    pass
