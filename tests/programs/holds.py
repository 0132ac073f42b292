"""Holds memory in known ways, says so, and ends with its standard input."""

import asyncio
import json
import sys
import threading

SESSIONS = 500
BLOB = 2000


class Session:
    def __init__(self, number):
        self.user = "user%d" % number
        self.data = bytes(BLOB)


class Registry:
    __slots__ = ("by_id", "name")

    def __init__(self):
        self.by_id = {}
        self.name = "registry"


class Node:
    def __init__(self, following):
        self.following = following
        self.load = bytearray(100)


REGISTRY = Registry()
for number in range(SESSIONS):
    REGISTRY.by_id[number] = Session(number)
CHAIN = None
for _ in range(1000):
    CHAIN = Node(CHAIN)
CONFIG = {"limits": [float(number) for number in range(3000)]}


def work(ready):
    buffers = [bytes(BLOB) for _ in range(100)]
    ready.set()
    threading.Event().wait()
    return buffers


async def job(number):
    blob = bytearray(BLOB)
    await asyncio.sleep(1e6)
    return blob


async def main():
    tasks = [asyncio.ensure_future(job(number)) for number in range(20)]
    await asyncio.sleep(0.01)
    said = {"registry": id(REGISTRY), "session": id(REGISTRY.by_id[7]), "objects": SESSIONS}
    print(json.dumps(said), flush=True)
    reader = asyncio.get_event_loop().run_in_executor(None, sys.stdin.read)
    await reader
    for task in tasks:
        task.cancel()


ready = threading.Event()
threading.Thread(target=work, args=(ready,), daemon=True, name="worker").start()
ready.wait()
asyncio.run(main())
