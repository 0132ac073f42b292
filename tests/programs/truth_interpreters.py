"""A busy thread in the main interpreter and one in each of two others; ends with its input.

The argument says whether these have a GIL of their own (3.12 and later). If they share it they let
go of it now and then, for in 3.9 to 3.12 no thread asks one of another interpreter for it. Prints
each one's id and its thread's native id.
"""

import json
import os
import sys
import threading
import time

try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters

INNER = """
import os, time

def burn_inside():
    numbers = list(range(100000))
    os.write(%d, b'.')
    while True:
        sum(numbers)
        %s or time.sleep(0.001)

burn_inside()
"""

hear, told = os.pipe()
ids = {}
OWN_GIL = sys.argv[1] == "own"


def create():
    if sys.version_info >= (3, 13):
        return interpreters.create("isolated" if OWN_GIL else "legacy")
    if sys.version_info >= (3, 9):
        # Isolation stands for what a version can do: since 3.12 also for a GIL of one's own.
        return interpreters.create(isolated=OWN_GIL)
    return interpreters.create()


def burn_outside():
    ids[0] = threading.get_native_id()
    numbers = list(range(100000))
    os.write(told, b".")
    while True:
        sum(numbers)
        OWN_GIL or time.sleep(0.001)


def run():
    interpreter = create()
    ids[int(interpreter)] = threading.get_native_id()
    interpreters.run_string(interpreter, INNER % (told, OWN_GIL))


for function in (run, run, burn_outside):
    threading.Thread(target=function, daemon=True).start()
    os.read(hear, 1)
print(json.dumps(ids), flush=True)
sys.stdin.read()
