"""Objects read from outside are what the target itself says that they are."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from onlooker.errors import MemoryFault
from onlooker.runtime.locate import locate
from onlooker.runtime.names import ModuleNames, ThreadNames
from onlooker.runtime.objects import Objects

from tests.conftest import StartTarget
from tests.interpreters import Interpreter, Target


class Seen(NamedTuple):
    objects: Objects
    told: dict[str, Any]


@contextmanager
def objects_of(target: Target) -> Iterator[Objects]:
    runtime = locate(target.pid)
    try:
        yield Objects(runtime.memory, runtime.layout)
    finally:
        runtime.memory.close()


@pytest.fixture
def seen(interpreter: Interpreter, start_target: StartTarget) -> Iterator[Seen]:
    target = start_target(interpreter, Path("objects.py"))
    told = target.read_json()
    with objects_of(target) as objects:
        yield Seen(objects, told)


def test_values(seen: Seen) -> None:
    objects, told = seen
    for address, characters in told["strings"]:
        assert [ord(char) for char in objects.string(address)] == characters
    for address, number in told["numbers"]:
        assert objects.integer(address) == number
    for address, content in told["blobs"]:
        assert objects.bytes_(address).hex() == content
    for address, name in told["type_names"]:
        assert objects.type_name(address).rpartition(".")[2] == name


def test_containers(seen: Seen) -> None:
    objects, told = seen
    for address, items in told["sequences"]:
        assert objects.sequence(address) == items
    for address, pairs in told["dicts"]:
        assert [list(pair) for pair in objects.dict_items(address)] == pairs


def test_attributes(seen: Seen) -> None:
    objects, told = seen
    for address, attributes in told["instances"]:
        found = {objects.string(name): value for name, value in objects.attributes(address)}
        assert found == attributes, objects.type_name(address)
        for name, value in attributes.items():
            assert objects.attribute(address, name) == value
        assert objects.attribute(address, "no such") is None


def test_thread_names(seen: Seen) -> None:
    objects, told = seen
    reader = ThreadNames(objects)
    for _ in range(2):
        names = reader.read(told["modules"])
        assert {str(identifier): name for identifier, name in names.items()} == told["threads"]


def test_module_names(seen: Seen) -> None:
    objects, told = seen
    modules = ModuleNames(objects)
    modules.learn(told["modules"])
    names = modules.by_file
    # The program's object that is no module has both attributes and counts, as it does for Python.
    assert names.keys() == told["files"].keys()
    for file, name in names.items():
        assert name in told["files"][file]
    assert names[told["main"]] == "__main__"
    assert names["/shared/shared.py"] == "odd.shared"
    assert names["/odd/package/__init__.py"] == "odd.package"


def test_wrong_types_and_addresses_are_faults(seen: Seen) -> None:
    objects, told = seen
    (text, _), (blob, _) = told["strings"][2], told["blobs"][2]
    for read, address in (
        (objects.bytes_, text),
        (objects.string, blob),
        (objects.integer, text),
        (objects.sequence, text),
        (objects.dict_items, text),
        (objects.string, 0),
        (objects.string, 0xDEAD),
        (objects.string, (1 << 64) - 8),
        (objects.attributes, 8),
        (objects.type_name, 1 << 63),
    ):
        with pytest.raises(MemoryFault):
            read(address)
    with pytest.raises(MemoryFault):
        objects.string(told["strings"][3][0], limit=4999)


def test_without_threading_there_are_no_names(
    interpreter: Interpreter, start_target: StartTarget
) -> None:
    target = start_target(
        interpreter,
        """
        import sys
        sys.modules.pop("threading", None)
        print(id(sys.modules), flush=True)
        sys.stdin.read()
        """,
    )
    modules = int(target.read_line())
    with objects_of(target) as objects:
        assert ThreadNames(objects).read(modules) == {}
        assert ThreadNames(objects).read(8) == {}
        names = ModuleNames(objects)
        names.learn(8)
        assert names.by_file == {}


def test_modules_that_come_later(interpreter: Interpreter, start_target: StartTarget) -> None:
    target = start_target(
        interpreter,
        """
        import sys, types
        print(id(sys.modules), flush=True)
        def add(name, **attributes):
            sys.modules[name] = types.ModuleType(name)
            vars(sys.modules[name]).update(attributes)
        path, program = __file__, sys.modules["__main__"]
        del program.__file__
        for line in sys.stdin:
            if line == "module\\n":
                add("later", __file__="/later.py")
            else:
                program.__file__ = "/program.py"
            print(flush=True)
        """,
    )
    address = int(target.read_line())
    with objects_of(target) as objects:
        modules = ModuleNames(objects)
        for _ in range(10):
            modules.learn(address)
        before = dict(modules.by_file)
        assert before
        target.send("module")
        target.read_line()
        modules.learn(address)
        assert modules.by_file == {**before, "/later.py": "later"}
        target.send("program")
        target.read_line()
        modules.learn(address)
        assert modules.by_file == {**before, "/later.py": "later", "/program.py": "__main__"}
