"""Versions from numbers, texts and file names."""

import sys

import pytest
from onlooker.runtime.version import (
    version_hex,
    version_in_banner,
    version_in_paths,
    version_text,
)


class Bytes:
    """Memory that starts at address 0x1000."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def read(self, address: int, length: int) -> bytes:
        return self.data[address - 0x1000 :][:length]


def banner_version(text: bytes, before: bytes = bytes(64)) -> int:
    data = before + text + bytes(64)
    return version_in_banner(Bytes(data), [(0x1000, 0x1000 + len(data))])


def test_version_of_this_python() -> None:
    info = sys.version_info
    level = {"alpha": "a", "beta": "b", "candidate": "rc", "final": ""}[info.releaselevel]
    assert version_hex(info.major, info.minor, info.micro, level, info.serial) == sys.hexversion
    assert banner_version(sys.version.encode()) == sys.hexversion
    assert sys.version.startswith(version_text(sys.hexversion))


@pytest.mark.parametrize(
    ("banner", "version"),
    [
        (b"3.8.18 (default, May  1 2026, 10:00:00) \n[GCC 12.2.0]", "3.8.18"),
        (b"3.10.4+ (heads/3.10:abc, May  1 2026, 10:00:00) [Clang 14.0.6 ]", "3.10.4"),
        (b"3.9.0rc2 (default, Sep  1 2020, 10:00:00) [GCC 9.3.0]", "3.9.0rc2"),
        (
            b"3.9.7 | packaged by conda-forge | (default, Sep 1 2021, 10:00:00) \n[GCC 9.4.0]",
            "3.9.7",
        ),
        (b"2.7.18 (default, May  1 2026, 10:00:00) \n[GCC 12.2.0]", "2.7.18"),
    ],
)
def test_banners(banner: bytes, version: str) -> None:
    assert version_text(banner_version(banner)) == version
    # Also where it crosses from one read into the next.
    assert version_text(banner_version(banner, bytes((1 << 20) - 20))) == version


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"3.8.18",
        b"3.8.18 (default)",
        b"13.8.18 (x) [GCC]",
        b"1.3.8.18 (x) [GCC]",
        b"3.8 (x) [",
    ],
)
def test_texts_that_are_no_banner(text: bytes) -> None:
    assert banner_version(text) == 0


@pytest.mark.parametrize(
    ("path", "version"),
    [
        ("libpython3.8.so.1.0", 0x030800F0),
        ("/usr/bin/python3.10", 0x030A00F0),
        ("/usr/lib/python3.9/lib-dynload/_json.so", 0x030900F0),
        ("/app/_json.cpython-310-x86_64-linux-gnu.so", 0x030A00F0),
        ("/app/_json.cpython-38-x86_64-linux-gnu.so", 0x030800F0),
        ("/usr/bin/python3", 0),
        ("/usr/bin/micropython3.4", 0),
        ("/usr/lib/libc.so.6", 0),
    ],
)
def test_paths(path: str, version: int) -> None:
    assert version_in_paths(["/usr/lib/libm.so.6", path]) == version
