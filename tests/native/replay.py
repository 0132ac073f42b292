"""Runs the recorder on memory that is no live process's, or no longer."""

from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Any

from onlooker._native import ffi, lib
from onlooker.observe.recorder import native_layout
from onlooker.runtime.lines import LineTable

from tests.native.recordings import PAGE_BYTES, Recording, format_stack


class Replay:
    """A recorder of a recording's memory, or of `pages` or `memory` instead."""

    def __init__(
        self,
        recording: Recording,
        *,
        pages: dict[int, bytes] | None = None,
        memory: Any = None,
        depth: int = 512,
    ) -> None:
        self._layout = recording.layout
        self._memory = memory or open_memory(recording.pages if pages is None else pages)
        options = recording.options(depth)
        self._recorder = lib.recorder_open(self._memory, 0, native_layout(self._layout), options)
        assert self._recorder

    def close(self) -> None:
        lib.recorder_close(self._recorder)
        lib.memory_close(self._memory)

    def __enter__(self) -> "Replay":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def tick(self) -> int:
        """One sample of every thread; returns one of the ONLOOKER_ results."""
        return int(lib.recorder_tick(self._recorder))

    def counter(self, name: str) -> int:
        return int(getattr(lib.recorder_counters(self._recorder), name))

    def rows(self) -> list[Any]:
        """What was counted, without the row of what there was no room for."""
        return [row for row in self._array(lib.recorder_rows) if row.count]

    def stacks(self) -> str:
        """Every stack that was counted, in the order of interpreters and threads' identifiers."""
        threads = self._array(lib.recorder_threads)
        return join_stacks(
            (threads[row.thread].interpreter, threads[row.thread].thread_id, self.frames(row.stack))
            for row in self.rows()
        )

    def frames(self, stack: int) -> Iterator[tuple[str, str, int, int]]:
        """A stack's frames, leaf first, as format_stack wants them."""
        nodes = self._array(lib.recorder_nodes)
        text = ffi.new("code_text *")
        while stack:
            code, lasti = nodes[stack].code, nodes[stack].lasti
            stack = nodes[stack].parent
            if code == lib.ONLOOKER_CODE_OMITTED:
                yield "<omitted>", "", lasti, 0
            elif code < lib.ONLOOKER_CODE_FIRST:
                yield f"<{code}>", "", lasti, 0
            else:
                assert lib.recorder_code(self._recorder, code, text)
                table = bytes(ffi.buffer(text.linetable, text.linetable_size))
                lines = LineTable(self._layout.line_table, table, text.firstlineno)
                name, file = _decode(text.name), _decode(text.filename)
                yield name, file, lines.line(lasti), text.firstlineno

    def _array(self, function: Callable[..., Any]) -> list[Any]:
        count = ffi.new("uint32_t *")
        items = function(self._recorder, count)
        return [items[index] for index in range(count[0])]


def join_stacks(stacks: Iterable[tuple[int, int, Iterable[Any]]]) -> str:
    """The stacks of interpreters and threads as text, in the order of these two."""
    ordered = sorted(stacks, key=lambda stack: stack[:2])
    return "".join(format_stack(*stack) for stack in ordered)


def open_memory(pages: dict[int, bytes]) -> Any:
    """The native memory with these pages."""
    addresses = sorted(pages)
    content = b"".join(pages[address] for address in addresses)
    assert len(content) == PAGE_BYTES * len(addresses)
    memory = lib.memory_open_recording(addresses, content, len(addresses))
    assert memory
    return memory


def captured_pages(memory: Any) -> dict[int, bytes]:
    """The pages that were read since memory_capture."""
    pages = {}
    address = ffi.new("uint64_t *")
    for index in range(lib.memory_captured_count(memory)):
        page = lib.memory_captured_page(memory, index, address)
        pages[int(address[0])] = bytes(ffi.buffer(page, PAGE_BYTES))
    return pages


def _decode(text: Any) -> str:
    raw = bytes(ffi.buffer(text.data, text.length * text.kind))
    encoding = {1: "latin-1", 2: "utf-16-le", 4: "utf-32-le"}[text.kind]
    return raw.decode(encoding, "surrogatepass")
