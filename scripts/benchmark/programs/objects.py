"""usage: objects.py MILLIONS

So many million objects: dicts, instances with __slots__, lists, strings, numbers, made one after the other.
"""

import gc
import json
import sys


class Node:
    __slots__ = ("number", "items")

    def __init__(self, number, items):
        self.number = number
        self.items = items


gc.disable()
heap = []
for number in range(int(sys.argv[1]) * 1_000_000 // 7):
    heap.append({"id": number + 10**6, "name": "name%d" % number})
    heap.append(Node(float(number), [number + 10**7]))
print(json.dumps({}), flush=True)
sys.stdin.read()
