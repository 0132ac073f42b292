"""Sets context variables to values of each kind; prints what labels they should be, and sleeps."""

import contextvars
import itertools
import json
import time

LONG = 200
KEPT = []


class Text(str):
    """Has its characters elsewhere than a str."""


class Context(dict):
    """What OpenTelemetry has as its current context."""


class SpanContext(tuple):
    pass


class Span:
    def __init__(self, context):
        self._name = "a span"
        self._context = context
        self._parent = None


def variable(name, *value, **options):
    KEPT.append(contextvars.ContextVar(name, **options))
    for each in value:
        KEPT[-1].set(each)
    return KEPT[-1]


def folded(value):
    return (value ^ value >> 32) & 0xFFFFFFFF


def equal_hashes():
    """Two variables, of which the first is called "collides", with hashes that a tree folds to one.

    A hash is that of the name and the address, of which only the lower bits differ.
    """
    first = {folded(hash(v)): v for v in [contextvars.ContextVar("collides") for _ in range(50000)]}
    for i in itertools.count():
        name = f"other {i}"
        if folded(hash(name) ^ hash("collides")) < 1 << 20:
            tried = [contextvars.ContextVar(name) for _ in range(50000)]
            for other in tried:
                if folded(hash(other)) in first:
                    return first[folded(hash(other))], other


def function_that_sleeps():
    time.sleep(1000)


LABELS = {
    "ascii": "request-17",
    "größe": "größe",
    "日本": "日本",
    "clef": "\N{MUSICAL SYMBOL G CLEF}",
    "long": "x" * LONG,
    "empty": "",
    "subclass": Text("of a subclass"),
    "zero": 0,
    "negative": -5,
    "huge": 3**200,
    "bool": True,
    "none": None,
    "bytes": b"\x00raw",
}
for name, value in LABELS.items():
    variable(name, value)
variable("object", object())
span = Span(SpanContext((2**127 + 17, 2**63 + 5, False)))
variable("current_context", Context({"other": 1, "current-span-1": span}))
variable("default", default="by default")
variable("unset")
collides, other = equal_hashes()
KEPT += [collides, other]
collides.set("one of two")
other.set("the other")

expected = {name: str(value) for name, value in LABELS.items()}
expected.update(
    {
        "long": "x" * 128 + "…",
        "empty": '""',
        "bytes": repr(LABELS["bytes"]),
        "object": "<object>",
        "default": "by default",
        "collides": "one of two",
        "trace_id": format(2**127 + 17, "032x"),
        "span_id": format(2**63 + 5, "016x"),
    }
)
names = [*LABELS, "object", "default", "collides", "unset", "otel"]
print(json.dumps([names, expected]), flush=True)
function_that_sleeps()
