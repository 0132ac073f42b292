"""Whatever the bytes are, showing values ends, with a short line that a terminal may see."""

import pytest
from onlooker.errors import MemoryFault
from onlooker.runtime.frames import Frame, Frames
from onlooker.runtime.layout_rows import ROWS
from onlooker.runtime.reprs import LENGTH_LIMIT, Reprs
from onlooker.runtime.variables import VARIABLES_LIMIT, Variables

from tests.unit.test_objects import SIZE, Garbage, layout_of

MINORS = sorted(ROWS)


@pytest.mark.parametrize("minor", MINORS)
def test_garbage(minor: tuple[int, int]) -> None:
    for seed in range(3):
        memory = Garbage(seed)
        layout = layout_of(minor)
        reprs, variables = Reprs(memory, layout), Variables(memory, layout)
        frames = Frames(memory, layout, code_type=0, guess_bytes=0)
        for address in range(0, SIZE, 8 * 31):
            memory.reads = 0
            text = reprs.text(address)
            assert len(text) <= LENGTH_LIMIT
            assert memory.reads < 100_000
            try:
                assert len(variables.of(Frame(address, address + 8, 0))) <= VARIABLES_LIMIT
            except MemoryFault:
                pass
            try:
                assert len(frames.under(address, 1000)) <= 1000
            except MemoryFault:
                pass
