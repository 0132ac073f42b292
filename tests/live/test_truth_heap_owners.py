"""The paths of owners are those that a program was planted with."""

from collections import Counter
from pathlib import Path

from onlooker.observe.heap_sites import by_path
from onlooker.observe.owners import Owners

from tests.conftest import StartTarget
from tests.interpreters import Interpreter
from tests.live.test_truth_heap import heap_of

OWNERS = Path("heap_owners.py")

MAIN = "module __main__"
SESSION = (MAIN, "registry: dict", "{...}: list", "[...]: __main__.Session")

#: The planted classes: how many objects of them there are, and what holds these, outermost first.
PLANTED = {
    "OfInstance": (5, (*SESSION, ".user")),
    "OfInstanceList": (5, (*SESSION, ".history: list", "[...]")),
    "OfNamedKey": (1, (MAIN, "by_name: dict", "['a_name']")),
    "OfClass": (1, (MAIN, "Session: type", ".cache: dict", "['entry']")),
    "OfSlot": (1, (MAIN, "slotted: __main__.Slotted", ".slot")),
    "OfNested": (1, (MAIN, "nested: tuple", "[...]: list", "[...]: dict", "{...}: tuple", "[...]")),
    "OfSet": (1, (MAIN, "members: set", "[...]")),
    "OfChain": (999, (MAIN, "chain: list", "[...]: list", "[...]")),
    "OfClosure": (1, (MAIN, "close: function", "[...]: cell", "<field>")),
    "OfGenerator": (1, (MAIN, "suspended: generator", "local local")),
    "OfTask": (1, ("task awaiting: _asyncio.Task", "<field>: coroutine", "local local")),
    "OfThread": (1, ("thread planted", "work", "local local")),
}

#: Objects of their own up to 3.10, which hold the variables of a suspended function.
FRAMES = {".gi_frame: frame", ".cr_frame: frame"}


def test_paths_are_as_planted(interpreter: Interpreter, start_target: StartTarget) -> None:
    target = start_target(interpreter, OWNERS)
    assert target.read_line() == "ready"
    found: Counter[tuple[str, ...]] = Counter()
    with heap_of(target.pid) as heap, Owners(heap.graph) as owners:
        for site in by_path(heap, owners):
            names = tuple(location.function.name for location in reversed(site.stack))
            if names[-1].startswith("planted."):
                found[tuple(name for name in names if name not in FRAMES)] += site.inuse_objects
        assert owners.cut == 0
    expected = Counter(
        {
            (*path[:-1], f"{path[-1]}: planted.{name}", f"planted.{name}"): count
            for name, (count, path) in PLANTED.items()
        }
    )
    # The first list of the chain holds one that is not below another.
    expected[MAIN, "chain: list", "[...]: planted.OfChain", "planted.OfChain"] = 1
    assert found == expected
