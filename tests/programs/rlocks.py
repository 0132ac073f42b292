"""Threads that wait for RLocks that two functions hold in turn; one waits for a Lock.

They wait in three ways of Python code ("python"), or in a call that is made in C ("c").

Starts at a line on standard input; at the next prints for how long they have waited for the RLocks,
and for which part of the time that those were held `mostly` held them.
"""

import functools
import json
import sys
import threading
import time


class Own(type(threading.RLock())):
    pass


plain, own, lock = threading.RLock(), Own(), threading.Lock()
condition = threading.Condition(plain)
stop = threading.Event()
held = {"mostly": 0, "seldom": 0}
waited = []


def mostly():
    end = time.monotonic() + 0.04
    while time.monotonic() < end:
        sum(range(1000))


def seldom():
    time.sleep(0.01)


def outside():
    time.sleep(0.002)


def hold():
    while not stop.is_set():
        for function in (mostly, seldom):
            with plain, own:
                begin = time.monotonic()
                function()
                held[function.__name__] += time.monotonic() - begin
            outside()


def by_with():
    with plain:
        pass


def by_acquire():
    own.acquire()
    own.release()


acquire, release = functools.partial(plain.acquire), functools.partial(plain.release)


def by_c():
    acquire()
    release()


def by_condition():
    with condition:
        pass


def want(take):
    total = 0
    while not stop.is_set():
        begin = time.monotonic()
        take()
        total += time.monotonic() - begin
        time.sleep(0.001)
    waited.append(total)


def want_lock():
    with lock:
        pass


lock.acquire()
threading.Thread(target=want_lock, daemon=True).start()
takes = {"python": (by_with, by_acquire, by_condition), "c": (by_c,) * 3}[sys.argv[1]]
threads = [threading.Thread(target=hold)]
threads += [threading.Thread(target=want, args=(take,)) for take in takes]
print("ready", flush=True)
sys.stdin.readline()
for thread in threads:
    thread.start()
print("running", flush=True)
sys.stdin.readline()
stop.set()
for thread in threads:
    thread.join()
print(json.dumps([sum(waited), held["mostly"] / sum(held.values())]), flush=True)
