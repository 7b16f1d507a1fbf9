"""The layers of the package, its pure modules and its import graph, derived from where the files stand.

A new module is covered by the room it is put in. It is held to be pure, that is without gevent, sockets, blinker and
clocks, in a room of `PURE_ROOMS`, or where its docstring says "Pure.". Where an import upwards keeps even the other
tests from being loaded, ``pytest --noconftest tests/test_architecture.py`` names it.
"""

from __future__ import annotations

import ast
import subprocess
import sys
import typing
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parent.parent / "geventbt"

GROUND = "ground"
"""The modules beside the rooms: errors, limits, signals and their like."""
TOOLS = {GROUND, "net", "rates", "concurrency"}

MAY_IMPORT = {
    GROUND: {GROUND},
    "net": TOOLS,
    "rates": TOOLS,
    "concurrency": TOOLS,
    "protocol": TOOLS | {"protocol"},
    "metainfo": TOOLS | {"metainfo"},
    "discovery": TOOLS | {"protocol", "discovery"},
    "storage": TOOLS | {"metainfo", "storage"},
    "wire": TOOLS | {"protocol", "wire", "extensions"},
    "extensions": TOOLS | {"protocol", "wire", "extensions"},
    "client": TOOLS | {"protocol", "metainfo", "discovery", "storage", "wire", "extensions", "client"},
    "service": TOOLS | {"metainfo", "storage", "client", "service"},
    "web": TOOLS | {"metainfo", "storage", "client", "service", "web"},
    "cli": TOOLS | {"metainfo", "storage", "wire", "client", "service", "web", "cli"},
}
"""The rooms that a room may import from (the plan's table of layers, from the ground up)."""

PURE_ROOMS = ("protocol", "metainfo", "client/pieces")
IMPURE = {"gevent", "socket", "ssl", "select", "blinker", "time"}
"""What a pure module does not import: the time is an argument. `metainfo` may open files, the others may not."""
NO_STRUCT = ("client", "cli", "service", "web")
"""Rooms that know no bytes of the wire."""
NO_SOCKETS = ("cli", "service", "web", "metainfo", "storage")


def modules() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py") if path.name != "__main__.py")


def relative(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def name_of(path: Path) -> str:
    """The dotted name of a module."""
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room_of(module: str) -> str:
    """The room of a dotted name."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and (PACKAGE / parts[1]).is_dir() else GROUND


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def is_pure(path: Path) -> bool:
    in_pure_room = any(relative(path).startswith(f"{room}/") for room in PURE_ROOMS)
    return in_pure_room or "Pure." in (ast.get_docstring(tree_of(path)) or "")


@cache
def imports_of(path: Path) -> frozenset[tuple[str, str]]:
    """Every (module, name) that is imported: at run time, inside functions, and for type checkers alone."""
    found: set[tuple[str, str]] = set()
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            found |= {(alias.name, "") for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            found |= {(node.module or "", alias.name) for alias in node.names}
    return frozenset(found)


@cache
def modules_imported_by(path: Path) -> frozenset[str]:
    """The modules of the package that one imports, by their dotted names."""
    known = {name_of(other) for other in modules()}
    targets = {f"{module}.{name}" if f"{module}.{name}" in known else module for module, name in imports_of(path)}
    return frozenset(target for target in targets & known if target != "geventbt")


INSIDE = [path for path in modules() if path != PACKAGE / "__init__.py"]
"""All modules but the list of public names, which reaches everywhere, lazily."""


def faults(rule: Callable[[Path, str], Iterator[str]]) -> str:
    """What a rule finds wrong, a line for each fault. It is given each module and its room."""
    return "\n".join(
        f"geventbt/{relative(path)} {fault}" for path in INSIDE for fault in rule(path, room_of(name_of(path)))
    )


def test_a_module_imports_only_from_rooms_below() -> None:
    def rule(path: Path, room: str) -> Iterator[str]:
        for module in modules_imported_by(path):
            if room_of(module) not in MAY_IMPORT[room]:
                below = ", ".join(sorted(MAY_IMPORT[room]))
                yield (
                    f"imports {module}, but {room} may only import from {below}: have the caller pass in what is "
                    "needed, as a Protocol if need be, or move one of the two"
                )

    assert faults(rule) == ""


def test_a_module_imports_no_private_name_of_another() -> None:
    def rule(path: Path, room: str) -> Iterator[str]:
        for module, name in imports_of(path):
            parts = [*module.split("."), name]
            is_private = any(part.startswith("_") and not part.startswith("__") for part in parts)
            if parts[0] == "geventbt" and is_private and "_version" not in parts:
                yield f"imports {module}.{name}, which is private: drop the underscore, or move what needs it there"

    assert faults(rule) == ""


def test_a_module_stays_away_from_what_its_room_does_not_know() -> None:
    def rule(path: Path, room: str) -> Iterator[str]:
        tops = {module.split(".")[0] for module, _ in imports_of(path)}
        if is_pure(path) and tops & IMPURE:
            yield (
                f"imports {', '.join(sorted(tops & IMPURE))}, but is pure, by its room or by 'Pure.' in its docstring: "
                "take the time, random numbers and what does the I/O as arguments"
            )
        if room in NO_STRUCT and "struct" in tops:
            yield f"imports struct, but {room} knows no bytes of the wire: they belong into protocol"
        if room in NO_SOCKETS and "socket" in tops:
            yield f"imports socket, but {room} opens none: sockets belong into net"

    assert faults(rule) == ""


def test_no_two_modules_import_each_other_not_even_by_way_of_others() -> None:
    graph = {name_of(path): modules_imported_by(path) for path in INSIDE}
    found = circles(graph)
    assert found == [], f"these import each other in a circle, for type checkers or at run time: {found}"


def circles(graph: dict[str, frozenset[str]]) -> list[list[str]]:
    """The import circles of a graph: what is left when all that leads nowhere has been taken away, again and again."""
    left = {module: set(targets) & set(graph) for module, targets in graph.items()}
    while True:
        ends = {module for module, targets in left.items() if not targets - {module}}
        if not ends:
            break
        left = {module: targets - ends for module, targets in left.items() if module not in ends}
    while True:
        sources = set(left) - set().union(*left.values())
        if not sources:
            break
        left = {module: targets for module, targets in left.items() if module not in sources}
    return [sorted(left)] if left else []


def test_a_circle_is_found_where_there_is_one() -> None:
    graph = {"a": frozenset({"b"}), "b": frozenset({"c"}), "c": frozenset({"b", "d"}), "d": frozenset()}
    assert circles(graph) == [["b", "c"]]


def test_the_pure_modules_bring_in_no_gevent() -> None:
    pure = [name_of(path) for path in INSIDE if is_pure(path)]
    code = (
        f"import importlib, sys\nfor name in {pure!r}:\n    importlib.import_module(name)\n"
        "    found = {'gevent', 'blinker'} & set(sys.modules)\n    assert not found, (name, found)"
    )
    outcome = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert outcome.returncode == 0, outcome.stderr


def test_importing_the_package_is_lazy_and_patches_nothing() -> None:
    code = "import geventbt, socket, sys; sys.exit('gevent' in sys.modules or 'gevent' in socket.socket.__module__)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_using_the_package_patches_nothing() -> None:
    code = (
        "import geventbt, sys; geventbt.connect, geventbt.listen, geventbt.download;"
        "from gevent import monkey; sys.exit(bool(monkey.saved))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_using_the_package_loads_nothing_that_only_type_checkers_need() -> None:
    code = (
        "import geventbt, sys; geventbt.connect, geventbt.listen, geventbt.Client, geventbt.UtPex;"
        "sys.exit(any(name.endswith(('signal_types', 'signal_fields')) for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_every_public_name_can_be_had() -> None:
    import geventbt

    for name in geventbt.__all__:
        assert getattr(geventbt, name) is not None


def test_every_public_name_has_a_docstring() -> None:
    import geventbt

    for name in geventbt.__all__:
        value = getattr(geventbt, name)
        # A Literal has none of its own; it stands below the alias.
        if not name.startswith("_") and typing.get_origin(value) is not typing.Literal:
            assert value.__doc__, f"{name} is public and has no docstring"


def test_type_checkers_and_the_interpreter_see_the_same_names() -> None:
    import geventbt

    (block,) = (node for node in tree_of(PACKAGE / "__init__.py").body if isinstance(node, ast.If))
    declared = {
        alias.asname: node.module for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    lazy = {name: module for name, module in declared.items() if module != "geventbt"}
    different = {name for name, _ in lazy.items() ^ geventbt._EXPORTS.items()}
    assert different == set(), "in geventbt/__init__.py a public name is both in _EXPORTS and below TYPE_CHECKING"
    assert set(declared) | {"__version__"} == set(geventbt.__all__)
