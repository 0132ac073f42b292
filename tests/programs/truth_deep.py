"""A thread so many frames deep as its argument says, where it makes calls without end.

Prints the thread's native id and how many frames its whole stack has.
"""

import json
import sys
import threading

depth = int(sys.argv[1])
sys.setrecursionlimit(depth + 1000)
threading.stack_size(1 << 29)  # before 3.11 each call of a function takes C stack


def down(depth):
    if depth:
        down(depth - 1)
    else:
        bottom()


def bottom():
    frame, frames = sys._getframe(), 0
    while frame:
        frame, frames = frame.f_back, frames + 1
    print(json.dumps([threading.get_native_id(), frames]), flush=True)
    while True:
        leaf(1)
        leaf(2)


def leaf(x):
    return x


threading.Thread(target=down, args=(depth,), daemon=True).start()
sys.stdin.read()
