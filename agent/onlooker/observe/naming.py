"""Names for what the recorder saw: functions, lines, modules and threads."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final

from onlooker.observe import recorder as native
from onlooker.observe.modules import Modules
from onlooker.observe.recorder import Code, Recorder, Stacks, ThreadRecord
from onlooker.profile.model import Function, Location
from onlooker.profile.rows import Thread
from onlooker.runtime.blocks import Blocks
from onlooker.runtime.lines import LineTable
from onlooker.runtime.locate import Runtime
from onlooker.runtime.names import ThreadNames
from onlooker.runtime.objects import Objects

# Threads that are not new are looked at again only so often: they may have got another name.
_RENAMED_AFTER_S: Final = 10.0

# Line tables are decoded when a line is asked for, and take a multiple of their encoded form.
_DECODED_TABLES: Final = 256

_PSEUDO: Final = {
    native.CODE_OMITTED: "<{} frames omitted>",
    native.CODE_NATIVE: "<native thread>",
    native.CODE_NO_FRAME: "<no Python frame>",
    native.CODE_UNSAMPLED: "<not sampled>",
    native.CODE_OVERFLOW: "<too many stacks>",
}


class Naming:
    """Keeps the texts that the recorder hands over, and turns its numbers into names.

    It has to be asked to ``learn`` while the target lives: modules and threads are read from it.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._table = lru_cache(_DECODED_TABLES)(self._decode)
        self._objects = Objects(runtime.memory, runtime.layout)
        self._codes: dict[int, Code] = {}
        self._functions: dict[int, Function] = {}
        self._lines: dict[int, int] = {}
        self._numbers: dict[int, int] = {}
        self._modules = Modules(runtime, self._objects)
        self._names: dict[int, str] = {}
        self._active: dict[int, int] = {}
        self._threads_named = 0
        self._threads_named_s = self._began_s = time.monotonic()

    def learn(self, recorder: Recorder) -> None:
        """Take the new code objects, and read the names of threads and modules not known yet.

        Raises TargetGone; what was learnt before stays.
        """
        self.adopt(recorder.take_codes())
        records = recorder.threads()
        now_s = time.monotonic()
        # A program that has only begun has yet to name its threads: look sooner at first.
        wait_s = min(_RENAMED_AFTER_S, self._threads_named_s - self._began_s)
        if len(records) != self._threads_named or now_s - self._threads_named_s > wait_s:
            self._threads_named, self._threads_named_s = len(records), now_s
            self._learn_threads(records)

    def adopt(self, codes: Iterable[tuple[int, Code]]) -> None:
        """Take code objects, by the numbers that they shall have. Raises TargetGone."""
        texts = dict(codes)
        self._codes.update(texts)
        self._modules.learn({code.filename for code in texts.values()})

    def _read_threads(self) -> dict[int, str]:
        names: dict[int, str] = {}
        runtime = self._runtime
        # What names are made of lies close together.
        active = ThreadNames(Objects(Blocks(runtime.memory), runtime.layout), self._active)
        for modules in self._modules.dicts():
            names.update(active.read(modules))
        return names

    def _learn_threads(self, records: Sequence[ThreadRecord]) -> None:
        # A thread that ends leaves its identifier's memory to others. As that may be another
        # thread's then, only what is read twice counts.
        once, again = self._read_threads(), self._read_threads()
        names = dict(once.items() & again.items())
        for index, record in enumerate(records):
            if record.alive:
                # A thread identifier is used again when its thread has ended.
                name = names.get(record.thread_id) if record.thread_id else self._comm(record.tid)
                if name:
                    self._names[index] = name

    def threads(self, records: Iterable[ThreadRecord]) -> dict[int, Thread]:
        """Who the threads are, by their index."""
        return {
            index: Thread(record.target_tid, self._names.get(index, ""), max(record.interpreter, 0))
            for index, record in enumerate(records)
        }

    def stack(self, stacks: Stacks, stack_id: int) -> tuple[Location, ...]:
        """A stack's functions and lines, leaf first."""
        return tuple(self.location(code, lasti) for code, lasti in stacks.frames(stack_id))

    def location(self, code: int, lasti: int) -> Location:
        """The function and line of a frame."""
        if code < native.CODE_FIRST or code not in self._codes:
            name = _PSEUDO.get(code, "<unknown code>").format(lasti)
            return Location(Function(name, name, "", 0), 0)
        key = code << 32 | lasti & 0xFFFFFFFF
        line = self._lines.get(key)
        if line is None:
            line = self._table(code).line(lasti)
            # A long recording has very many places in code, but not so many lines.
            self._lines[key] = line = self._numbers.setdefault(line, line)
        return Location(self._functions.get(code) or self._function(code), line)

    def _function(self, code: int) -> Function:
        text = self._codes[code]
        name = f"{self._modules.name(text.filename)}.{text.name}"
        function = Function(name, text.name, text.filename, text.firstlineno)
        self._functions[code] = function
        return function

    def _decode(self, code: int) -> LineTable:
        text = self._codes[code]
        return LineTable(self._runtime.layout.line_table, text.linetable, text.firstlineno)

    def _comm(self, tid: int) -> str:
        try:
            with open(f"/proc/{self._runtime.pid}/task/{tid}/comm", "rb") as file:
                return os.fsdecode(file.read(64)).rstrip("\n")
        except OSError:
            return ""
