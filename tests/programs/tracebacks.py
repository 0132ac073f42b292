"""Threads and tasks that stand still, and what Python itself knows of them."""

import asyncio
import json
import sys
import threading


def place(frame, line):
    code = frame.f_code
    return [code.co_filename, line, getattr(code, "co_qualname", code.co_name)]


def stack_of(frame):
    found = []
    while frame:
        found.append(place(frame, frame.f_lineno))
        frame = frame.f_back
    return found


def awaits_of(coroutine):
    found = []
    while hasattr(coroutine, "cr_frame"):
        found.append(place(coroutine.cr_frame, coroutine.cr_frame.f_lineno))
        coroutine = coroutine.cr_await
    return found[::-1]


class Worker(threading.Thread):
    def __init__(self, name, depth):
        super().__init__(name=name, daemon=True)
        self.depth = depth
        self.started = threading.Lock()
        self.started.acquire()
        self.ends = threading.Lock()
        self.ends.acquire()

    def run(self):
        self.tid = threading.get_native_id()
        self.descend(self.depth)

    def descend(self, more):
        if more:
            return self.descend(more - 1)
        self.started.release()
        self.ends.acquire()


def spin():
    while True:
        pass


async def leaf(future):
    await future


async def fetch(future):
    await leaf(future)


def tell(tasks):
    frames = sys._current_frames()
    threads = {
        worker.tid: {"name": worker.name, "stack": stack_of(frames[worker.ident])}
        for worker in workers
    }
    me = stack_of(sys._getframe(1))
    threads[threading.get_native_id()] = {"name": "MainThread", "stack": me}
    told = {"threads": threads, "tasks": {name: awaits_of(coro) for name, coro in tasks.items()}}
    return json.dumps(told)


async def main():
    loop = asyncio.get_running_loop()
    coroutines = {"fetch \"1\"": fetch(loop.create_future()), "leaf-2": leaf(loop.create_future())}
    tasks = [loop.create_task(coroutine) for coroutine in coroutines.values()]
    for task, name in zip(tasks, coroutines):
        task.set_name(name)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    print(tell(coroutines), flush=True), sys.stdin.readline()


workers = [Worker("Worker-1", 0), Worker("W \"2\"\n", 300), Worker("just-100", 98)]
for worker in workers:
    worker.start()
for worker in workers:
    worker.started.acquire()
threading.Thread(target=spin, daemon=True, name="spinner").start()
# A thread that has let go of `started` still has to block in `ends`.
for worker in workers:
    while sys._current_frames()[worker.ident].f_lineno != Worker.descend.__code__.co_firstlineno + 4:
        pass
asyncio.run(main())
