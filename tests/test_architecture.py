"""The layers of the package, checked by its imports: an arrow goes only downwards, and the pure modules stay pure."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "geventbt"

LAYERS = [
    {"_version", "errors", "limits", "signals", "bencoding", "peer_id", "geometry"},
    {"concurrency", "rates", "net"},
    {"protocol"},
    {"wire", "extensions"},
    {"metainfo"},
    {"storage"},
    {"discovery"},
    {"client"},
    {"cli"},
]
"""From the ground up. A module may import from its own layer and from those below it, in this list."""

NEVER = {
    "protocol": {"gevent", "socket", "time", "blinker", "os", "pathlib"},
    "metainfo": {"gevent", "socket", "blinker", "geventbt.wire", "geventbt.wire.server", "geventbt.protocol"},
    "storage": {"gevent", "socket", "blinker", "geventbt.wire", "geventbt.wire.server", "geventbt.protocol"},
    "wire": {"geventbt.metainfo", "geventbt.storage", "os", "pathlib"},
    "extensions": {"geventbt.metainfo", "geventbt.storage"},
    "client": {"struct"},
    "cli": {"socket", "struct"},
}
"""What a layer must not import at all."""

PURE = [
    "geventbt.protocol.connection",
    "geventbt.bencoding",
    "geventbt.metainfo",
    "geventbt.storage",
    "geventbt.discovery.trackers.announce",
    "geventbt.discovery.trackers.udp_packets",
    "geventbt.net.addresses",
    "geventbt.client.peers.backoff",
    "geventbt.client.pieces.blame",
    "geventbt.client.pieces.picker",
    "geventbt.client.peers.known_peers",
    "geventbt.client.swarm.choker",
    "geventbt.client.torrent.file_map",
    "geventbt.rates.token_bucket",
    "geventbt.client.swarm.request_window",
]


def modules() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py") if path.name != "__main__.py" and path.parent != PACKAGE / "x")


def unit_of(path: Path) -> str:
    """The name by which the layers list a module: its folder, or itself."""
    relative = path.relative_to(PACKAGE)
    return relative.parts[0].removesuffix(".py")


def imports_of(path: Path) -> set[tuple[str, str]]:
    """Every (module, name) that is imported at run time."""
    found: set[tuple[str, str]] = set()
    tree = ast.parse(path.read_text())
    skipped = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            found |= {(alias.name, "") for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            found |= {(node.module or "", alias.name) for alias in node.names}
    return found


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_imports_only_from_its_own_layer_and_below(path: Path) -> None:
    if path.parent == PACKAGE and path.name == "__init__.py":
        pytest.skip("the list of public names reaches everywhere, lazily")
    unit = unit_of(path)
    allowed = set().union(*LAYERS[: next(i for i, layer in enumerate(LAYERS) if unit in layer) + 1])
    for module, name in imports_of(path):
        if module.startswith("geventbt."):
            assert module.split(".")[1] in allowed, f"{path} imports {module}"
        elif module == "geventbt" and unit != "cli":
            assert name in allowed | {"__version__"}, f"{path} imports {name}"


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_imports_nothing_that_its_layer_must_not_know(path: Path) -> None:
    forbidden = NEVER.get(unit_of(path), set())
    for module, _ in imports_of(path):
        for name in forbidden:
            assert module.split(".")[: len(name.split("."))] != name.split("."), f"{path} imports {module}"


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_module_imports_a_private_name_of_another(path: Path) -> None:
    for module, name in imports_of(path):
        if module.startswith("geventbt"):
            is_private = name.startswith("_") and name != "__version__"
            assert not is_private, f"{path} imports {module}.{name}"


@pytest.mark.parametrize("module", PURE)
def test_a_pure_module_brings_in_no_gevent(module: str) -> None:
    code = f"import {module}, sys; sys.exit('gevent' in sys.modules or 'blinker' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_importing_the_package_is_lazy_and_patches_nothing() -> None:
    code = "import geventbt, socket, sys; sys.exit('gevent' in sys.modules or 'gevent' in socket.socket.__module__)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_using_the_package_patches_nothing() -> None:
    code = (
        "import geventbt, sys; geventbt.connect, geventbt.listen, geventbt.download;"
        "from gevent import monkey; sys.exit(bool(monkey.saved))"
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
        if not name.startswith("_"):
            assert value.__doc__, name


def test_type_checkers_and_the_interpreter_see_the_same_names() -> None:
    import geventbt

    tree = ast.parse((PACKAGE / "__init__.py").read_text())
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    declared = {
        alias.asname: node.module for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    lazy = {name: module for name, module in declared.items() if module != "geventbt"}
    assert lazy == geventbt._EXPORTS
    assert set(declared) | {"__version__"} == set(geventbt.__all__)
