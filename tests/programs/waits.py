"""A thread for each kind of wait; its name says which. Prints their kernel ids by name when all wait."""

import asyncio
import concurrent.futures
import json
import os
import queue
import select
import socket
import subprocess
import sys
import threading
import time


def lock():
    taken = threading.Lock()
    taken.acquire()
    taken.acquire()


def condition():
    threading.Event().wait()


def queue_get():
    queue.Queue().get()


def future():
    concurrent.futures.Future().result()


def join():
    other = threading.Thread(target=time.sleep, args=(1000,), daemon=True, name="other")
    other.start()
    other.join()


def sleep():
    time.sleep(1000)


def do_select():
    select.select([socket.socketpair()[0]], [], [])


def do_poll():
    poll = select.poll()
    poll.register(pipe[0], select.POLLIN)
    poll.poll()


def do_epoll():
    epoll = select.epoll()
    epoll.register(pipe[0], select.EPOLLIN)
    epoll.poll()


def receive():
    pair = socket.socketpair()
    pair[0].recv(1)


def read():
    os.read(pipe[0], 1)


def child():
    # Its input ends with this process, and so does it.
    subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE).wait()


def loop():
    async def wait():
        await asyncio.Event().wait()

    asyncio.new_event_loop().run_until_complete(wait())


pipe = os.pipe()
waits = {
    "lock": lock,
    "condition": condition,
    "queue": queue_get,
    "future": future,
    "join": join,
    "sleep": sleep,
    "select": do_select,
    "poll": do_poll,
    "epoll": do_epoll,
    "socket": receive,
    "io": read,
    "subprocess": child,
    "epoll idle": loop,
}
for name, function in waits.items():
    threading.Thread(target=function, name=name, daemon=True).start()
pool = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="queue idle")
pool.submit(int).result()


def asleep(thread):
    if not thread.native_id:
        return False
    with open(f"/proc/self/task/{thread.native_id}/stat") as file:
        return file.read().rpartition(")")[2].split()[0] == "S"


while not all(asleep(thread) for thread in threading.enumerate()[1:]):
    time.sleep(0.01)
print(json.dumps([thread.name for thread in threading.enumerate()]), flush=True)
for line in sys.stdin:  # naps, between two answers
    for _ in range(int(line)):
        time.sleep(0.02)
    print(line, flush=True)
