"""What CONTRIBUTING.md and docs/how-it-works.md say of the code is so."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from inspect import signature

from geventbt import Client, signals
from tests.documents import DOCUMENTS, ROOT

PACKAGE = ROOT / "geventbt"
CONTRIBUTING = DOCUMENTS["CONTRIBUTING"]
HOW_IT_WORKS = DOCUMENTS["how-it-works"].text


def test_the_layout_has_every_folder_and_every_module_beside_them() -> None:
    shown = set(re.findall(r"\b(\w+(?:/|\.py))(?=\s)", CONTRIBUTING.sections["Layout"].split("```")[1])) - {"geventbt/"}
    folders = {f"{path.parent.name}/" for path in PACKAGE.glob("*/__init__.py")}
    modules = {path.name for path in PACKAGE.glob("*.py")} - {"__init__.py", "__main__.py"}
    assert shown == folders | modules


def test_every_folder_of_tests_is_told_of() -> None:
    folders = {f"tests/{path.name}/" for path in (ROOT / "tests").iterdir() if any(path.rglob("*.*"))}
    folders = {folder for folder in folders if (ROOT / folder).is_dir() and "__pycache__" not in folder}
    assert folders <= set(re.findall(r"`(tests/\w+/)`", CONTRIBUTING.sections["Tests"]))


def test_every_script_is_told_of() -> None:
    shown = re.findall(r"`(\w+\*?\.py)`", CONTRIBUTING.sections["Scripts"])
    examples = re.findall(r"`scripts/(\w+\.py)`", DOCUMENTS["README"].text)
    told = {path.name for pattern in [*shown, *examples] for path in (ROOT / "scripts").glob(pattern)}
    assert {path.name for path in (ROOT / "scripts").glob("*.py")} == told


@cache
def definitions() -> dict[str, set[str]]:
    """The names that the package defines outside functions, each with those of its attributes if it is a class."""
    found: dict[str, set[str]] = {}
    for path in PACKAGE.rglob("*.py"):
        for node in ast.parse(path.read_text()).body:
            for name in names_of(node):
                found.setdefault(name, set()).update(attributes_of(node))
    return found


def names_of(node: ast.stmt) -> Iterator[str]:
    """The names that a statement defines."""
    if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
        yield node.name
    elif isinstance(node, (ast.Assign, ast.AnnAssign)):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        yield from (target.id for target in targets if isinstance(target, ast.Name))


def attributes_of(node: ast.stmt) -> Iterator[str]:
    """The names of the attributes of a class: of itself, and those that its methods give to an instance."""
    if isinstance(node, ast.ClassDef):
        yield from (name for inner in node.body for name in names_of(inner))
        attributes = (inner for inner in ast.walk(node) if isinstance(inner, ast.Attribute))
        yield from (inner.attr for inner in attributes if ast.unparse(inner.value) == "self")


def is_known(code: str) -> bool:
    """Whether there is such a file or folder, class, attribute of a class, function, or argument of a public call."""
    if code.endswith((".py", "/", ".md")):
        places = [ROOT / code, PACKAGE / code, *PACKAGE.rglob(code.rstrip("/"))]
        return any(place.exists() for place in places)
    name, _, attribute = code.partition(".")
    if name in definitions():
        return not attribute or attribute in definitions()[name]
    return code in {*signals.TORRENT_SIGNALS, *signature(Client.add).parameters, "typing.Protocol"}


def test_every_name_of_how_it_works_exists() -> None:
    text = re.sub(r"^```.*?^```$", "", HOW_IT_WORKS, flags=re.DOTALL | re.MULTILINE)
    codes = [code for code in re.findall(r"`([^`]+)`", text) if not code.startswith("python ")]
    assert len(codes) > 80
    assert [code for code in codes if not is_known(code)] == []


def test_every_part_in_the_tree_of_how_it_works_exists() -> None:
    parts = re.findall(r"^(?:[│ ]*[├└]── )?(\w+)  +\S", HOW_IT_WORKS.split("```")[1], re.MULTILINE)
    assert len(parts) > 15
    assert [part for part in parts if part not in definitions()] == []
