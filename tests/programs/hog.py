"""A thread that holds the GIL through long calls, and one that wants it.

Starts at a line on standard input; at the next prints for which part of the time the other was
asleep, and asleep or ready to run. It never waits for anything but the GIL and a CPU.
"""

import json
import sys
import threading
import time

lost = []
stop = False

def hog():
    sum(range(3_000_000))
    sum(range(3_000_000))
    sum(range(3_000_000))

def work():
    return sum(range(300))

def hold():
    while not stop:
        hog()

def account():
    """By the clock, on a CPU, and ready for one (the kernel's account); nanoseconds."""
    with open(f"/proc/self/task/{threading.get_native_id()}/schedstat") as file:
        return (time.monotonic_ns(), *map(int, file.read().split()[:2]))


def want():
    begin = account()
    while not stop:
        work()
    ran, on_cpu, ready = (after - before for before, after in zip(begin, account()))
    lost.append([(ran - on_cpu - ready) / ran, (ran - on_cpu) / ran])


print("ready", flush=True)
sys.stdin.readline()
threads = [threading.Thread(target=f, name=f.__name__) for f in (hold, want)]
for thread in threads:
    thread.start()
print("running", flush=True)
sys.stdin.readline()
stop = True
for thread in threads:
    thread.join()
print(json.dumps({"lost": lost[0]}), flush=True)
