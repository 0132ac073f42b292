"""Builds objects of every layout, and prints what each is and where. Runs on 3.8 and later."""

import json
import sys
import threading
import types

KEEP = []


def keep(thing):
    KEEP.append(thing)
    return id(thing)


class Text(str):
    pass


class Blob(bytes):
    pass


def legacy_string(text):
    """A str that is not ready: only its wchar_t representation exists (up to 3.11)."""
    import ctypes

    api = ctypes.pythonapi
    make, data = api.PyUnicode_FromUnicode, api.PyUnicode_AsUnicode
    make.argtypes, make.restype = [ctypes.c_void_p, ctypes.c_ssize_t], ctypes.py_object
    data.argtypes, data.restype = [ctypes.py_object], ctypes.c_void_p
    made = make(None, len(text))
    ctypes.memmove(data(made), (ctypes.c_wchar * len(text))(*text), 4 * len(text))
    return made


def strings():
    texts = [
        "", "a", "plain ascii", "x" * 5000, "naïve", "é" * 3000, "\u20ac uro", "\u4e2d\u6587" * 900,
        "\ud800\udc00 as two", "lone \udcff", "\U0001f40d snake", "\U0010ffff" * 1200,
        Text("sub"), Text("s\u00fcb"), Text("\u4e2d"), Text("\U0001f40d" * 100), Text(""),
    ]  # fmt: skip
    found = [(keep("".join(text) if type(text) is str else text), text) for text in texts]
    if sys.version_info < (3, 12):
        for text in ["legacy", "l\u00e9gacy", "\u4e2d \U0001f40d", "z" * 3000]:
            found.append((keep(legacy_string(text)), text))
    return [[address, [ord(char) for char in text]] for address, text in found]


def numbers():
    values = [0, 1, -1, 255, -255, 2**30 - 1, 2**30, -(2**30), 2**31, 2**47 + 7, 2**62, -(2**63)]
    return [[keep(value), int(value)] for value in [*values, 2**64 - 1, 2**119, True, False]]


def blobs():
    values = [b"", b"\0", bytes(range(256)), b"long" * 50000, Blob(b"subclass")]
    return [[keep(value), value.hex()] for value in values]


def sequences():
    class Pair(tuple):
        pass

    values = [[], (), [1], (1,), list(range(5000)), tuple("abc"), [[], ()], Pair("xy")]
    return [[keep(value), [id(item) for item in value]] for value in values]


def dicts():
    deleted = {str(index): index for index in range(100)}
    for index in range(0, 100, 3):
        del deleted[str(index)]
    values = [
        {}, {"a": 1}, dict.fromkeys("abcdefgh"), {1: 2, "mixed": 3, (4,): 5}, deleted,
        {str(index): index for index in range(100_000)}, {index: None for index in range(300)},
        {str(index): index for index in range(86)}, {str(index): index for index in range(180)},
        {"\u4e2d": 1, Text("sub"): 2},
    ]  # fmt: skip
    return [[keep(value), [[id(k), id(v)] for k, v in value.items()]] for value in values]


class Plain:
    pass


class Grown:
    """Its instances share keys, of which the last has more than the others have room for."""


class WithSlots:
    __slots__ = ("s", "t")


class SlotsAndDict(WithSlots):
    pass


class Number(int):
    pass


class Tuple(tuple):
    pass


class Failure(Exception):
    pass


class WithWeakref:
    __slots__ = ("__weakref__", "__dict__")


def function():
    pass


def instances():
    """Addresses with the attributes set, never read by vars(): that would make a dict of them."""

    def make(cls, names, *args):
        made = cls(*args)
        attributes = {}
        for name in names:
            value = [name]
            setattr(made, name, value)
            attributes[name] = id(value)
        found.append([keep(made), attributes])
        return made, attributes

    found = []
    make(Plain, ["a", "b", "c"])
    make(Plain, ["c", "a"])
    make(Plain, [])
    make(Plain, ["x%d" % index for index in range(60)])  # more than keys can be shared
    make(Plain, ["b", "d"])
    changed, attributes = make(Plain, ["a", "b", "c"])
    del changed.b, attributes["b"]
    looked_at, _ = make(Plain, ["a", "b"])
    keep(looked_at.__dict__)
    emptied, attributes = make(Plain, ["a", "b"])
    keep(emptied.__dict__)  # which keeps what it has, but no longer for the instance
    del emptied.__dict__
    attributes.clear()
    for _ in range(300):  # the room that 3.13 gives to a new instance settles
        make(Grown, ["a", "b"])
    make(Grown, ["a", "b", *"cdefghijklmnopqrstuvw"])
    given, _ = make(Plain, [])
    given.__dict__ = {"own": KEEP}
    found[-1][1]["own"] = id(KEEP)
    for cls, args in (
        (SlotsAndDict, ()), (Text, ("text",)), (Text, ("t\u00e9xt",)), (Failure, ("why",)),
        (Number, (0,)), (Number, (5,)), (Number, (-(2**70),)), (Number, (2**95,)),
        (Tuple, ((),)), (Tuple, ((1, 2, 3),)), (Blob, (b"odd",)), (WithWeakref, ()),
    ):  # fmt: skip
        make(cls, ["a", "b", "\u00e9"], *args)
    make(lambda: function, ["mark"])
    found.append([keep(WithSlots()), {}])
    found.append([keep(object()), {}])
    return found


def type_names():
    values = [1, "", None, Plain(), Failure(), sys, [].append, types.SimpleNamespace(), type, Plain]
    return [[keep(value), type(value).__name__] for value in values]


class Module(types.ModuleType):
    pass


def odd_modules():
    """Entries of sys.modules that programs have been seen to make, some with no file."""

    def add(name, module, **attributes):
        module.__dict__.update(attributes)
        sys.modules[name] = module

    add("odd.late", types.ModuleType("odd.late"), **{"a%d" % i: i for i in range(50)}, __file__="/l")
    add("odd.first", types.ModuleType("odd.first"), __file__="/shared/shared.py")
    add("odd.shared", types.ModuleType("odd.shared"), __file__="/shared/shared.py")
    add("odd.third", types.ModuleType("odd.third"), __file__="/shared/shared.py")
    add("odd.package", types.ModuleType("odd.package"), __file__="/odd/package/__init__.py")
    add("odd.again", types.ModuleType("odd.again"), __file__="/odd/package/__init__.py")
    add("objects", types.ModuleType("objects"), __file__=__file__)
    add("odd.sub", Module("odd.sub"), __file__="/sub\u00e9\U0001f40d.py")
    add("odd.text", types.ModuleType("odd.text"), __file__=Text("/text.py"))
    add("odd.number", types.ModuleType("odd.number"), __file__=3)
    add("odd.none", types.ModuleType("odd.none"), __file__=None)
    add("odd.unnamed", types.ModuleType("odd.unnamed"), __file__="/unnamed.py", __name__=4)
    add("odd.nothing", types.ModuleType("odd.nothing"))
    sys.modules["odd.missing"] = None
    sys.modules["odd.object"] = Plain()
    sys.modules["odd.plain"] = plain = Plain()
    plain.__file__, plain.__name__ = "/plain.py", "odd.plain"
    for index in range(2000):
        name = "many.m%d" % index
        add(name, types.ModuleType(name), __file__="/many/m%d.py" % index)


def module_files():
    """Which names the modules of each file have."""
    files = {}
    for module in list(sys.modules.values()):
        file, name = getattr(module, "__file__", None), getattr(module, "__name__", None)
        if isinstance(file, str) and isinstance(name, str):
            files.setdefault(file, []).append(name)
    return files


def main():
    started, stop = threading.Barrier(5), threading.Event()

    def wait():
        started.wait()
        stop.wait()

    names = ["worker", "w\u00f6rker", "\u4e2d\u6587", "\U0001f40d" * 40]
    threads = [threading.Thread(target=wait, name=name, daemon=True) for name in names]
    for thread in threads:
        thread.start()
    started.wait()
    found = {
        make.__name__: make()
        for make in (strings, numbers, blobs, sequences, dicts, instances, type_names)
    }
    odd_modules()
    found["threads"] = {thread.ident: thread.name for thread in threading.enumerate()}
    found["files"] = module_files()
    found["main"] = __file__
    found["modules"] = id(sys.modules)
    print(json.dumps(found), flush=True)
    sys.stdin.read()


main()
