"""Plants objects of classes that nothing else is of, each below another kind of owner; and waits."""

import asyncio
import os
import threading


TYPES = {}


def plant(name):
    if name not in TYPES:
        TYPES[name] = type(name, (), {"__slots__": (), "__module__": "planted"})
    return TYPES[name]()


class Session:
    cache = {}

    def __init__(self, number):
        self.user = plant("OfInstance")
        self.history = [plant("OfInstanceList")]


class Slotted:
    __slots__ = ("slot",)


registry = {("key", number): [Session(number)] for number in range(5)}
by_name = {"a_name": plant("OfNamedKey")}
Session.cache["entry"] = plant("OfClass")
slotted = Slotted()
slotted.slot = plant("OfSlot")
nested = ([{7: (plant("OfNested"),)}],)
members = {plant("OfSet")}
chain = None
for _ in range(1000):
    chain = [chain, plant("OfChain")]


def closing():
    held = plant("OfClosure")
    return lambda: held


def generate():
    local = plant("OfGenerator")
    yield local


def work(ready):
    local = plant("OfThread")
    ready.set()
    threading.Event().wait()
    return local


async def awaiting():
    local = plant("OfTask")
    await asyncio.get_running_loop().create_future()
    return local


async def main():
    task = asyncio.ensure_future(awaiting())
    await asyncio.sleep(0)
    print("ready", flush=True)
    os.read(0, 1)
    return task


close = closing()
suspended = generate()
next(suspended)
started = threading.Event()
threading.Thread(target=work, args=(started,), name="planted", daemon=True).start()
started.wait()
asyncio.run(main())
