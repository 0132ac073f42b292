"""Suspended greenlets: found in memory by their types, read until that was true at one moment."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Final

from onlooker._native import ffi, lib
from onlooker.errors import MemoryFault
from onlooker.observe.contexts import ContextLabels
from onlooker.observe.heap_ranges import heap_ranges
from onlooker.observe.naming import Naming
from onlooker.observe.recorder import CODE_OMITTED, Code
from onlooker.permission import not_permitted
from onlooker.profile.model import Location
from onlooker.profile.rows import Thread
from onlooker.profile.snapshot import FrameVariables, GreenletStack
from onlooker.runtime.blocks import Traced
from onlooker.runtime.frames import Frames
from onlooker.runtime.greenlets import Greenlet, GreenletReader, NoGreenlet, greenlet_types
from onlooker.runtime.locate import Runtime
from onlooker.runtime.maps import read_maps
from onlooker.runtime.states import read_word
from onlooker.runtime.variables import Variables

# The recorder's numbers of code objects have 32 bits, and those of tasks come behind them.
_CODES: Final = 1 << 33

_GREENLETS_LIMIT: Final = 1 << 18
_FRAMES_LIMIT: Final = 1 << 22  # of all greenlets together
_AT_ONCE: Final = 1 << 14
_ATTEMPTS: Final = 25  # at a greenlet that moves
_ROUNDS: Final = 2  # for what could not be read at a time when all was slow


def suspended_greenlets(
    runtime: Runtime,
    naming: Naming,
    idents: Mapping[int, Thread],
    depth: int,
    contexts: ContextLabels,
    variables: bool,
) -> tuple[tuple[GreenletStack, ...], tuple[str, ...]]:
    """Return the stacks of all suspended greenlets, and caveats.

    ``idents`` are the threads by threading's ident. Raises TargetGone, NotPermitted.
    """
    types = greenlet_types(runtime)
    if not types.known:
        version = types.version or "of an unknown version"
        return (), (f"greenlet {version} is older than 2.0: greenlets are left out",)
    if not types.names:
        return (), ()
    look = _Look(runtime, contexts, depth if variables else 0)
    found = [(greenlet, types.names[kind]) for kind, greenlet in look.all(types.names)]
    naming.adopt((_CODES + address, code) for address, code in look.codes.items())
    threads = _Threads(runtime, idents)
    values = contexts.values()

    def stack(greenlet: Greenlet) -> tuple[Location, ...]:
        frames = greenlet.frames
        kept = [naming.location(_CODES + frame.code, frame.lasti) for frame in frames[:depth]]
        if len(frames) > depth:
            kept.append(naming.location(CODE_OMITTED, len(frames) - depth))
        return tuple(kept)

    stacks = [
        GreenletStack(
            greenlet.address,
            kind,
            threads.of(greenlet.stack_at),
            stack(greenlet),
            values(look.values.get(greenlet.address, 0)),
            look.variables.get(greenlet.address),
            "waiting" if greenlet.stack_at else "created",
        )
        for greenlet, kind in found
    ]
    moved = f"{look.unsettled} greenlets moved each time that they were read: left out"
    return tuple(stacks), (moved,) if look.unsettled else ()


class _Look:
    """One look at the greenlets of a process, and the variables of so many frames of each.

    ``codes`` are what their frames run, by address. ``values`` are sets of ``contexts``.
    """

    def __init__(
        self, runtime: Runtime, contexts: ContextLabels, frames_with_variables: int
    ) -> None:
        self._contexts = contexts
        self._with_variables = frames_with_variables
        self._runtime = runtime
        self._frames = Frames(runtime.memory, runtime.layout, runtime.code_type_address)
        self._frames_left = _FRAMES_LIMIT
        self.codes: dict[int, Code] = {}
        self.variables: dict[int, tuple[FrameVariables, ...]] = {}
        self.values: dict[int, int] = {}
        self.unsettled = 0

    def all(self, kinds: Mapping[int, str]) -> Iterator[tuple[int, Greenlet]]:
        """Yield the suspended greenlets of these types, each with its type."""
        traced = Traced(self._runtime.memory)
        reader = GreenletReader(self._runtime, traced, kinds)
        variables = Variables(traced, self._runtime.layout)
        left: Iterable[tuple[int, int]] = self._candidates(list(kinds))
        for _ in range(_ROUNDS):
            unsettled = []
            for address, kind in left:
                for attempt in range(_ATTEMPTS):
                    traced.forget()
                    try:
                        greenlet = self._read(reader, variables, address)
                    except NoGreenlet:
                        if attempt or traced.holds():
                            break
                        continue
                    except MemoryFault:
                        continue
                    if traced.holds():
                        self._frames_left -= len(greenlet.frames)
                        if self._frames_left < 0:
                            return
                        yield kind, greenlet
                        break
                else:
                    unsettled.append((address, kind))
            left = unsettled
        self.unsettled = len(unsettled)

    def _read(self, reader: GreenletReader, variables: Variables, address: int) -> Greenlet:
        greenlet = reader.read(address)
        for frame in greenlet.frames:
            if frame.code not in self.codes:
                self.codes[frame.code] = Code(*self._frames.text(frame.code))
        if self._contexts.asked:
            self.values[address] = self._contexts.read(greenlet.context_at)
        if self._with_variables:
            self.variables[address] = tuple(
                tuple(variables.of(frame).items())
                for frame in greenlet.frames[: self._with_variables]
                if frame.address
            )
        return greenlet

    def _candidates(self, kinds: list[int]) -> Iterator[tuple[int, int]]:
        """Yield where an object of one of these types may be, and the type."""
        runtime = self._runtime
        at_type = runtime.layout.offsets["object_type"]
        memory = lib.memory_open_process(runtime.pid)
        if not memory:
            raise not_permitted(runtime.pid)
        try:
            words, found = ffi.new("uint64_t[]", kinds), ffi.new("uint64_t[]", _AT_ONCE)
            left = _GREENLETS_LIMIT
            for start, end, in_image, _ in heap_ranges(runtime, runtime.pid):
                while start < end and left > 0 and not in_image:
                    count = lib.words_find(memory, start, end, words, len(kinds), found, _AT_ONCE)
                    addresses = ffi.unpack(found, count) if count else []
                    start = addresses[-1] + 8 if count == _AT_ONCE else end
                    left -= count
                    for address in addresses:
                        with suppress(MemoryFault):
                            yield address - at_type, read_word(runtime.memory, address)
        finally:
            lib.memory_close(memory)


class _Threads:
    """Which thread's C stack an address is in.

    A thread's control block, whose address threading's ident is, lies above its stack in the same
    mapping (allocate_stack of glibc and __pthread_create of musl); the main thread has the one that
    the kernel has made.
    """

    def __init__(self, runtime: Runtime, idents: Mapping[int, Thread]) -> None:
        self._idents = idents
        self._stacks: dict[tuple[int, int], bool] = {}
        with suppress(OSError):
            self._stacks = {
                (region.start, region.end): region.path == "[stack]"
                for region in read_maps(runtime.pid)
            }
        with suppress(MemoryFault):
            at = runtime.runtime_address + runtime.layout.offsets["runtime_main_thread"]
            self._main = idents.get(read_word(runtime.memory, at), Thread(0))

    def of(self, address: int) -> Thread:
        for (start, end), is_main in self._stacks.items():
            if start <= address < end:
                if is_main:
                    return self._main
                above = [ident for ident in self._idents if address < ident < end]
                return self._idents[min(above)] if above else Thread(0)
        return Thread(0)
