"""Makes calls without end, in ways that tell of each stack whether there can be one like it.

A line that ends in `#: a b` is where the functions a and b may be called from, and no other line is.
Reads lines `MODE THREADS` from standard input; runs MODE in so many threads until the next line, and
prints their native ids.
"""

import functools
import sys
import threading
import types


def f0(x):
    return f1(x)  #: f1


def f1(x):
    return f2(x)  #: f2


def f2(x):
    return f3(x)  #: f3


def f3(x):
    return f4(x)  #: f4


def f4(x):
    return f5(x)  #: f5


def f5(x):
    return f6(x)  #: f6


def f6(x):
    return f7(x)  #: f7


def f7(x):
    return f8(x)  #: f8


def f8(x):
    f9(x)  #: f9
    return f9(x)  #: f9


def f9(x):
    f10(x)  #: f10
    return f10(x)  #: f10


def f10(x):
    f11(x)  #: f11
    return f11(x)  #: f11


def f11(x):
    return x + 1


def g0(x):
    return g1(x)  #: g1


def g1(x):
    return g2(x)  #: g2


def g2(x):
    return g3(x)  #: g3


def g3(x):
    return g4(x)  #: g4


def g4(x):
    g5(x)  #: g5
    return g5(x)  #: g5


def g5(x):
    return x + 1


def h0(x):
    a = b = c = d = e = x  # a frame of another size
    return h1(a, b, c, d, e)  #: h1


def h1(*args):
    return h2(*args)  #: h2


def h2(x, *args):
    return x + 1


def calls():
    f0(1)  #: f0
    g0(1)  #: g0
    h0(1)  #: h0


def a0(x):
    return a1(x)  #: a1


def a1(x):
    return a2(x)  #: a2


def a2(x):
    return x


def b0(x):
    return x


def quick():
    """Comes back to where it was within the time of a read."""
    a0(1)  #: a0
    b0(1)  #: b0
    a0(1)  #: a0
    b0(1)  #: b0
    a0(1)  #: a0
    b0(1)  #: b0
    a0(1)  #: a0
    b0(1)  #: b0


def count(n):
    for i in range(n):
        yield f0(i)  #: f0


def delegate(n):
    yield from count(n)  #: count
    yield g0(n)  #: g0


def delegate_again(n):
    yield from delegate(n)  #: delegate


def generators():
    for _ in delegate_again(3):  #: delegate_again
        h0(1)  #: h0
    for _ in count(2):  #: count
        g0(1)  #: g0
    left = count(5)  #: count
    next(left)  #: count
    left.close()  #: count
    sum(  #: <genexpr>
        g0(i)  #: g0
        for i in range(2)
    )


@types.coroutine
def switch():
    yield


async def deep_f(n):
    if n:
        return await deep_f(n - 1)  #: deep_f
    f0(n)  #: f0
    await switch()  #: switch
    return f0(n)  #: f0


async def deep_g(n):
    if n > 1:
        await deep_g(n - 2)  #: deep_g
    else:
        await switch()  #: switch
    return g0(n)  #: g0


async def plain_1(x):
    return await plain_2(x)  #: plain_2


async def plain_2(x):
    return h0(x)  #: h0


def drive(coroutine):
    try:
        while True:
            coroutine.send(None)  #: deep_f deep_g plain_1 series_user
    except StopIteration:
        g0(1)  #: g0


def coroutines():
    drive(deep_f(25))  #: drive deep_f
    drive(plain_1(1))  #: drive plain_1
    drive(deep_g(12))  #: drive deep_g
    h0(1)  #: h0


async def series(n):
    for i in range(n):
        f0(i)  #: f0
        await switch()  #: switch
        yield g0(i)  #: g0


async def series_user():
    async for _ in series(3):  #: series
        h0(1)  #: h0
    [i async for i in series(2)]  #: series <listcomp>
    return f0(1)  #: f0


def async_generators():
    drive(series_user())  #: drive series_user
    calls()  #: calls


def recurse(n):
    if n:
        return recurse(n - 1)  #: recurse
    return f0(n)  #: f0


def recursion():
    recurse(30)  #: recurse
    recurse(3)  #: recurse
    g0(1)  #: g0


def down(n):
    if n == 60:
        g0(n)  #: g0
    if n:
        return down(n - 1)  #: down
    return f0(n)  #: f0


def wide_down(n):
    a = b = c = d = e = i = j = k = n
    if n:
        wide_down(n - 1)  #: wide_down
        return h0(n)  #: h0
    return g0(n)  #: g0


def far_down():
    """As deep as the interpreter's pieces of stack are long, and deeper."""
    down(150)  #: down
    wide_down(90)  #: wide_down
    down(330)  #: down


def fail(n):
    if n:
        fail(n - 1)  #: fail
    else:
        f0(n)  #: f0
        raise ValueError


def fail_and_tidy(n):
    try:
        if n:
            fail_and_tidy(n - 1)  #: fail_and_tidy
        else:
            fail(3)  #: fail
    finally:
        g0(n)  #: g0


def exceptions():
    try:
        fail(6)  #: fail
    except ValueError:
        h0(1)  #: h0
    try:
        fail_and_tidy(4)  #: fail_and_tidy
    except ValueError:
        g0(1)  #: g0


class Odd:
    def __init__(self, x):
        self.x = f0(x)  #: f0

    def __lt__(self, other):
        return g0(self.x) < other.x  #: g0

    def __getattr__(self, name):
        return h0(1)  #: h0

    @property
    def value(self):
        return g0(1)  #: g0

    def __len__(self):
        return h0(1)  #: h0


def key(x):
    return h0(-x)  #: h0


def add(x, y):
    return g0(x) + f0(y)  #: g0 f0


def decorated(function):
    @functools.wraps(function)
    def wrapper(*args):
        return function(*args)  #: h_decorated

    return wrapper


@decorated
def h_decorated(x):
    return h0(x)  #: h0


def through_c():
    """Python called by C called by Python."""
    sorted([3, 1, 2], key=key)  #: key
    functools.reduce(add, [1, 2, 3])  #: add
    list(map(g0, [1, 2]))  #: g0
    odd = Odd(1)  #: __init__
    odd < odd  #: __lt__
    odd.missing  #: __getattr__
    odd.value  #: value
    len(odd)  #: __len__
    h_decorated(1)  #: wrapper
    (lambda x: f0(x))(1)  #: <lambda> f0
    [g0(i) for i in range(2)]  #: g0 <listcomp>


mode = "nothing"


def work(name):
    step = globals()[name]
    while mode == name:
        step()  #: calls quick generators coroutines async_generators recursion far_down exceptions through_c
        step()  #: calls quick generators coroutines async_generators recursion far_down exceptions through_c


threads = []
for line in sys.stdin:
    name, count_of_threads = line.split()
    mode = "nothing"
    for thread in threads:
        thread.join()
    mode = name
    threads = [threading.Thread(target=work, args=(name,)) for _ in range(int(count_of_threads))]
    for thread in threads:
        thread.start()
    print(*(thread.native_id for thread in threads), flush=True)
mode = "nothing"
