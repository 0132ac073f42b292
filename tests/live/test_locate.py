"""The interpreter that is found in a process is the one that the process says it runs."""

import struct
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from elftools.elf.elffile import ELFFile
from onlooker.errors import UnsupportedPython
from onlooker.memory import ProcessMemory
from onlooker.runtime.checks import self_check
from onlooker.runtime.elf import LoadedElf
from onlooker.runtime.layouts import NONE
from onlooker.runtime.locate import Runtime, locate
from onlooker.runtime.maps import read_maps
from onlooker.runtime.threads import native_thread_ids, pthread_tid_offset
from onlooker.runtime.version import version_in_banner

from tests.conftest import StartTarget
from tests.interpreters import Interpreter, Target
from tests.kernel import children

FACTS = Path("facts.py")


def assert_located(runtime: Runtime, facts: dict[str, Any]) -> None:
    assert runtime.version == facts["version"]
    assert runtime.runtime_address == facts["runtime"]
    assert runtime.code_type_address == facts["code_type"]
    assert runtime.identity.executable == facts["executable"]
    assert runtime.identity.ns_pid == facts["pid"]


def test_every_interpreter(interpreter: Interpreter, start_target: StartTarget) -> None:
    started_ns = time.time_ns()
    target = start_target(interpreter, FACTS, "an argument", "")
    facts = target.read_json()
    runtime = locate(target.pid)
    assert_located(runtime, facts)
    identity = runtime.identity
    assert identity.argv[1:] == tuple(facts["argv"])
    assert identity.program == "facts"
    assert not identity.deleted
    assert identity.in_other_mount_namespace == (interpreter.root is not None)
    assert not identity.in_other_pid_namespace
    assert started_ns - 10**9 < identity.start_time_ns < time.time_ns() + 10**9
    assert (runtime.published is not None) == (interpreter.version >= (3, 13))
    # The image is in the file that the target itself would open, and has the build id of it.
    with interpreter.path_outside(runtime.image_path).open("rb") as file:
        elf: Any = ELFFile(file)
        (symbol,) = elf.get_section_by_name(".dynsym").get_symbol_by_name("_PyRuntime")
        (note,) = elf.get_section_by_name(".note.gnu.build-id").iter_notes()
        assert symbol["st_shndx"] != "SHN_UNDEF"
        assert runtime.build_id == note["n_desc"]
    runtime.close()


def test_version_in_text(interpreter: Interpreter, start_target: StartTarget) -> None:
    # Only up to 3.10 the text is what tells the version, but every version has it.
    target = start_target(interpreter, FACTS)
    facts = target.read_json()
    runtime = locate(target.pid)
    regions = read_maps(target.pid)
    (start,) = {
        image.start
        for image in regions
        if image.offset == 0 and image.path.endswith(runtime.image_path)
    }
    image = LoadedElf(runtime.memory, start)
    assert version_in_banner(runtime.memory, image.writable) == facts["version"]
    runtime.close()


def test_native_thread_ids(interpreter: Interpreter, start_target: StartTarget) -> None:
    target = start_target(interpreter, FACTS)
    native = {int(ident): tid for ident, tid in target.read_json()["native_ids"].items()}
    assert len(native) == 4
    assert native_thread_ids(target.pid) == {tid: tid for tid in native.values()}
    memory = ProcessMemory(target.pid)
    offset = pthread_tid_offset(memory, native, native.values())
    for ident, tid in native.items():
        assert struct.unpack("<i", memory.read(ident + offset, 4)) == (tid,)
    memory.close()


@pytest.mark.parametrize(
    ("column", "change"),
    [("thread_interp", 8), ("frame_executable", 16), ("object_type", 16), ("thread_next", 8)],
)
def test_layout_that_does_not_fit(
    interpreter: Interpreter, start_target: StartTarget, column: str, change: int
) -> None:
    target = start_target(interpreter, FACTS)
    target.read_json()
    runtime = locate(target.pid)
    layout, address = runtime.layout, runtime.runtime_address
    assert self_check(runtime.memory, address, layout) == runtime.code_type_address
    wrong = {**layout.offsets, column: layout.offsets[column] + change}
    with pytest.raises(UnsupportedPython, match="not those of a regular build"):
        self_check(runtime.memory, address, layout._replace(offsets=wrong))
    runtime.close()


def in_pid_namespace(argv: list[str]) -> Target:
    """Start a command as process 1 of a pid namespace with a /proc of its own."""
    return Target(["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "--", *argv])


def test_pid_namespace(interpreter: Interpreter) -> None:
    program = interpreter.path_in_target(Path(__file__).parent.parent / "programs" / FACTS)
    with in_pid_namespace(interpreter.argv(program)) as namespace:
        facts = namespace.read_json()
        (pid,) = children(namespace.pid)
        runtime = locate(pid)
        assert_located(runtime, facts)
        assert runtime.pid == pid
        assert runtime.identity.ns_pid == 1
        assert runtime.identity.in_other_pid_namespace
        native = {int(ident): tid for ident, tid in facts["native_ids"].items()}
        threads = native_thread_ids(pid)
        assert set(threads) == set(native.values())
        assert threads[1] == pid
        assert set(threads.values()) == {int(t.name) for t in Path(f"/proc/{pid}/task").iterdir()}
        assert pthread_tid_offset(runtime.memory, native, threads) != NONE
        runtime.close()


@pytest.mark.interpreters(since=(3, 9), until=(3, 13), kinds=("pyenv",))
def test_second_python_in_the_process(interpreter: Interpreter, start_target: StartTarget) -> None:
    lib = Path(interpreter.path).resolve().parent.parent / "lib"
    other = next(Path(sys.base_prefix).parent.glob("3.8.*/lib/libpython3.8.so.1.0"), None)
    if other is None:
        pytest.skip("no libpython3.8 is here")
    assert other.parent != lib
    target = start_target(
        interpreter,
        f"""
        import ctypes, sys
        ctypes.CDLL({str(other)!r})
        print(sys.hexversion, flush=True)
        input()
        """,
    )
    version = int(target.read_line())
    assert "libpython3.8" in Path(f"/proc/{target.pid}/maps").read_text()
    runtime = locate(target.pid)
    assert runtime.version == version
    assert Path(runtime.image_path).parent == lib
    runtime.close()
