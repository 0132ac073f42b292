"""Tasks that come, go and take turns as fast as they can, until standard input ends.

What belongs together is named alike: a task "left" runs left_outer, left_middle and left_inner.
"""

import asyncio
import sys
import threading

SOURCE = """
async def {name}_inner(left):
    if left:
        await {name}_inner(left - 1)
    else:
        await asyncio.sleep(0)

async def {name}_middle(turn):
    await {name}_inner(turn % 7)

async def {name}_outer():
    turn = 0
    while True:
        turn += 1
        await {name}_middle(turn)

async def {name}_brief():
    await {name}_middle(3)

async def {name}_renewed():
    while True:
        task = asyncio.ensure_future({name}_brief())
        task.set_name("{name}")
        await task
"""

for name in ("left", "right", "up", "down"):
    exec(SOURCE.format(name=name))


async def main():
    for name in ("left", "right", "up", "down"):
        for _ in range(3):
            for kind in ("outer", "renewed"):
                task = asyncio.ensure_future(globals()["%s_%s" % (name, kind)]())
                task.set_name(name)
                kept.append(task)
    print("ready", flush=True)
    await asyncio.gather(*kept)


kept = []
thread = threading.Thread(target=lambda: asyncio.run(main()), name="loop", daemon=True)
thread.start()
sys.stdin.read()
