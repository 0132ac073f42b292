"""usage: work.py NATIVE_THREADS

Reads lines `ITERATIONS BLOCKS` from its standard input, does that much work so many times, and prints
when each block began and ended (CLOCK_MONOTONIC). The native threads, made by pthread_create, know
nothing of Python and sleep in pause().
"""

import ctypes
import json
import sys
import time


class Account:
    def __init__(self, name: str) -> None:
        self.name = name
        self.entries: list[int] = []

    def add(self, amount: int) -> "Account":
        self.entries.append(amount)
        return self

    @property
    def balance(self) -> int:
        return sum(self.entries)


def parse(line: str) -> dict[str, str]:
    return {key: value for key, _, value in (part.partition("=") for part in line.split(";"))}


def order(number: int) -> str:
    return f"name=n{number % 7};amount={number % 100};note={number:x}"


def walk(depth: int, account: Account, number: int) -> int:
    """Some frames, so that a stack is as deep as that of a plain program."""
    if depth:
        return walk(depth - 1, account, number)
    fields = parse(order(number))
    return account.add(int(fields["amount"])).balance


def iterate(count: int) -> int:
    total = 0
    for number in range(count):
        account = Account("a")
        for depth in (3, 12):
            total += walk(depth, account, number)
        total += sorted([*account.entries, number & 15, 3, 2])[0]
    return total


def start_native_threads(count: int) -> None:
    libc = ctypes.CDLL(None)
    for _ in range(count):
        thread = ctypes.c_ulong()
        if libc.pthread_create(ctypes.byref(thread), None, libc.pause, None) != 0:
            raise OSError("pthread_create failed")


def main() -> None:
    start_native_threads(int(sys.argv[1]))
    print(json.dumps({}), flush=True)
    for line in sys.stdin:
        iterations, blocks = map(int, line.split())
        times_ns = [time.monotonic_ns()]
        for _ in range(blocks):
            iterate(iterations)
            times_ns.append(time.monotonic_ns())
        print(json.dumps({"times_ns": times_ns}), flush=True)


main()
