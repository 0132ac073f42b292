"""usage: tasks.py TASKS THREADS

So many asyncio tasks that wait, and threads. Answers a line with the CPU time of asyncio's own look at all tasks.
"""

import asyncio
import json
import sys
import threading
import time


async def inner():
    await asyncio.get_running_loop().create_future()


async def middle():
    await inner()


async def outer():
    await middle()


async def ticking():
    while True:
        await asyncio.sleep(0.001)


def look(tasks):
    sys.stdin.readline()
    began = time.thread_time()
    stacks = [task.get_stack() for task in asyncio.all_tasks(tasks[0].get_loop())]
    print(json.dumps({"cpu_s": time.thread_time() - began, "stacks": len(stacks)}), flush=True)


async def main():
    loop = asyncio.get_running_loop()
    tasks = [loop.create_task(outer()) for _ in range(int(sys.argv[1]))]
    tasks.append(loop.create_task(ticking()))
    await asyncio.sleep(0.1)
    loop.add_reader(sys.stdin, look, tasks)
    print(json.dumps({}), flush=True)
    await asyncio.gather(*tasks)


for _ in range(int(sys.argv[2])):
    threading.Thread(target=threading.Event().wait, daemon=True).start()
asyncio.run(main())
