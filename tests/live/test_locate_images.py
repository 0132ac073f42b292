"""The interpreter is found whatever became of its file."""

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import pytest
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection
from onlooker.runtime.elf_file import file_symbols
from onlooker.runtime.locate import locate
from onlooker.runtime.maps import read_maps

from tests.conftest import StartTarget
from tests.interpreters import Interpreter

FACTS = Path("facts.py")
#: For builds whose extension modules need the symbols that a test takes away.
PLAIN = "import sys; print(sys.hexversion, flush=True); sys.stdin.read()"


def static(interpreter: Interpreter) -> bool:
    return interpreter.kind in ("debian", "sid")


def copy_as(interpreter: Interpreter, path: Path, **patches: tuple[bytes, bytes]) -> Interpreter:
    """Copy the program under another name, with some of its bytes exchanged."""
    program = interpreter.path_outside(interpreter.path).resolve()
    content = program.read_bytes()
    for old, new in patches.values():
        assert old in content
        assert len(old) == len(new)
        content = content.replace(old, new)
    path.parent.mkdir()
    path.write_bytes(content)
    path.chmod(0o755)
    folder = interpreter.path_in_target(path.parent)
    return dataclasses.replace(interpreter, path=f"{folder}/{path.name}")


def file_of(interpreter: Interpreter) -> Path:
    """The file of a copy, as seen from here."""
    return interpreter.path_outside(interpreter.path)


def assert_located(pid: int, facts: dict[str, Any]) -> None:
    runtime = locate(pid)
    assert runtime.version == facts["version"]
    assert runtime.runtime_address == facts["runtime"]
    assert runtime.code_type_address == facts["code_type"]
    assert runtime.build_id
    runtime.close()


def test_program_of_another_name(
    interpreter: Interpreter, start_target: StartTarget, tmp_path: Path
) -> None:
    renamed = copy_as(interpreter, tmp_path / "bin" / "myapp")
    target = start_target(renamed, FACTS)
    facts = target.read_json()
    assert_located(target.pid, facts)
    runtime = locate(target.pid)
    assert runtime.identity.executable == renamed.path
    assert runtime.identity.program == "myapp"
    if static(interpreter):
        assert runtime.image_path == renamed.path
    runtime.close()


@pytest.mark.parametrize("replaced", [False, True])
def test_program_deleted_or_replaced_while_it_runs(
    interpreter: Interpreter, start_target: StartTarget, tmp_path: Path, replaced: bool
) -> None:
    copy = copy_as(interpreter, tmp_path / "bin" / "python3")
    target = start_target(copy, FACTS)
    facts = target.read_json()
    file_of(copy).unlink()
    if replaced:
        shutil.copyfile("/bin/true", file_of(copy))
    assert_located(target.pid, facts)
    runtime = locate(target.pid)
    assert runtime.identity.deleted
    assert runtime.identity.executable == copy.path
    runtime.close()


@pytest.mark.interpreters(kinds=("pyenv",))
@pytest.mark.parametrize("name", ["libpython{}.so.1.0", "libmyapp.so"])
def test_library_deleted_while_it_is_used(
    interpreter: Interpreter, start_target: StartTarget, tmp_path: Path, name: str
) -> None:
    minor = f"{interpreter.version[0]}.{interpreter.version[1]}"
    original = Path(interpreter.path).resolve().parent.parent / f"lib/libpython{minor}.so.1.0"
    copy = tmp_path / name.format(minor)
    shutil.copyfile(original, copy)
    # It has the same SONAME as the one that the program asks for, so only this one is loaded.
    target = start_target(interpreter, FACTS, env={"LD_PRELOAD": str(copy)})
    facts = target.read_json()
    copy.unlink()
    mapped = {region.path for region in read_maps(target.pid)}
    assert f"{copy} (deleted)" in mapped
    assert str(original) not in mapped
    assert_located(target.pid, facts)
    runtime = locate(target.pid)
    assert runtime.image_path == str(copy)
    runtime.close()


def address_in_file(path: Path, name: str) -> int:
    with path.open("rb") as file:
        table = ELFFile(file).get_section_by_name(".dynsym")
        assert isinstance(table, SymbolTableSection)
        symbols = table.get_symbol_by_name(name)
        assert symbols and len(symbols) == 1
        return int(symbols[0]["st_value"])


def original_address(interpreter: Interpreter) -> int:
    """Where the program's own symbol table has _PyRuntime; static builds here are not PIE."""
    return address_in_file(interpreter.path_outside(interpreter.path), "_PyRuntime")


SYMBOL = (b"\0_PyRuntime\0", b"\0_PyRuntimX\0")
SECTION = (b"\0.PyRuntime\0", b"\0.PyRuntimX\0")


@pytest.mark.interpreters(kinds=("debian", "sid"))
@pytest.mark.parametrize("deleted", [False, True])
def test_program_that_exports_no_symbol(
    interpreter: Interpreter, start_target: StartTarget, tmp_path: Path, deleted: bool
) -> None:
    # Found by the section .PyRuntime of the file.
    copy = copy_as(interpreter, tmp_path / "bin" / "myapp", symbol=SYMBOL)
    target = start_target(copy, PLAIN)
    version = int(target.read_line())
    if deleted:
        file_of(copy).unlink()
    runtime = locate(target.pid)
    assert runtime.version == version
    assert runtime.runtime_address == original_address(interpreter)
    runtime.close()


@pytest.mark.interpreters(since=(3, 13), kinds=("sid",))
def test_program_without_symbol_and_section(
    interpreter: Interpreter, start_target: StartTarget, tmp_path: Path
) -> None:
    # Found by the cookie at the start of its _Py_DebugOffsets.
    copy = copy_as(interpreter, tmp_path / "bin" / "myapp", symbol=SYMBOL, section=SECTION)
    target = start_target(copy, PLAIN)
    version = int(target.read_line())
    runtime = locate(target.pid)
    assert runtime.version == version
    assert runtime.runtime_address == original_address(interpreter)
    assert runtime.code_type_address  # a running frame shows it
    runtime.close()


@pytest.mark.interpreters(kinds=("pyenv",))
def test_full_symbol_table(interpreter: Interpreter, tmp_path: Path) -> None:
    minor = f"{interpreter.version[0]}.{interpreter.version[1]}"
    path = Path(interpreter.path).resolve().parent.parent / f"lib/libpython{minor}.so.1.0"
    names = ["_PyRuntime", "PyCode_Type"]
    expected = {name: address_in_file(path, name) for name in names}
    with path.open("rb") as file:
        assert file_symbols(file, names) == expected
    # Without the dynamic symbols, by .symtab alone.
    hidden = tmp_path / "lib.so"
    hidden.write_bytes(path.read_bytes().replace(b"\0.dynsym\0", b"\0.dynsyX\0"))
    with hidden.open("rb") as file:
        assert file_symbols(file, names) == expected
