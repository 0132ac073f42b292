"""Tells, for every way that the standard library has to start code, the stack that results.

Started as `python -m ways_to_start`, it prints a JSON object: way -> frames, leaf first, each
[function, file, first line, line]. The function that is started is `started` in every way.
"""

import asyncio
import concurrent.futures
import json
import multiprocessing
import sys
import threading


def started(_=None):
    frame = sys._getframe()
    frames = []
    while frame is not None:
        code = frame.f_code
        name = getattr(code, "co_qualname", code.co_name)
        module = frame.f_globals["__name__"]
        frames.append([f"{module}.{name}", code.co_filename, code.co_firstlineno, frame.f_lineno])
        frame = frame.f_back
    return frames


async def started_coroutine():
    return started()


class Overridden(threading.Thread):
    def run(self):
        self.stack = started()


async def report(stacks):
    stacks.append(started())


def in_thread():
    stacks = []
    thread = threading.Thread(target=lambda: stacks.append(started()))
    thread.start()
    thread.join()
    return stacks[0]


def in_main_loop_of_thread():
    stacks = []
    thread = threading.Thread(target=asyncio.run, args=(report(stacks),))
    thread.start()
    thread.join()
    return stacks[0]


def in_loop(how):
    """A callback or a task of an event loop that a thread runs forever."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    if how == "task":
        stack = asyncio.run_coroutine_threadsafe(started_coroutine(), loop).result()
    else:
        future = concurrent.futures.Future()
        loop.call_soon_threadsafe(lambda: future.set_result(started()))
        stack = future.result()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()
    return stack


def send(connection):
    connection.send(started())


def in_process(context):
    mine, its = context.Pipe()
    process = context.Process(target=send, args=(its,))
    process.start()
    stack = mine.recv()
    process.join()
    return stack


def in_pool(context, method):
    with context.Pool(1) as pool:
        return getattr(pool, method)(started, [1] if method == "map" else ())


def in_executor(executor, *args):
    with executor:
        return executor.submit(started, *args).result()


def main():
    overridden = Overridden()
    overridden.start()
    overridden.join()
    spawn = multiprocessing.get_context("spawn")
    forkserver = multiprocessing.get_context("forkserver")
    ways = {
        "python -m": started(),
        "thread": in_thread(),
        "thread with its own run": overridden.stack,
        "thread pool": in_executor(concurrent.futures.ThreadPoolExecutor(1)),
        "asyncio.run in a thread": in_main_loop_of_thread(),
        "callback of a thread's event loop": in_loop("callback"),
        "task of a thread's event loop": in_loop("task"),
        "process by spawn": in_process(spawn),
        "process by forkserver": in_process(forkserver),
        "pool of processes, apply": in_pool(spawn, "apply"),
        "pool of processes, map": in_pool(spawn, "map")[0],
        "executor of processes": in_executor(
            concurrent.futures.ProcessPoolExecutor(1, mp_context=spawn)
        ),
    }
    print(json.dumps(ways), flush=True)


if __name__ == "__main__":
    main()
