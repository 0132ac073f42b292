"""Burns CPU time in the way that its argument names; ends with its standard input.

Prints a dict once it works: the native ids of the threads of each function.
"""

import ctypes
import json
import sys
import threading
import time
import zlib

ids = {}
started = threading.Semaphore(0)


def begin(function):
    ids.setdefault(function, []).append(threading.get_native_id())
    started.release()


def burn():
    begin("burn")
    numbers = list(range(1000))
    while True:
        sum(numbers)


def wait(event):
    begin("wait")
    event.wait()


def sleep():
    begin("sleep")
    while True:
        time.sleep(1000)


def compress(data):
    begin("compress")
    while True:  # it lets go of the GIL
        zlib.compress(data, 6)


def short_life(numbers):
    sum(numbers)


def give_lives():
    begin("give_lives")
    numbers = list(range(20000))
    while True:
        thread = threading.Thread(target=short_life, args=(numbers,))
        thread.start()
        thread.join()


def start(function, *args):
    threading.Thread(target=function, args=args, daemon=True).start()
    started.acquire()


def start_native():
    """A thread of C's that waits, awake, for a spin lock that is never unlocked."""
    libc = ctypes.CDLL(None)
    lock = ctypes.c_int()
    libc.pthread_spin_init(ctypes.byref(lock), 0)
    libc.pthread_spin_lock(ctypes.byref(lock))
    thread = ctypes.c_ulong()
    start = libc.pthread_create
    if start(ctypes.byref(thread), None, libc.pthread_spin_lock, ctypes.byref(lock)):
        sys.exit("no thread")
    return lock


def busy():
    start(burn)
    for _ in range(5):
        start(wait, threading.Event())
    start(sleep)


def crowd():
    data = bytes(range(256)) * 4000
    for _ in range(6):
        start(compress, data)


def short_lives():
    start(give_lives)


def native():
    start(sleep)
    return start_native()


kept = globals()[sys.argv[1]]()
print(json.dumps(ids), flush=True)
sys.stdin.read()
