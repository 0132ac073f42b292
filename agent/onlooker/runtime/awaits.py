"""What suspended coroutines wait for: from a coroutine to the frame in which its waiting ends."""

from __future__ import annotations

from typing import Final, NamedTuple

from onlooker.errors import MemoryFault
from onlooker.memory import Memory

from .layouts import NONE, Layout
from .objects import Objects

CHAIN_LIMIT: Final = 1 << 16
"""Frames of one chain; Python's own recursion limit ends most far before."""

_NAME_LIMIT: Final = 4096  # characters
_STACK_LIMIT_BYTES: Final = 1 << 20  # of one frame
_CODE_LIMIT_BYTES: Final = 1 << 26
_SUSPENDABLE: Final = {"coroutine", "generator", "async_generator"}
# Each has what it passes values to right behind its head. FutureIter ends a chain: what is behind
# it is the future.
_WRAPPERS: Final = {
    "coroutine_wrapper",
    "async_generator_asend",
    "async_generator_athrow",
    "anext_awaitable",
}


class CodeText(NamedTuple):
    """The text of a code object. ``name`` is co_qualname, before 3.11 co_name."""

    name: str
    filename: str
    firstlineno: int
    linetable: bytes


class Chain(NamedTuple):
    """A coroutine, what it awaits, and so on.

    ``frames`` are codes and byte offsets in them, leaf first: a code is its number in ``codes``
    of the reader. ``created``: the coroutine has not run yet; ``executing``: it runs, or something
    in the chain does, so that the frames end there.
    """

    frames: tuple[tuple[int, int], ...]
    created: bool
    executing: bool


class _Suspended(NamedTuple):
    code: int
    lasti: int
    awaited: int
    created: bool
    executing: bool


class Awaits:
    """Reads chains of awaited things. Methods raise MemoryFault for what can't be one."""

    def __init__(
        self, memory: Memory, layout: Layout, objects: Objects, codes: dict[CodeText, int]
    ) -> None:
        self._memory = memory
        self._offsets = offsets = layout.offsets
        self._objects = objects
        self._codes = codes
        self._numbers: dict[int, int] = {}  # of code objects, by address
        self._kinds: dict[int, str] = {}  # names of types, by address
        self._read = (
            self._inline_frame if offsets["generator_iframe"] != NONE else self._frame_object
        )
        iframe = offsets["generator_iframe"]
        if iframe != NONE:
            self._at_executable = iframe + offsets["frame_executable"]
            self._at_instr = iframe + offsets["frame_instr"]
            self._at_stack = iframe + offsets["frame_localsplus"]
        self._awaiting = {offsets["generator_awaits"], offsets["generator_awaits_too"]}
        self._opcodes = {
            offsets["generator_awaits_opcode"],
            offsets["generator_awaits_opcode_too"],
        }

    def type_name(self, address: int) -> str:
        """tp_name of an object's type."""
        kind = self._objects.pointer(address + self._offsets["object_type"])
        name = self._kinds.get(kind)
        if name is None:
            name = self._kinds[kind] = self._objects.type_name(address)
        return name

    def chain(self, address: int) -> Chain:
        """Follow a coroutine or generator to the innermost thing that it awaits.

        Anything else has an empty chain.
        """
        frames: list[tuple[int, int]] = []
        seen: set[int] = set()
        created = executing = False
        while address and address not in seen and len(seen) < CHAIN_LIMIT:
            seen.add(address)
            kind = self.type_name(address)
            if kind in _WRAPPERS:
                address = self._objects.pointer(address + self._offsets["awaitwrapper_wrapped"])
                continue
            if kind not in _SUSPENDABLE:
                break
            found = self._read(address)
            if found is None:
                break
            frames.append((found.code, found.lasti))
            created, executing = found.created and len(frames) == 1, found.executing
            address = found.awaited
        return Chain(tuple(frames[::-1]), created, executing)

    def _inline_frame(self, address: int) -> _Suspended | None:
        """From 3.11 on the frame lies in the generator itself. None: it has ended."""
        offsets = self._offsets
        raw = self._memory.read(address, self._at_stack)
        state = raw[offsets["generator_frame_state"]]
        created, executing = (
            state == offsets[f"generator_{name}"] for name in ("created", "executing")
        )
        awaiting = state in self._awaiting
        suspended = awaiting or state == offsets["generator_suspended"]
        if not (created or executing or suspended):
            return None
        code = _word(raw, self._at_executable) & ~offsets["frame_executable_tag"]
        instr = _word(raw, self._at_instr)
        number = self._number(code)
        lasti = instr - code - offsets["code_adaptive"]
        if not -2 <= lasti < _CODE_LIMIT_BYTES:
            raise MemoryFault(f"the frame of the coroutine at {address:#x} is not in its code")
        if offsets["generator_awaits"] == NONE and suspended and not created:
            awaiting = self._will_resume_await(instr + 2)
        awaited = self._on_stack(address + self._at_stack, raw) if awaiting else 0
        return _Suspended(number, lasti, awaited, created, executing)

    def _will_resume_await(self, instr: int) -> bool:
        opcode, oparg = self._memory.read(instr, 2)
        return opcode in self._opcodes and oparg & 3 >= self._offsets["generator_awaits_oparg"]

    def _on_stack(self, localsplus: int, raw: bytes) -> int:
        offsets = self._offsets
        if offsets["frame_stackpointer"] != NONE:
            top = _word(raw, offsets["generator_iframe"] + offsets["frame_stackpointer"])
        else:
            at = offsets["generator_iframe"] + offsets["frame_stackdepth"]
            top = localsplus + 8 * int.from_bytes(raw[at : at + 4], "little", signed=True)
        slot = top - 8 * offsets["generator_awaited_depth"]
        if not 0 <= slot - localsplus < _STACK_LIMIT_BYTES:
            raise MemoryFault(f"the frame at {localsplus:#x} has its stack at {slot:#x}")
        return self._objects.pointer(slot) & ~offsets["frame_executable_tag"]

    def _frame_object(self, address: int) -> _Suspended | None:
        """Up to 3.10 a generator has a frame object until it has ended."""
        offsets, pointer = self._offsets, self._objects.pointer
        frame = pointer(address + offsets["generator_frame"])
        if not frame:
            return None
        code = pointer(frame + offsets["frame_executable"])
        raw = self._memory.read(frame + offsets["frame_instr"], 4)
        lasti = int.from_bytes(raw, "little", signed=True) * offsets["frame_lasti_scale"]
        number = self._number(code)
        if lasti < 0:
            return _Suspended(number, -1, 0, created=True, executing=False)
        if offsets["frame_stackpointer"] != NONE:
            top = pointer(frame + offsets["frame_stackpointer"])
        else:
            raw = self._memory.read(frame + offsets["frame_stackdepth"], 4)
            depth = int.from_bytes(raw, "little", signed=True)
            stack = pointer(frame + offsets["frame_valuestack"])
            top = stack + 8 * depth if depth >= 0 else 0
        if not top:  # as long as it runs, it keeps that to itself
            return _Suspended(number, lasti, 0, created=False, executing=True)
        bytecode = pointer(code + offsets["code_code"]) + offsets["bytes_data"]
        awaited = 0
        if self._memory.read(bytecode + lasti + 2, 1)[0] in self._opcodes:
            awaited = pointer(top - 8 * offsets["generator_awaited_depth"])
        return _Suspended(number, lasti, awaited, created=False, executing=False)

    def _number(self, address: int) -> int:
        number = self._numbers.get(address)
        if number is None:
            offsets, objects = self._offsets, self._objects
            if self.type_name(address) != "code":
                raise MemoryFault(f"there is no code object at {address:#x}")
            name = "code_name" if offsets["code_qualname"] == NONE else "code_qualname"
            line = self._memory.read(address + offsets["code_firstlineno"], 4)
            text = CodeText(
                objects.string(objects.pointer(address + offsets[name]), _NAME_LIMIT),
                objects.string(objects.pointer(address + offsets["code_filename"]), _NAME_LIMIT),
                int.from_bytes(line, "little", signed=True),
                objects.bytes_(objects.pointer(address + offsets["code_linetable"])),
            )
            number = self._codes.setdefault(text, len(self._codes))
            self._numbers[address] = number
        return number


def _word(raw: bytes, offset: int) -> int:
    return int.from_bytes(raw[offset : offset + 8], "little")
