"""Says of its tasks what can be seen from outside, then waits until its standard input ends.

Three threads run an event loop each: one has only tasks that wait, one is held up by a task that
blocks, and one (3.12 and later) starts its tasks eagerly.
"""

import asyncio
import gc
import inspect
import json
import sys
import threading
import types

DEEP = 200
PYTHON_TASKS = "python-tasks" in sys.argv
new_event_loop = asyncio.new_event_loop
if "uvloop" in sys.argv:
    sys.path.insert(0, sys.argv[sys.argv.index("uvloop") + 1])
    from uvloop import new_event_loop

all_tasks, current_task = asyncio.all_tasks, asyncio.current_task
if PYTHON_TASKS and hasattr(asyncio.tasks, "_py_all_tasks"):
    all_tasks, current_task = asyncio.tasks._py_all_tasks, asyncio.tasks._py_current_task
stop = threading.Event()


async def leaf():
    await asyncio.get_running_loop().create_future()


async def middle():
    await leaf()


async def deep(left):
    if left:
        await deep(left - 1)
    else:
        await leaf()


async def numbers():
    await leaf()
    yield 1


async def looping():
    async for _ in numbers():
        pass


async def asking():
    generator = numbers()
    await generator.asend(None)


async def throwing():
    async def swallowing():
        try:
            yield 1
        except ValueError:
            await leaf()

    generator = swallowing()
    await generator.asend(None)
    await generator.athrow(ValueError)


class Awaitable:
    def __await__(self):
        yield from leaf().__await__()


class Wrapping:
    def __await__(self):
        return middle().__await__()


async def custom():
    await Awaitable()


async def wrapped():
    await Wrapping()


@types.coroutine
def old_style():
    yield from leaf()


async def through_generator():
    await old_style()


async def waiting(task):
    await task


async def gathering(tasks):
    await asyncio.gather(*tasks)


async def sleeping():
    await asyncio.sleep(10_000)


async def held(event):
    async with event:
        pass


def start(coroutine, name=None):
    task = asyncio.get_running_loop().create_task(coroutine)
    if name is not None:
        task.set_name(name)
    kept.append(task)
    return task


kept = []


async def many(ready):
    shared = start(middle(), "shared")
    start(waiting(shared), "first waiter")
    start(waiting(shared), "second waiter")
    start(deep(DEEP), "deep")
    start(gathering([start(leaf(), "child \u00e9\u20ac\U0001f40d"), start(leaf())]), "gatherer")
    for coroutine in (looping, asking, throwing, custom, wrapped, through_generator, sleeping):
        start(coroutine(), coroutine.__name__)
    lock = asyncio.Lock()
    await lock.acquire()
    start(held(lock))
    kept.append(asyncio.current_task())
    ready.release()
    await leaf()


def blocks(ready):
    ready.release()
    stop.wait()


async def running(ready):
    blocks(ready)


async def held_up(ready):
    result = asyncio.get_running_loop().create_future()
    start(waiting(result), "woken")
    for _ in range(3):
        await asyncio.sleep(0)
    blocker = start(running(ready), "blocker")
    result.set_result(None)
    start(sleeping(), "never ran")
    await blocker


async def eager(ready):
    asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
    start(middle(), "eager that waits")
    start(asyncio.sleep(0, "done"), "eager with a sleep")
    start(running(ready), "eager that blocks")


def awaited(thing):
    """What a suspended coroutine or generator, or what stands between two of them, awaits."""
    for name in ("cr_await", "gi_yieldfrom", "ag_await"):
        if hasattr(thing, name):
            return getattr(thing, name)
    for referent in gc.get_referents(thing):
        if type(referent).__name__ in {"coroutine", "generator", "async_generator"}:
            return referent
    return None


def frame_of(thing):
    for name in ("cr_frame", "gi_frame", "ag_frame"):
        if hasattr(thing, name):
            return getattr(thing, name)
    return None


def stack(thing):
    """Of the innermost awaited thing first."""
    found = []
    while thing is not None:
        frame = frame_of(thing)
        if frame is not None:
            code = frame.f_code
            found.append([getattr(code, "co_qualname", code.co_name), frame.f_lineno])
        thing = awaited(thing)
    return found[::-1]


def state(task, running_task):
    if task is running_task or task.get_coro().cr_running:
        return "running"
    waiter = task._fut_waiter
    if waiter is not None:
        return "runnable" if waiter.done() else "waiting"
    created = inspect.getcoroutinestate(task.get_coro()) == inspect.CORO_CREATED
    return "created" if created else "runnable"


def waits_for(task):
    waiter = task._fut_waiter
    if waiter is None:
        return ""
    if hasattr(waiter, "get_name"):
        return "Task %r" % waiter.get_name()
    return type(waiter).__name__


def awaited_by(task, tasks):
    """By what each task waits for; from 3.14 on asyncio itself keeps account."""
    if hasattr(asyncio, "capture_call_graph") and not PYTHON_TASKS:
        waiters = asyncio.capture_call_graph(task, depth=0).awaited_by
        return sorted(waiter.future.get_name() for waiter in waiters)
    found = []
    for other in tasks:
        waiter = other._fut_waiter
        if waiter is task or task in getattr(waiter, "_children", ()):
            found.append(other.get_name())
    return sorted(found)


def told(loop, thread):
    now_running = current_task(loop)
    tasks = all_tasks(loop)
    if now_running:
        tasks.add(now_running)
    return [
        {
            "id": id(task),
            "name": task.get_name(),
            "state": state(task, now_running),
            "waits_for": waits_for(task),
            "awaited_by": awaited_by(task, tasks),
            "stack": stack(task.get_coro()) if state(task, now_running) != "running" else None,
            "thread": thread.native_id,
            "thread_name": thread.name,
            "current": task is now_running,
        }
        for task in tasks
    ]


def run(main):
    """Run an event loop in a thread of its own, until it is as it shall be seen."""
    ready = threading.Semaphore(0)
    loop = new_event_loop()
    if PYTHON_TASKS:
        loop.set_task_factory(lambda loop, coro, **more: asyncio.tasks._PyTask(coro, loop=loop, **more))
    thread = threading.Thread(target=lambda: loop.run_until_complete(main(ready)), daemon=True, name=main.__name__)
    thread.start()
    ready.acquire()
    return loop, thread


def settle(loop):
    """Return when all that was ready has run."""
    for _ in range(10):
        turned = threading.Event()
        loop.call_soon_threadsafe(turned.set)
        turned.wait()


def main():
    loops = [run(many), run(held_up)]
    # uvloop 0.22 can't take that before 3.14.
    if hasattr(asyncio, "eager_task_factory") and not PYTHON_TASKS and new_event_loop is asyncio.new_event_loop:
        loops.append(run(eager))
    settle(loops[0][0])
    gc.collect()
    print(json.dumps([task for loop, thread in loops for task in told(loop, thread)]), flush=True)
    sys.stdin.read()


main()
