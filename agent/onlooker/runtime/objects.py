"""Reading a target's Python objects: strings, numbers, containers and attributes.

Nothing read is believed: an object must be of the type that is asked for, lengths are bounded, and
what doesn't fit raises MemoryFault, as an address does that can't be read. The target runs while
it is read, so a result may mix two moments; callers that mind check again.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterator
from typing import Final, NamedTuple

from onlooker.errors import MemoryFault
from onlooker.memory import Memory

from .layouts import NONE, Layout

STRING_LIMIT: Final = 1 << 20  # characters
BYTES_LIMIT: Final = 1 << 26  # bytes; a line table of generated code may be large
ITEMS_LIMIT: Final = 1 << 20  # of one container

_PAGE: Final = 4096  # what is mapped at an address is mapped to the end of its page
GUESS_BYTES: Final = 256  # so that most strings come with their header in one read
_HEAD_BYTES: Final = 24  # of a PyVarObject, or of an int's tag
_TYPE_NAME_LIMIT: Final = 512  # bytes
_LONG_DIGITS_LIMIT: Final = 4
_FIRST_ENTRIES: Final = 16  # modules have __name__ and __file__ among these
_MAX_ENTRIES_PER_READ: Final = 4096
_MAX_LOG2_SIZE: Final = 40

# Bits of tp_flags, the same in every version (Include/object.h).
_HEAPTYPE: Final = 1 << 9
_LONG: Final = 1 << 24
_LIST: Final = 1 << 25
_TUPLE: Final = 1 << 26
_BYTES: Final = 1 << 27
_UNICODE: Final = 1 << 28
_DICT: Final = 1 << 29
_TYPE: Final = 1 << 31
_MANAGED_DICT: Final = 1 << 4  # of 3.11 and later

# Bits of PyASCIIObject.state; layout_probe.c checks them.
_KIND_SHIFT: Final = 2
_COMPACT: Final = 1 << 5
_ASCII: Final = 1 << 6
_READY: Final = 1 << 7  # where there is a wstr, up to 3.11
_WCHAR_BYTES: Final = 4

_GENERAL_KEYS: Final = 0  # DICT_KEYS_GENERAL: entries with a hash; the other kinds have none
_WORD: Final = struct.Struct("<Q")


class _Type(NamedTuple):
    name: int
    basicsize: int
    itemsize: int
    flags: int
    dictoffset: int


class _Keys(NamedTuple):
    """The entries of a PyDictKeysObject: address, how many, and how (key, value) lie in each."""

    entries: int
    length: int
    entry: struct.Struct


class Objects:
    """Objects of one process, by address. Every method raises MemoryFault as said above.

    ``guess_bytes`` may be read of an object even if it is smaller.
    """

    def __init__(self, memory: Memory, layout: Layout, guess_bytes: int = GUESS_BYTES) -> None:
        self._guess_bytes = guess_bytes
        self._memory = memory
        self._layout = layout
        self._offsets = offsets = layout.offsets
        self._type_size = max(offsets["type_dictoffset"], offsets["type_flags"]) + 8
        self._static_types: dict[int, _Type] = {}
        self._general_entry = self._entry("dictentry")
        self._unicode_entry = (
            self._entry("dictunicodeentry")
            if offsets["dictunicodeentry_size"] != NONE
            else self._general_entry
        )

    def pointer(self, address: int) -> int:
        """The 8-byte word at this address."""
        (word,) = _WORD.unpack(self._memory.read(address, 8))
        return int(word)

    def string(self, address: int, limit: int = STRING_LIMIT) -> str:
        """The text of a str of at most `limit` characters; lone surrogates stay what they are."""
        text, length = self.string_start(address, limit)
        if length > limit:
            raise MemoryFault(f"the str at {address:#x} has {length} characters")
        return text

    def string_start(self, address: int, limit: int) -> tuple[str, int]:
        """The first characters of a str, at most `limit`, and how many it has."""
        offsets = self._offsets
        window = self._object(address, _UNICODE, "str", offsets["unicode_ascii_data"])
        length = _word_in(window, offsets["unicode_length"])
        state = window[offsets["unicode_state"]]
        char_bytes = state >> _KIND_SHIFT & 7
        if state & _COMPACT:
            column = "unicode_ascii_data" if state & _ASCII else "unicode_compact_data"
            start = address + offsets[column]
        elif offsets["unicode_wstr"] == NONE or state & _READY:
            start = self.pointer(address + offsets["unicode_data"])
        else:
            start = self.pointer(address + offsets["unicode_wstr"])
            length = self.pointer(address + offsets["unicode_wstr_length"])
            char_bytes = _WCHAR_BYTES
        size, place = min(length, limit) * char_bytes, start - address
        if 0 <= place <= len(window) - size:
            return _decode(window[place : place + size], char_bytes, address), length
        return _decode(self._memory.read(start, size), char_bytes, address), length

    def bytes_(self, address: int, limit: int = BYTES_LIMIT) -> bytes:
        """The content of a bytes object of at most `limit` bytes."""
        data, size = self.bytes_start(address, limit)
        if size > limit:
            raise MemoryFault(f"the bytes object at {address:#x} has {size} bytes")
        return data

    def bytes_start(self, address: int, limit: int) -> tuple[bytes, int]:
        """The first bytes of a bytes object, at most `limit`, and how many it has."""
        head = self._object(address, _BYTES, "bytes")
        size = _word_in(head, self._offsets["bytes_size"])
        return self._memory.read(address + self._offsets["bytes_data"], min(size, limit)), size

    def integer(self, address: int, digits_limit: int = _LONG_DIGITS_LIMIT) -> int:
        """The value of an int of so few digits; by default 64 bits fit in, and some more."""
        offsets = self._offsets
        head = self._object(address, _LONG, "int")
        tag = _word_in(head, offsets["long_tag"])
        if offsets["long_tag_shift"]:
            digits, negative = tag >> offsets["long_tag_shift"], tag & 3 == 2
        else:
            negative = tag >= 1 << 63
            digits = (1 << 64) - tag if negative else tag
        if digits > digits_limit:
            raise MemoryFault(f"the int at {address:#x} has {digits} digits")
        raw = self._memory.read(address + offsets["long_digit"], 4 * digits)
        value = 0
        for place, (digit,) in enumerate(struct.iter_unpack("<I", raw)):
            value |= digit << place * offsets["long_digit_bits"]
        return -value if negative else value

    def is_type(self, address: int) -> bool:
        """Whether the object is a class."""
        kind = self._type(self.pointer(address + self._offsets["object_type"]))
        return bool(kind.flags & _TYPE)

    def type_name(self, address: int) -> str:
        """tp_name of the object's type: with its module for static types, else without."""
        return self.name_of_type(self.pointer(address + self._offsets["object_type"]))

    def name_of_type(self, address: int) -> str:
        """tp_name of the type at this address."""
        return self.c_string(self._type(address).name)

    def c_string(self, address: int) -> str:
        """The UTF-8 text up to a zero, cut off at some length."""
        window = self._window(address, 1, _TYPE_NAME_LIMIT)
        if b"\0" not in window:
            window = self._memory.read(address, _TYPE_NAME_LIMIT)
        return window.partition(b"\0")[0].decode("utf-8", "replace")

    def sequence(self, address: int) -> list[int]:
        """The addresses of the items of a list or tuple; 0 for an item that isn't set yet."""
        return self.sequence_start(address, ITEMS_LIMIT + 1)[0]

    def sequence_start(self, address: int, limit: int) -> tuple[list[int], int]:
        """The addresses of the first items, at most `limit`, and how many there are."""
        offsets = self._offsets
        head = self._object(address, _LIST | _TUPLE, "list or tuple")
        if self._type(_word_in(head, offsets["object_type"])).flags & _LIST:
            count = _word_in(head, offsets["list_size"])
            items = self.pointer(address + offsets["list_item"])
        else:
            count = _word_in(head, offsets["tuple_size"])
            items = address + offsets["tuple_item"]
        return list(self._words(items, min(count, limit))), count

    def set_items(self, address: int) -> list[int]:
        """The addresses of a set's items, and of what marks deleted ones."""
        offsets = self._offsets
        if self.type_name(address) not in {"set", "frozenset"}:
            raise MemoryFault(f"there is no set at {address:#x}")
        slots = self.pointer(address + offsets["set_mask"]) + 1
        entry = offsets["setentry_size"]
        if slots > ITEMS_LIMIT:
            raise MemoryFault(f"the set at {address:#x} has {slots} slots")
        raw = self._memory.read(self.pointer(address + offsets["set_table"]), slots * entry)
        keys = (_word_in(raw, at) for at in range(offsets["setentry_key"], len(raw), entry))
        return [key for key in keys if key]

    def dict_items(self, address: int) -> Iterator[tuple[int, int]]:
        """The addresses of a dict's keys and values, in insertion order (not so if split)."""
        offsets = self._offsets
        head = self._object(address, _DICT, "dict", offsets["dict_values"] + 8)
        keys, values = (_word_in(head, offsets[name]) for name in ("dict_keys", "dict_values"))
        return self._items(keys, values)

    def dict_get(self, address: int, key: str) -> int | None:
        """The address of the value at a str key, None if there is none."""
        return self._find(self.dict_items(address), key)

    def attribute(self, address: int, name: str) -> int | None:
        """The address of the object's own attribute (not its class's), None if there is none."""
        return self._find(self.attributes(address), name)

    def attributes(self, address: int) -> Iterator[tuple[int, int]]:
        """The addresses of the names and values of an object's own attributes."""
        offsets = self._offsets
        head = self._window(address, _HEAD_BYTES, self._guess_bytes)
        type_address = _word_in(head, offsets["object_type"])
        kind = self._type(type_address)
        if kind.flags & _MANAGED_DICT and offsets["instance_managed_dict"] != NONE:
            values = self._managed_values(address, kind)
            if values:
                keys = self.pointer(type_address + offsets["type_cached_keys"])
                return self._items(keys, values)
            dictionary = self.pointer(address + offsets["instance_managed_dict"])
        elif 0 < kind.dictoffset <= len(head) - 8:
            dictionary = _word_in(head, kind.dictoffset)
        elif kind.dictoffset:
            dictionary = self.pointer(address + self._dictoffset(address, kind))
        else:
            dictionary = 0
        return self.dict_items(dictionary) if dictionary else iter(())

    def _managed_values(self, address: int, kind: _Type) -> int:
        """The address of the PyDictValues of an instance that has no dict of its own, else 0."""
        offsets = self._offsets
        dictionary = self.pointer(address + offsets["instance_managed_dict"])
        if offsets["type_inline_values_flag"] != NONE:
            values = address + kind.basicsize
            if dictionary or not kind.flags & offsets["type_inline_values_flag"]:
                return 0
            valid = self._memory.read(values + offsets["dictvalues_valid"], 1)
            return values if valid != b"\0" else 0
        if offsets["instance_managed_values"] == offsets["instance_managed_dict"]:
            return dictionary + 1 if dictionary & 1 else 0
        return self.pointer(address + offsets["instance_managed_values"])

    def _dictoffset(self, address: int, kind: _Type) -> int:
        """tp_dictoffset, which counts from the object's end if negative (_PyObject_GetDictPtr)."""
        if kind.dictoffset > 0:
            return kind.dictoffset
        offsets = self._offsets
        # ob_size and an int's tag lie at the same place.
        items = self.pointer(address + offsets["long_tag"])
        if kind.flags & _LONG and offsets["long_tag_shift"]:
            items >>= offsets["long_tag_shift"]
        elif items >= 1 << 63:
            items = (1 << 64) - items
        size = kind.basicsize + items * kind.itemsize
        return -(-size // 8) * 8 + kind.dictoffset

    def _find(self, items: Iterator[tuple[int, int]], name: str) -> int | None:
        for key, value in items:
            try:
                if self.string(key, len(name)) == name:
                    return value
            except MemoryFault:
                continue  # another type, longer, or just being changed
        return None

    def _items(self, keys_address: int, values: int) -> Iterator[tuple[int, int]]:
        """What a keys object holds, or a split dict with it; values is 0 if it isn't split."""
        entries, count, entry = self._keys(keys_address)
        split = self._words(values + self._offsets["dictvalues_values"], count) if values else ()
        done, step = 0, _FIRST_ENTRIES
        while done < count:
            step = min(step, count - done)
            raw = self._memory.read(entries + done * entry.size, step * entry.size)
            for index, (key, value) in enumerate(entry.iter_unpack(raw), done):
                found = split[index] if values else value
                if key and found:  # else deleted, or an attribute that isn't set
                    yield key, found
            done, step = done + step, min(4 * step, _MAX_ENTRIES_PER_READ)

    def _keys(self, address: int) -> _Keys:
        offsets = self._offsets
        start = offsets["dictkeys_indices"]
        head = self._memory.read(address, start)
        count = _word_in(head, offsets["dictkeys_nentries"])
        if offsets["dictkeys_size"] != NONE:
            size = _word_in(head, offsets["dictkeys_size"])
            index_width = 1 if size <= 0xFF else 2 if size <= 0xFFFF else 4
            indices, entry = size * index_width, self._general_entry
        else:
            size = 1 << min(head[offsets["dictkeys_log2_size"]], _MAX_LOG2_SIZE)
            indices = 1 << min(head[offsets["dictkeys_log2_index_bytes"]], _MAX_LOG2_SIZE + 3)
            general = head[offsets["dictkeys_kind"]] == _GENERAL_KEYS
            entry = self._general_entry if general else self._unicode_entry
        if not count <= size <= 1 << _MAX_LOG2_SIZE or count > ITEMS_LIMIT:
            raise MemoryFault(f"the dict keys at {address:#x} have {count} entries of {size}")
        return _Keys(address + start + indices, count, entry)

    def _entry(self, prefix: str) -> struct.Struct:
        size, key, value = (self._offsets[f"{prefix}_{end}"] for end in ("size", "key", "value"))
        return struct.Struct(f"<{key}xQ{value - key - 8}xQ{size - value - 8}x")

    def _words(self, address: int, count: int) -> tuple[int, ...]:
        if count > ITEMS_LIMIT:
            raise MemoryFault(f"{count} items at {address:#x}")
        return struct.unpack(f"<{count}Q", self._memory.read(address, 8 * count))

    def _object(self, address: int, flags: int, name: str, size: int = _HEAD_BYTES) -> bytes:
        """The first bytes, at least `size`, of an object whose type has one of the flags."""
        head = self._window(address, size, self._guess_bytes)
        kind = self._type(_word_in(head, self._offsets["object_type"]))
        if not kind.flags & flags:
            raise MemoryFault(f"there is no {name} at {address:#x}")
        return head

    def _type(self, address: int) -> _Type:
        kind = self._static_types.get(address)
        if kind is None:
            offsets = self._offsets
            raw = self._memory.read(address, self._type_size)
            kind = _Type(*(_signed_word_in(raw, offsets[f"type_{name}"]) for name in _Type._fields))
            if not kind.flags & _HEAPTYPE:  # others can be freed, and their address used again
                self._static_types[address] = kind
        return kind

    def _window(self, address: int, minimum: int, wanted: int) -> bytes:
        """`wanted` bytes at the address, fewer if its page ends before, but at least `minimum`."""
        return self._memory.read(address, max(minimum, min(wanted, _PAGE - address % _PAGE)))


def _word_in(raw: bytes, offset: int) -> int:
    return int.from_bytes(raw[offset : offset + 8], "little")


def _signed_word_in(raw: bytes, offset: int) -> int:
    return int.from_bytes(raw[offset : offset + 8], "little", signed=True)


def _decode(raw: bytes, char_bytes: int, address: int) -> str:
    try:
        if char_bytes == 1:
            return raw.decode("latin-1")
        if char_bytes == 2:  # not UTF-16: surrogates next to each other stay two characters
            return "".join(map(chr, array("H", raw)))
        if char_bytes == 4:
            return raw.decode("utf-32-le", "surrogatepass")
    except ValueError as error:
        raise MemoryFault(f"the str at {address:#x} has an impossible character: {error}") from None
    raise MemoryFault(f"the str at {address:#x} has characters of {char_bytes} bytes")
