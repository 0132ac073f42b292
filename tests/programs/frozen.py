"""usage: frozen.py busy|waits|prefork MIB

A heap of so many MiB. Prints a line when it is ready, and its own account for each line it reads.
"""

import ctypes
import json
import os
import select
import signal
import sys
import threading
import time

mode, mib = sys.argv[1], int(sys.argv[2])
sigchlds = [0]
errors = []


def count_sigchld(number, frame):
    sigchlds[0] += 1


def account(**more):
    try:
        waited = os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        waited = None
    print(json.dumps(dict(more, errors=errors, sigchlds=sigchlds[0], waited=waited)), flush=True)


def heap():
    return [[b"%d" % i + b"x" * 400 for i in range(2300)] for _ in range(mib)]


def schedule():
    """Time that passed, on CPU and waiting for one; the kernel knows better than Python when."""
    with open("/proc/thread-self/schedstat", "rb") as file:
        ran, waited = map(int, file.read().split()[:2])
    return time.monotonic_ns(), ran, waited


def busy():
    """One thread, which stands still only if somebody stops it."""
    blocks = heap()
    turns = 0
    since = schedule()
    print("ready", flush=True)
    while True:
        turns += 1
        blocks[turns % len(blocks)][turns % 100] = b"%d" % turns
        if not turns % 64 and select.select([0], [], [], 0)[0]:
            if not os.read(0, 4096):
                break
            now = schedule()
            elapsed, ran, waited = (b - a for a, b in zip(since, now))
            account(turns=turns, stood_still_ns=elapsed - ran - waited)
            since = now


def waits():
    """Threads that wait, each of which says if it waited too short or failed."""
    blocks = heap()
    reader, writer = os.pipe()
    silent, _ = os.pipe()
    epoll = select.epoll()
    epoll.register(silent, select.EPOLLIN)
    lock, event = threading.Lock(), threading.Event()
    lock.acquire()
    seconds = 0.02
    libc = ctypes.CDLL(None, use_errno=True)
    pause = (ctypes.c_long * 2)(0, 20000000)
    turns = {}

    def sleep(): time.sleep(seconds)
    def nanosleep(): assert libc.nanosleep(pause, None) == 0, ctypes.get_errno()
    def choose(): assert select.select([silent], [], [], seconds) == ([], [], [])
    def poll(): assert epoll.poll(seconds) == []
    def acquire(): assert not lock.acquire(timeout=seconds)
    def wait(): assert not event.wait(seconds)
    def read(): assert os.read(reader, 1) == b"x"
    def write():
        time.sleep(seconds)
        os.write(writer, b"x")

    def work(call):
        while True:
            began = time.monotonic()
            try:
                call()
            except BaseException as error:
                errors.append("%s: %r" % (call.__name__, error))
            # Their clocks count in units of up to a millisecond.
            if call is not read and time.monotonic() - began < seconds - 0.002:
                errors.append("%s took %r" % (call.__name__, time.monotonic() - began))
            turns[call.__name__] += 1

    for call in (sleep, nanosleep, choose, poll, acquire, wait, read, write):
        turns[call.__name__] = 0
        threading.Thread(target=work, args=(call,), daemon=True).start()
    print("ready", flush=True)
    for line in sys.stdin:
        blocks[0][0] = line
        account(turns=turns)


def prefork():
    """A parent and two workers, which share its heap; all of them wait."""
    blocks = heap()
    workers = []
    reader, writer = os.pipe()
    for _ in range(2):
        pid = os.fork()
        if not pid:
            os.close(writer)
            os.read(reader, 1)  # until the parent ends
            os._exit(len(blocks))
        workers.append(pid)
    print(json.dumps(workers), flush=True)
    os.read(0, 1)


signal.signal(signal.SIGCHLD, count_sigchld)
{"busy": busy, "waits": waits, "prefork": prefork}[mode]()
