"""Lines of /proc/PID/maps."""

import mmap
import os
from pathlib import Path

from onlooker.runtime.maps import Region, image_starts, parse_region, read_maps


def test_line_with_odd_file_name() -> None:
    line = "7f00-7f01000 r-xp 0001a000 08:01 42      /srv/a b\\012c  (deleted)\n"
    region = parse_region(line)
    assert region == Region(
        0x7F00, 0x7F01000, "r-xp", 0x1A000, "08:01", 42, "/srv/a b\nc  (deleted)"
    )
    assert region.name == "a b\nc "


def test_line_without_file() -> None:
    assert parse_region("10-20 rw-p 00000000 00:00 0 \n").path == ""
    assert parse_region("10-20 rw-p 00000000 00:00 0\n").path == ""


def test_own_map_has_a_mapping_made_here(tmp_path: Path) -> None:
    path = tmp_path / "a\nb (deleted)"
    path.write_bytes(bytes(3 * mmap.PAGESIZE))
    with (
        path.open("rb") as file,
        mmap.mmap(file.fileno(), 2 * mmap.PAGESIZE, prot=mmap.PROT_READ, offset=mmap.PAGESIZE),
    ):
        (region,) = [r for r in read_maps(os.getpid()) if r.path == str(path)]
    assert region.end - region.start == 2 * mmap.PAGESIZE
    assert region.offset == mmap.PAGESIZE
    assert region.permissions == "r--s"
    assert region.inode == path.stat().st_ino


def test_images_to_look_at_first() -> None:
    def region(inode: int, path: str, permissions: str = "r-xp", offset: int = 0) -> Region:
        start = 0x1000 * inode
        return Region(start, start + 0x1000, permissions, offset, "08:01", inode, path)

    program = region(3, "/opt/myapp (deleted)")
    library = region(2, "/usr/lib/libpython3.12.so.1.0")
    other = region(1, "/usr/lib/libc.so.6")
    regions = [
        other,
        library,
        program,
        region(1, "/usr/lib/libc.so.6", offset=0x1000),
        region(4, "/usr/share/data", "r--p"),
        region(0, "[vdso]"),
    ]
    assert image_starts(regions, "/opt/myapp") == [program, library, other]
