"""A small shop that never closes, for `onlooker demo` to look into. It ends with its input."""

import hashlib
import json
import queue
import sys
import threading
import time
import zlib

ORDERS_PER_SECOND = 50

orders: "queue.Queue[int]" = queue.Queue(maxsize=100)


def render_page(number: int) -> str:
    return "".join(f"<li>{item * number % 7}</li>" for item in range(2000))


def find_prices(number: int) -> str:
    return json.dumps({str(item): item**2 % (number + 1) for item in range(500)})


def serve_pages() -> None:
    number = 0
    while True:
        number += 1
        render_page(number)
        find_prices(number)


def compress_images() -> None:
    """zlib and hashlib let go of the GIL."""
    image = bytes(range(256)) * 4096
    while True:
        hashlib.sha256(zlib.compress(image, 6)).hexdigest()
        time.sleep(0.02)


def take_orders() -> None:
    number = 0
    while True:
        time.sleep(1 / ORDERS_PER_SECOND)
        orders.put(number)
        number += 1


def pack_parcels() -> None:
    while True:
        sorted(str(order) for order in range(orders.get() % 1000))


if __name__ == "__main__":
    for work in (serve_pages, compress_images, take_orders, pack_parcels):
        threading.Thread(target=work, name=work.__name__, daemon=True).start()
    print("open", flush=True)
    sys.stdin.read()
