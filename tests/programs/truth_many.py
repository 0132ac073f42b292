"""A busy thread beside so many that wait, as the argument says; prints their native ids.

Threads that are about to wait have said so before; who looks then has to wait until they sleep.
"""

import json
import sys
import threading

ids = []
ready = threading.Semaphore(0)
never = threading.Event()


def wait_here():
    ids.append(threading.get_native_id())
    ready.release()
    never.wait()


def burn():
    ids.append(threading.get_native_id())
    ready.release()
    numbers = list(range(1000))
    while True:
        sum(numbers)


def start(function):
    threading.Thread(target=function, daemon=True).start()
    ready.acquire()


for _ in range(int(sys.argv[1])):
    start(wait_here)
start(burn)
print(json.dumps({"waiting": ids[:-1], "busy": ids[-1]}), flush=True)
sys.stdin.read()
