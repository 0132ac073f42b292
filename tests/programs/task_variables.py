"""Tasks whose functions have variables; says what these are, by function, then runs on.

One task never waits for long: in it `twice` is always twice `number`.
"""

import asyncio
import json
import sys
import types

frames = []


async def waits(positional, *rest, keyword="k", **others):
    text, numbers, unset = "it's", [1, 2.5, None], 0
    del unset
    frames.append(sys._getframe())
    await asyncio.get_running_loop().create_future()


async def has_cell(argument):
    cell = {"in": "a cell"}

    async def has_free():
        frames.append(sys._getframe())
        assert cell
        await waits(argument, 5, other=b"\xff")

    tuple_ = (argument,)
    frames.append(sys._getframe())
    await has_free()


@types.coroutine
def generator(wide):
    frames.append(sys._getframe())
    yield from has_cell(wide).__await__()


async def async_generator(step):
    before = -(2**70)
    frames.append(sys._getframe())
    await generator("\u20ac")
    yield before


async def iterates():
    flag = True
    frames.append(sys._getframe())
    async for item in async_generator(3):
        print(item, flag)


async def not_started(given):
    later = given
    return later


async def turns():
    number = twice = 0
    while True:
        number += 1
        twice = 2 * number
        await asyncio.sleep(0)


def variables(frame):
    """As repr has them, but for those of types that only an address tells."""
    return {
        name: repr(value)
        for name, value in frame.f_locals.items()
        if not isinstance(value, (types.FunctionType, types.CoroutineType))
    }


def tell(created):
    told = {frame.f_code.co_name: variables(frame) for frame in frames}
    told["not_started"] = variables(created.get_coro().cr_frame)
    print(json.dumps(told), flush=True)


def wait(created):
    tell(created)
    sys.stdin.readline()


async def main():
    loop = asyncio.get_running_loop()
    task = loop.create_task(iterates())
    await asyncio.sleep(0.1)
    created = loop.create_task(not_started([7]))
    wait(created)
    await asyncio.gather(task, created, turns())


asyncio.run(main())
