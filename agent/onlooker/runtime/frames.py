"""The frames of Python functions that are under way, wherever they lie, and what their code is."""

from __future__ import annotations

from typing import Final, NamedTuple

from onlooker.errors import MemoryFault
from onlooker.memory import Memory

from .layouts import NONE, Layout
from .objects import GUESS_BYTES, Objects

_NAME_LIMIT: Final = 4096  # characters
_CODE_LIMIT_BYTES: Final = 1 << 26


class CodeText(NamedTuple):
    """What names a code object and its lines. ``name`` is co_qualname, before 3.11 co_name."""

    name: str
    filename: str
    firstlineno: int
    linetable: bytes


class Frame(NamedTuple):
    """A frame of a Python function: its code object, and where it is in that, in bytes."""

    address: int
    code: int
    lasti: int


class Frames:
    """Reads frames. Methods raise MemoryFault for what can't be one."""

    def __init__(
        self, memory: Memory, layout: Layout, code_type: int, guess_bytes: int = GUESS_BYTES
    ) -> None:
        self._memory = memory
        self._offsets = offsets = layout.offsets
        self._objects = Objects(memory, layout, guess_bytes)
        self._code_type = code_type
        columns = ("previous", "executable", "instr", "owner")
        self._size = max(offsets[f"frame_{column}"] for column in columns) + 8

    def under(self, frame: int, limit: int) -> list[Frame]:
        """Return a frame and those that it was called from, without the interpreter's own."""
        offsets = self._offsets
        found: list[Frame] = []
        for _ in range(limit):
            if not frame:
                return found
            raw = self._memory.read(frame, self._size)
            shim = offsets["frame_owner_shim"]
            if shim == NONE or raw[offsets["frame_owner"]] < shim:
                code = _word(raw, offsets["frame_executable"]) & ~offsets["frame_executable_tag"]
                if self._is_code(code):
                    found.append(Frame(frame, code, self._lasti(raw, code)))
            frame = _word(raw, offsets["frame_previous"])
        raise MemoryFault("there are more frames than any program has")

    def suspended(self, address: int) -> Frame:
        """Return the frame of a generator or coroutine that is suspended: nobody has called it."""
        found = self.under(address, 2)
        if len(found) != 1:
            raise MemoryFault(f"there is no suspended frame at {address:#x}")
        return found[0]

    def of_object(self, address: int) -> int:
        """Return the frame of a frame object, which up to 3.10 is the frame."""
        if self._objects.type_name(address) != "frame":
            raise MemoryFault(f"there is no frame object at {address:#x}")
        at = self._offsets["frameobject_iframe"]
        return address if at == NONE else self._objects.pointer(address + at)

    def text(self, code: int) -> CodeText:
        """Return what a code object is called and where its lines are."""
        offsets, objects = self._offsets, self._objects
        name = "code_name" if offsets["code_qualname"] == NONE else "code_qualname"
        line = self._memory.read(code + offsets["code_firstlineno"], 4)
        return CodeText(
            objects.string(objects.pointer(code + offsets[name]), _NAME_LIMIT),
            objects.string(objects.pointer(code + offsets["code_filename"]), _NAME_LIMIT),
            int.from_bytes(line, "little", signed=True),
            objects.bytes_(objects.pointer(code + offsets["code_linetable"])),
        )

    def _is_code(self, address: int) -> bool:
        kind = self._objects.pointer(address + self._offsets["object_type"])
        if self._code_type:
            return kind == self._code_type
        return self._objects.name_of_type(kind) == "code"

    def _lasti(self, raw: bytes, code: int) -> int:
        at, scale = self._offsets["frame_instr"], self._offsets["frame_lasti_scale"]
        if scale != NONE:
            return int.from_bytes(raw[at : at + 4], "little", signed=True) * scale
        lasti = _word(raw, at) - code - self._offsets["code_adaptive"]
        if not -2 <= lasti < _CODE_LIMIT_BYTES:
            raise MemoryFault(f"the frame of the code at {code:#x} is not in it")
        return lasti


def _word(raw: bytes, offset: int) -> int:
    return int.from_bytes(raw[offset : offset + 8], "little")
