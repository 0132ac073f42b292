"""Threads created, and threads that had been there, as one profile."""

from onlooker.profile.build import Recording
from onlooker.profile.creations import Creations
from onlooker.profile.model import Function, Location, Mapping
from onlooker.profile.rows import Row, Thread
from onlooker.profile.threadcreate import created_meanwhile, threadcreate

ABOUT = Recording(100, 123, 456, ("a comment",), Mapping("/python", "ab"))


def at(name: str, line: int, file: str = "/m.py") -> Location:
    return Location(Function(f"m.{name}", name, file, 10), line)


START = at("_bootstrap", 1, "/usr/lib/python3.11/threading.py")
NATIVE = Location(Function("<native thread>", "<native thread>", "", 0), 0)


def row(stack: int, thread: int, count: int) -> Row:
    return Row(stack, thread, 0, count, 0, 0)


def test_creators_by_stack_and_others_by_entry() -> None:
    stacks = {1: (at("make", 3), START), 2: (at("make", 4), START)}
    present = [
        (at("wait", 7), at("work", 11), START),
        (at("work", 12), START),  # the same function elsewhere
        (NATIVE,),
        (START,),
    ]
    creations = Creations(
        (row(1, 5, 2), row(2, 5, 1), row(1, 6, 1)), stacks.__getitem__, {5: Thread(7, "a")}, present
    )
    profile = threadcreate(creations, ABOUT)
    assert (profile.kind, profile.period, profile.duration_ns) == ("threadcreate", 1, 0)
    by_a = (("thread", "a"), ("thread_id", "7"), ("created", "while watched"))
    created = [
        ((at("make", 3),), (2,), by_a),
        ((at("make", 4),), (1,), by_a),
        ((at("make", 3),), (1,), (("thread_id", "6"), ("created", "while watched"))),
    ]
    before = [
        ((at("work", 10),), (2,), (("created", "before"),)),
        ((NATIVE,), (1,), (("created", "before"),)),
        ((at("_bootstrap", 10, START.function.filename),), (1,), (("created", "before"),)),
    ]
    assert [(s.stack, s.values, s.labels) for s in profile.samples] == created + before
    meanwhile = created_meanwhile(profile)
    assert [(s.stack, s.values, s.labels) for s in meanwhile.samples] == created
    whole = threadcreate(creations, ABOUT, all_frames=True)
    assert whole.samples[0].stack == stacks[1]
