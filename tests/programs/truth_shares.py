"""Spends its time in the ways that its arguments name, and accounts for it itself.

Prints a line when it begins, and answers every line with a dict of the seconds spent in each way.
What is timed runs from one reading of the clock to the next within C, where no other thread can
take the GIL between them.
"""

import json
import operator
import sys
import threading
import time
from functools import partial

call = operator.methodcaller("__call__")
spent = {}


def timed(name, clock, work):
    began, _, ended = tuple(map(call, (clock, work, clock)))
    spent[name] = spent.get(name, 0.0) + ended - began


def tiny(x):
    return x


def moving(times):
    """Many tiny calls."""
    for x in range(times):
        tiny(x)


def still(numbers):
    """One frame that stays where it is."""
    sum(numbers)


def times_for(seconds, work, least):
    """How large the argument of `work` has to be to take so long."""
    size = least
    while True:
        best = min(seconds_of(work, size) for _ in range(5))
        if best >= seconds:
            return max(1, int(size * seconds / best))
        size *= 2


def seconds_of(work, size):
    began = time.thread_time()
    work(size)
    return time.thread_time() - began


def ratio(seconds):
    """Two functions by turns; how long each takes is for `spent` to tell."""
    times = times_for(seconds, moving, 8)
    numbers = list(range(times_for(seconds / 2, lambda size: still(range(size)), 64)))
    numbers *= 2  # a list is quicker than a range

    def forever():
        while True:
            timed("moving", time.thread_time, partial(moving, times))
            timed("still", time.thread_time, partial(still, numbers))

    return [forever]


def nap(seconds):
    time.sleep(seconds)


def awake(seconds):
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        sum(NUMBERS)


def naps():
    """Sleeps half of the time, by its own clock."""
    while True:
        timed("nap", time.perf_counter, partial(nap, 0.04))
        missing = spent["nap"] - spent.get("awake", 0.0)
        if missing > 0:
            timed("awake", time.perf_counter, partial(awake, missing))


def hold_long():
    while True:
        timed("hold_long", time.perf_counter, partial(sum, LONG))


def hold_short():
    while True:
        timed("hold_short", time.perf_counter, partial(sum, NUMBERS))


def sleep():
    while True:
        time.sleep(1000)


def contend():
    """One thread keeps the GIL for longer than the switch interval, one gives it up when asked."""
    return [hold_long, hold_short, sleep]


NUMBERS = list(range(10000))
LONG = list(range(100)) * 10000
ways = {"ratio": ratio, "naps": lambda: [naps], "contend": contend}
for way in ways[sys.argv[1]](*map(float, sys.argv[2:])):
    threading.Thread(target=way, daemon=True).start()
print("ready", flush=True)
for line in sys.stdin:
    print(json.dumps(spent), flush=True)
