"""A few objects of each shape, and little else, for tests that record all memory of this."""

import _collections
import array
import itertools
import os
import sys
import weakref

KEEP = []


class Plain:
    shared = {"of": "the class"}

    def __init__(self, number):
        self.number = number + 0.5
        self.items = ["item %d" % item for item in range(number)]


class Slotted:
    __slots__ = ("__weakref__", "x", "y")


class ChildOfDict(dict):
    pass


class ChildOfTuple(tuple):
    pass


def generate(argument):
    local = ["local of %s" % argument]
    yield local


def closure(number):
    return lambda default=str(number): (number, default)


async def wait():
    pass


def build(number):
    made = Plain(number)
    made.__dict__["more"] = {float(key): str(key) for key in range(number)}
    generator, coroutine = generate(number), wait()
    next(generator)
    slotted = Slotted()
    slotted.x = weakref.ref(slotted)
    child = ChildOfDict(key=number)
    child.attribute = ChildOfTuple("abc")
    KEEP.extend((made, Plain(number), generator, coroutine, slotted, child, closure(number)))
    KEEP.extend(({"k%d" % key for key in range(number)}, _collections.deque(range(number * 40))))
    KEEP.extend((bytearray(number * 50), array.array("d", [0.5] * number), "\u4e2d" * number * 40))
    KEEP.extend((10 ** (number * 20), b"x" * number * 40, memoryview(b"y"), sys._getframe()))
    KEEP.append(itertools.tee(iter([number])))


for number in range(1, 12):
    build(number)
print("ready", flush=True)
os.read(0, 1)
