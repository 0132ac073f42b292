"""Layouts: one row per version, and nothing that a process publishes is believed unchecked."""

import struct

import pytest
from onlooker.errors import UnsupportedPython
from onlooker.runtime.debug_offsets import COOKIE, Published
from onlooker.runtime.layout_rows import LINE_TABLE, ROWS, TABLE_SIZE
from onlooker.runtime.layouts import NONE, PUBLISHED_SIZE, resolve

MINORS = sorted(ROWS)
PUBLISHING = sorted(TABLE_SIZE)
STRUCTURE_BYTES = 4096
PUBLISHED_COLUMNS = [
    pytest.param(minor, column, place, id=f"{minor[0]}.{minor[1]}-{column}")
    for minor in PUBLISHING
    for column, place in ROWS[minor].items()
    if isinstance(place, Published) and place.at != place.size_at
]


def version_hex(minor: tuple[int, int], micro: int = 3, level: int = 0xF) -> int:
    return minor[0] << 24 | minor[1] << 16 | micro << 8 | level << 4


def published_table(minor: tuple[int, int]) -> bytearray:
    """A table that a sound process could publish: all its structures are of STRUCTURE_BYTES."""
    table = bytearray(PUBLISHED_SIZE)
    struct.pack_into("<8sQQ", table, 0, COOKIE, version_hex(minor), 0)
    for index, place in enumerate(ROWS[minor].values()):
        if isinstance(place, Published):
            struct.pack_into("<Q", table, place.size_at, STRUCTURE_BYTES)
            if place.at != place.size_at:  # else it is at the end of its structure
                struct.pack_into("<Q", table, place.at, 1000 + 8 * index)
            if place.base_at:
                struct.pack_into("<Q", table, place.base_at, 500)
    return table


def test_versions() -> None:
    assert [(3, minor) for minor in range(8, 16)] == MINORS
    assert sorted(LINE_TABLE) == MINORS
    assert PUBLISHING == [(3, 13), (3, 14), (3, 15)]


def test_rows_have_the_same_columns() -> None:
    for minor in MINORS:
        assert ROWS[minor].keys() == ROWS[(3, 8)].keys()


@pytest.mark.parametrize("minor", [minor for minor in MINORS if minor not in TABLE_SIZE])
def test_unpublished_version_is_its_row(minor: tuple[int, int]) -> None:
    layout = resolve(version_hex(minor), None)
    assert (layout.version, layout.offsets) == (version_hex(minor), ROWS[minor])
    assert layout.line_table == LINE_TABLE[minor]
    assert resolve(version_hex(minor), b"ignored") == layout


@pytest.mark.parametrize("minor", PUBLISHING)
def test_published_offsets_come_from_the_process(minor: tuple[int, int]) -> None:
    layout = resolve(version_hex(minor), bytes(published_table(minor)))
    assert layout.offsets.keys() == ROWS[minor].keys()
    for index, (column, place) in enumerate(ROWS[minor].items()):
        published = 1000 + 8 * index
        if not isinstance(place, Published):
            assert layout.offsets[column] == place
        elif place.at == place.size_at:
            assert layout.offsets[column] == STRUCTURE_BYTES
        else:
            assert layout.offsets[column] == published - (500 if place.base_at else 0)


# The GIL is one per process up to 3.11 and one per interpreter afterwards, and so on: what the
# reader of stacks takes from the presence of a column.
@pytest.mark.parametrize("minor", MINORS)
def test_facts_of_versions(minor: tuple[int, int]) -> None:
    row = ROWS[minor]
    assert (row["runtime_gil"] == NONE) == (minor >= (3, 12))
    assert (row["interpreter_gil"] == NONE) == (minor < (3, 12))
    assert (row["thread_cframe"] != NONE) == (minor in ((3, 11), (3, 12)))
    assert (row["thread_current_frame"] == NONE) == (minor in ((3, 11), (3, 12)))
    assert (row["thread_native_thread_id"] == NONE) == (minor < (3, 11))
    assert (row["code_adaptive"] == NONE) == (minor < (3, 11))
    assert (row["code_qualname"] == NONE) == (minor < (3, 11))
    assert (row["code_version"] == NONE) == (minor < (3, 12))
    assert (row["interpreter_code_object_generation"] == NONE) == (minor < (3, 14))
    assert row["frame_lasti_scale"] == {(3, 8): 1, (3, 9): 1, (3, 10): 2}.get(minor, NONE)


@pytest.mark.parametrize(
    ("version", "name"),
    [(0, "0.0.0"), (0x020712F0, "2.7.18"), (0x030710F0, "3.7.16"), (0x031000F0, "3.16.0")],
)
def test_unknown_version_is_named(version: int, name: str) -> None:
    with pytest.raises(UnsupportedPython, match=rf"Python {name}; .*3\.8 to 3\.15"):
        resolve(version, None)


@pytest.mark.parametrize("level", [0xA, 0xB])
def test_alphas_and_betas_are_refused(level: int) -> None:
    with pytest.raises(UnsupportedPython, match=r"pre-release of Python 3\.12\.0"):
        resolve(version_hex((3, 12), 0, level), None)


def test_release_candidates_are_supported() -> None:
    assert resolve(version_hex((3, 12), 0, 0xC), None).offsets == ROWS[(3, 12)]


@pytest.mark.parametrize("minor", PUBLISHING)
def test_table_must_be_there_and_the_right_one(minor: tuple[int, int]) -> None:
    table = published_table(minor)
    version = version_hex(minor)
    for short in (None, b"", bytes(table[: TABLE_SIZE[minor] - 1])):
        with pytest.raises(UnsupportedPython, match="bytes instead of"):
            resolve(version, short)
    with pytest.raises(UnsupportedPython, match="begins with"):
        resolve(version, b"y" + bytes(table[1:]))
    with pytest.raises(UnsupportedPython, match="is of version"):
        resolve(version + 0x100, bytes(table))
    struct.pack_into("<Q", table, 16, 1)
    with pytest.raises(UnsupportedPython, match="free-threaded") as raised:
        resolve(version, bytes(table))
    assert raised.value.hint


@pytest.mark.parametrize(("minor", "column", "place"), PUBLISHED_COLUMNS)
def test_offset_outside_its_structure_is_refused(
    minor: tuple[int, int], column: str, place: Published
) -> None:
    def table_with(at: int, value: int) -> bytes:
        table = published_table(minor)
        struct.pack_into("<Q", table, at, value)
        return bytes(table)

    last = STRUCTURE_BYTES - place.width
    offsets = resolve(version_hex(minor), table_with(place.at, last)).offsets
    assert offsets[column] == last - (500 if place.base_at else 0)
    hostile = [(place.at, last + 1), (place.at, 1 << 63), (place.at, (1 << 64) - 1)]
    hostile += [(place.size_at, 0), (place.size_at, 1 << 32), (place.size_at, (1 << 64) - 1)]
    if place.base_at:
        hostile.append((place.base_at, STRUCTURE_BYTES))
    for at, value in hostile:
        with pytest.raises(UnsupportedPython, match="structure of"):
            resolve(version_hex(minor), table_with(at, value))
