"""Says of its greenlets what is on their stacks and what `who` is to them, then waits until its standard input ends.

The first argument is the folder of greenlet. With "moving" the main thread goes on switching.
"""

import contextvars
import json
import sys
import threading

sys.path.insert(0, sys.argv[1])

import greenlet

MANY = 1000
WHO = contextvars.ContextVar("who")


class Own(greenlet.greenlet):
    pass


class Some:
    def method(self):
        pass


def back():
    greenlet.getcurrent().parent.switch()


def called(x):
    WHO.set(f"called {WHO.get()}")
    back()
    return x


def by_c(index):
    WHO.set(index)
    while True:
        list(map(called, [1]))


def deep(left):
    if left:
        deep(left - 1)
    else:
        back()


def make(count):
    for index in range(count):
        kind, function, arguments = (
            (Own, by_c, (index,)),
            (greenlet.greenlet, deep, (index % 30,)),
        )[index % 2]
        one = kind(function)
        one.switch(*arguments)
        names = ["back", "called", "by_c"] if function is by_c else ["back"] + ["deep"] * (index % 30 + 1)
        who = f"called {index}" if function is by_c else None
        told.append([id(one), kind.__name__, threading.current_thread().name, who, names])
        greenlets.append(one)


def in_other():
    make(20)
    ready.set()
    threading.Event().wait()


told, greenlets, not_started, ready = [], [], [], threading.Event()
WHO.set("main")
threading.Thread(target=in_other, name="other", daemon=True).start()
ready.wait()
make(MANY - len(told))
for kind, run, names in [(greenlet.greenlet, back, ["back"]), (Own, Some().method, ["method"]), (Own, len, [])]:
    not_started.append(kind(run, greenlets[0]))
    told.append([id(not_started[-1]), kind.__name__, "", None, names])
ended = greenlet.greenlet(int)
ended.switch()
print(json.dumps(told), flush=True)
if "moving" in sys.argv:
    while True:
        for one in greenlets[20::2]:
            one.switch()
for line in sys.stdin:  # now as greenlet itself tells, which makes it change the frames' links
    told = []
    for one in greenlets:
        frame, names = one.gr_frame, []
        while frame:
            names.append(frame.f_code.co_name)
            frame = frame.f_back
        told.append([id(one), names])
    print(json.dumps(told), flush=True)
