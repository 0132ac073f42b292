"""usage: heap.py MIB

A heap of so many MiB in objects of some hundred bytes, part of which changes all the time. For each line that it
reads, it prints the longest time in ms that passed between two of its turns since the line before.
"""

import gc
import json
import os
import select
import sys
import time

EACH = 512
heap = [[b"%d" % index + bytes(EACH - 48) for index in range((1 << 20) // EACH)] for _ in range(int(sys.argv[1]))]
gc.disable()  # its pauses are not the agent's
print(json.dumps({}), flush=True)
longest_s = 0.0
turns = 0
last_s = time.perf_counter()
while True:
    turns += 1
    heap[turns % len(heap)][turns % 100] = b"%d" % turns
    now_s = time.perf_counter()
    longest_s = max(longest_s, now_s - last_s)
    last_s = now_s
    if not turns % 1000 and select.select([0], [], [], 0)[0]:
        os.read(0, 4096)
        print(json.dumps({"gap_ms": longest_s * 1e3}), flush=True)
        longest_s = 0.0
        last_s = time.perf_counter()
