"""The rules of the house that no compiler checks."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.interpreters import ROOT

PACKAGE = ROOT / "agent" / "onlooker"

_ALL_BELOW = {
    "version",
    "errors",
    "permission",
    "runtime",
    "observe",
    "profile",
    "outputs",
    "profiles",
    "snapshots",
    "tracebacks",
    "recording",
    "target",
    "memory",
    "heap",
    "holders",
}

#: What each part of the package may import of the others; "" is the package itself.
MAY_IMPORT = {
    "version": set[str](),
    "errors": set[str](),
    "permission": {"errors"},
    "uncollected": set[str](),
    "memory": {"errors", "permission"},
    "room": set[str](),
    "runtime": {"errors", "permission", "memory"},
    "traces": {"errors", "frozen", "memory", "runtime"},
    "heap": {"errors", "frozen", "memory", "traces", "observe", "profile", "runtime"},
    "holders": {"errors", "heap", "memory", "observe", "runtime"},
    "frozen": {"errors", "permission", "memory", "room", "runtime", "_native"},
    "profile": {"uncollected"},
    "outputs": {"version", "errors", "profile"},
    "observe": {"errors", "permission", "memory", "runtime", "profile", "uncollected", "_native"},
    "profiles": {"errors", "profile", "outputs"},
    "snapshots": {"errors", "outputs"},
    "tracebacks": {"profile"},
    "recording": {"errors", "observe", "profile"},
    "about": {"version", "observe", "profile", "recording", "runtime"},
    "sampling": {"errors", "about", "observe", "profile", "recording", "runtime"},
    "moment": {"errors", "about", "observe", "profile", "recording", "runtime"},
    "target": {
        *("errors", "memory", "runtime", "observe", "profile"),
        *("about", "recording", "sampling"),
        *("moment", "profiles", "tracebacks", "watch", "heap"),  # which its methods start
    },
    "watch": {"errors", "observe", "profile", "target"},
    "__init__": {"version", "errors", "profile", "outputs", "target"},
    "cli": {"", "server", *_ALL_BELOW},
    "server": {"", "watch", *_ALL_BELOW},
    "__main__": {"cli"},
}

#: The only files that know that one version of CPython differs from another.
KNOW_VERSIONS = {"runtime/layouts.py", "runtime/layout_rows.py"}

MAX_LINES = 500
GENERATED = re.compile(r"_pb2\.pyi?$|/layout_rows\.py$")


def modules() -> Iterator[tuple[Path, ast.Module]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        yield path.relative_to(PACKAGE), ast.parse(path.read_bytes(), str(path))


def tracked_files() -> list[Path]:
    """The files of the repository; skips the test where there is none, as in an unpacked sdist."""
    listing = subprocess.run(
        ["git", "-C", ROOT, "ls-files", "-z"], capture_output=True, text=True, check=False
    )
    if listing.returncode != 0:
        pytest.skip(f"not a git repository: {listing.stderr.strip()}")
    files = [ROOT / name for name in listing.stdout.split("\0") if name]
    return [file for file in files if file.is_file()]


def part_of(module: Path) -> str:
    return module.parts[0].removesuffix(".py")


def imported_parts(module: Path, tree: ast.Module) -> Iterator[str]:
    """The parts of the package that a module imports; "" is the package itself."""
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = ["onlooker", *module.parts][: -node.level] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            names = [f"{base}.{alias.name}" for alias in node.names]
        for name in names:
            package, _, rest = name.partition(".")
            if package == "onlooker":
                part = rest.partition(".")[0]
                is_part = (PACKAGE / part).is_dir() or (PACKAGE / f"{part}.py").exists()
                yield part if is_part or part == "_native" else ""


def test_imports_follow_the_layers() -> None:
    seen = set()
    for module, tree in modules():
        part = part_of(module)
        seen.add(part)
        assert part in MAY_IMPORT, f"{module} is of no layer: what may it import?"
        imported = set(imported_parts(module, tree)) - {part}
        assert imported <= MAY_IMPORT[part], f"{module} imports {imported - MAY_IMPORT[part]}"
    assert {"errors", "memory", "runtime", "profile", "outputs"} <= seen


@pytest.mark.parametrize("command", ["attach", "dump", "heap", "list", "run"])
def test_commands_start_without(command: str) -> None:
    """Each class of dataclasses takes a millisecond, and to load inspect, as that does, ten."""
    code = f"""
import sys
import onlooker.cli
assert onlooker.cli.main(["{command}", "--no-such-option"]) == 2
import onlooker.cli.{command}
assert not {{"dataclasses", "inspect"}} & {{*sys.modules}}
"""
    subprocess.run([sys.executable, "-c", code], stderr=subprocess.DEVNULL, check=True)


def test_profile_model_imports_nothing_of_ours() -> None:
    tree = ast.parse((PACKAGE / "profile" / "model.py").read_bytes())
    assert list(imported_parts(Path("profile/model.py"), tree)) == []


def asks_for_version(comparison: ast.Compare) -> bool:
    """Whether it orders something named for a version, or compares with 0x030B0000 or (3, 11)."""
    orders = any(isinstance(op, ast.Lt | ast.LtE | ast.Gt | ast.GtE) for op in comparison.ops)
    for operand in (comparison.left, *comparison.comparators):
        match operand:
            case ast.Constant(value=int(number)) if 0x03000000 <= number < 0x04000000:
                return True
            case ast.Tuple(elts=[ast.Constant(value=3), *_]):
                return True
            case ast.Name(id=name) | ast.Attribute(attr=name) if orders:
                if re.fullmatch(r"(.*_)?(hexversion|minor|version|version_info)", name):
                    return True
    return False


def test_only_layouts_know_versions() -> None:
    for module, tree in modules():
        if module.as_posix() not in KNOW_VERSIONS:
            asking = [
                node.lineno
                for node in ast.walk(tree)
                if isinstance(node, ast.Compare) and asks_for_version(node)
            ]
            assert not asking, f"{module}:{asking[0]} asks for a version, not for a fact"


def test_native_code_knows_no_versions() -> None:
    asks = re.compile(r"version\b *([<>]|[=!]= *\d)|\b0x03[0-9a-f]{6}\b", re.IGNORECASE)
    for path in sorted((ROOT / "native").glob("*.[ch]")):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            where = f"{path.name}:{number}"
            assert not asks.search(line), f"{where} asks for a version, not for a fact"


def test_no_file_is_long() -> None:
    for path in tracked_files():
        if path.suffix in {".py", ".c", ".h"} and not GENERATED.search(str(path)):
            length = path.read_bytes().count(b"\n")
            assert length <= MAX_LINES, f"{path} has {length} lines: is it still one idea?"


def test_tracked_files_name_no_machine() -> None:
    homes = "|".join(re.escape(f"{folder}/") for folder in (Path.home(), ROOT) if folder.name)
    of_a_machine = re.compile(rf"(?<![\w.-])({homes})|https?://[^\s/]*(pypi|debian)\b".encode())
    for path in tracked_files():
        found = of_a_machine.search(path.read_bytes())
        assert found is None, f"{path} has {found.group().decode() if found else ''}"


def test_tests_wait_for_lines_and_not_for_time() -> None:
    for path in tracked_files():
        if path.name.startswith(("test_", "conftest")) and path != Path(__file__).resolve():
            assert b"time.sleep(" not in path.read_bytes(), f"{path} sleeps"
