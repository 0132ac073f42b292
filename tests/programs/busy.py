"""Two busy functions of a thread each, one thread that waits, until standard input ends."""

import sys
import threading


def spin_left():
    while True:
        sum(range(100))


def spin_right():
    while True:
        sum(range(100))


def wait_here(event):
    event.wait()


if __name__ == "__main__":
    event = threading.Event()
    for name, work in (("left", spin_left), ("right", spin_right)):
        threading.Thread(target=work, name=name, daemon=True).start()
    threading.Thread(target=wait_here, args=(event,), name="waiter", daemon=True).start()
    print("ready", flush=True)
    sys.stdin.read()
