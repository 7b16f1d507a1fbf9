"""The files of a version 2 torrent: the ``file tree`` of its info dictionary, and the ``piece layers`` beside it
(BEP 52). Pure.

A folder is a dictionary of names; a file is one with the single key ``""``, whose value says what it is. libtorrent's
rules hold where the BEP is silent: a tree of a single file is a torrent without a folder, an empty folder is nothing,
and padding does not exist.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from geventbt import limits
from geventbt.errors import MetainfoError
from geventbt.geometry import Geometry
from geventbt.metainfo import merkle


@dataclass(frozen=True, slots=True)
class TreeFile:
    """A file of a ``file tree``.

    Attributes:
        parts: the raw parts of its path.
        length: its bytes.
        root: the root of its Merkle tree, 32 bytes; None for a file without bytes.
        attributes: the letters of BEP 47.
    """

    parts: tuple[bytes, ...]
    length: int
    root: bytes | None
    attributes: bytes = b""


def read_file_tree(tree: Any) -> list[TreeFile]:
    """The files of a ``file tree``, in the order of the tree.

    Raises:
        MetainfoError: it is not one, or has more than `limits.PATH_PARTS` levels.
    """
    files = list(_walk(tree))
    if not files:
        raise MetainfoError("the torrent has no files")
    # Files with the same root have the same contents, and share their hashes.
    lengths: dict[bytes, int] = {}
    for file in files:
        if file.root is not None and lengths.setdefault(file.root, file.length) != file.length:
            raise MetainfoError(f"the file {file.parts[-1][:80]!r} has the root of a file of another length")
    return files


def _walk(tree: Any) -> Iterator[TreeFile]:
    """Walk the tree, depth first, without recursion: its depth is untrusted."""
    open_folders: list[tuple[Iterator[tuple[bytes, Any]], tuple[bytes, ...]]] = [(_entries(tree), ())]
    while open_folders:
        entries, parts = open_folders[-1]
        name, node = next(entries, (b"", None))
        if node is None:
            open_folders.pop()
        elif not isinstance(node, dict) or not name:
            raise MetainfoError(f"the file tree has an entry {name[:80]!r} that is neither a file nor a folder")
        elif b"" in node:
            yield _file((*parts, name), node)
        elif len(open_folders) == limits.PATH_PARTS:
            raise MetainfoError(f"a file tree of more than {limits.PATH_PARTS} levels")
        else:
            open_folders.append((_entries(node), (*parts, name)))


def _entries(folder: Any) -> Iterator[tuple[bytes, Any]]:
    if not isinstance(folder, dict):
        raise MetainfoError("the file tree is not a dictionary")
    return iter(folder.items())


def _file(parts: tuple[bytes, ...], node: dict[bytes, Any]) -> TreeFile:
    what = f"the file {parts[-1][:80]!r}"
    properties = node[b""]
    if len(node) != 1 or not isinstance(properties, dict):
        raise MetainfoError(f"{what} of the file tree has entries beside it, or no properties")
    attributes = properties.get(b"attr")
    attributes = attributes if isinstance(attributes, bytes) else b""
    if b"p" in attributes:
        raise MetainfoError(f"{what} is padding, which a file tree does not have")
    length = properties.get(b"length")
    if b"l" in attributes:
        length = 0
    if not isinstance(length, int) or not 0 <= length <= limits.PIECE_LENGTH * limits.PIECES:
        raise MetainfoError(f"{what} has no length that is possible")
    root = properties.get(b"pieces root") if length else None
    if length and (not isinstance(root, bytes) or len(root) != merkle.HASH or not any(root)):
        raise MetainfoError(f"{what} has no pieces root of {merkle.HASH} bytes")
    return TreeFile(parts, length, root, attributes)


def read_piece_layers(value: Any, files: Iterable[TreeFile], geometry: Geometry) -> dict[bytes, bytes]:
    """The ``piece layers`` of a .torrent file: the hashes of the pieces of each file of more than one, by its root.

    Raises:
        MetainfoError: one is missing, or does not lead to its root, or belongs to no file.
    """
    layers: Mapping[Any, Any] = value if isinstance(value, dict) else {}
    read: dict[bytes, bytes] = {}
    for file in files:
        pieces = len(geometry.pieces_of(0, file.length))
        if pieces <= 1 or file.root is None or file.root in read:
            continue
        layer = layers.get(file.root)
        if not isinstance(layer, bytes):
            raise MetainfoError(f"the torrent lacks the piece layer of the file {file.parts[-1][:80]!r}")
        check_piece_layer(layer, file.root, pieces, geometry.blocks_per_piece)
        read[file.root] = layer
    if len(layers) > len(read):
        raise MetainfoError(f"the torrent has {len(layers) - len(read)} piece layers that belong to no file")
    return read


def check_piece_layer(layer: bytes, root: bytes, pieces: int, blocks_per_piece: int) -> None:
    """Check that a piece layer is that of a file.

    Args:
        layer: the hashes, end to end.
        root: the root of the file.
        pieces: pieces of the file, at least two.
        blocks_per_piece: blocks of a piece of full length.

    Raises:
        MetainfoError: it is not.
    """
    if len(layer) != pieces * merkle.HASH:
        raise MetainfoError(f"a piece layer of {len(layer)} bytes for {pieces} pieces: must be {pieces * merkle.HASH}")
    if merkle.root_of_pieces(layer, blocks_per_piece) != root:
        raise MetainfoError(f"the piece layer of the root {root.hex()} does not lead to it")
