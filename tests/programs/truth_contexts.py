"""Sets context variables as fast as it can, and calls functions that each know their values.

What a function that is called `in_...` may see, its name says: in_a only values of "who" that begin
with an `a`, in_unset none, in_default the default of "otherwise". Reads lines `MODE THREADS` from
standard input; runs MODE in so many threads until the next line, and prints a line when it does.
"""

import asyncio
import contextvars
import sys
import threading

WHO = contextvars.ContextVar("who")
UNUSED = contextvars.ContextVar("who")  # of the same name, and never set
OTHERWISE = contextvars.ContextVar("otherwise", default="default")
#: So that the tree has levels, and nodes of each kind.
OTHERS = [contextvars.ContextVar(f"other {i}") for i in range(100)]

stop = threading.Event()
number = 0


def spin():
    x = 0
    for i in range(5):
        x += i
    return x


def in_a():
    return spin()


def in_b():
    return spin()


def in_unset():
    return spin()


def in_default():
    return spin()


def in_special():
    return spin()


def fresh(letter):
    """A value at an address that was just another's."""
    global number
    number += 1
    return letter + str(number % 100)


def steps():
    WHO.set(fresh("a"))
    in_a()
    token = WHO.set(fresh("b"))
    in_b()
    WHO.reset(token)
    in_a()
    OTHERWISE.set("special")
    in_special()


def sets():
    def once():
        in_unset()
        in_default()
        steps()

    while not stop.is_set():
        contextvars.Context().run(once)


def among_others():
    def fill():
        for other in OTHERS:
            other.set(other.name)
        sets_here()

    def sets_here():
        while not stop.is_set():
            steps()

    contextvars.Context().run(fill)


async def in_task(letter, call):
    WHO.set(fresh(letter))
    while not stop.is_set():
        for _ in range(20):
            call()
        await asyncio.sleep(0)


def tasks():
    async def main():
        calls = [("a", in_a), ("b", in_b)] * 3
        await asyncio.gather(*(in_task(letter, call) for letter, call in calls))

    asyncio.new_event_loop().run_until_complete(main())


def main():
    threads = []
    for line in sys.stdin:
        stop.set()
        for thread in threads:
            thread.join()
        stop.clear()
        mode, count = line.split()
        threads = [
            threading.Thread(target=globals()[mode], daemon=True) for _ in range(int(count))
        ]
        for thread in threads:
            thread.start()
        print("ready", flush=True)


main()
