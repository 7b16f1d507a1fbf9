"""A torrent as its metainfo file describes it (BEP 3), validated once and then trusted.

The file is a bencoded dictionary. Its key ``info`` is what the torrent *is*: the SHA-1 of those very bytes is the info
hash, so they are kept as they came. A wrong ``info`` makes the torrent unusable, and is a `MetainfoError`. All the rest
(trackers, comment, dates) is advice, and advice that makes no sense is left out. What libtorrent reads as a torrent of
version 1 is read here, with the same files; bytes behind the dictionary are ignored.

Version 2 (BEP 52) has a tree of files, whose pieces have SHA-256 hashes, and another info hash. A hybrid is both at
once; one whose two halves disagree is read as version 1 alone.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

from geventbt import bencoding, limits
from geventbt.arguments import check_bytes, check_paths, several, several_tiers
from geventbt.errors import BencodeError, MetainfoError
from geventbt.geometry import Geometry
from geventbt.metainfo.advice import read_date, read_nodes, read_seed_urls, read_text, read_trackers
from geventbt.metainfo.file_tree import TreeFile, read_file_tree, read_piece_layers
from geventbt.metainfo.files import (
    TorrentFile,
    are_same_files,
    place_files,
    read_files,
    required,
    torrent_name,
    with_roots,
)
from geventbt.metainfo.piece_hashes import SHA1, FlatHashes, HybridHashes, PieceHashes, TreeHashes

Version: TypeAlias = Literal["1", "2", "hybrid"]

_log = logging.getLogger("geventbt.metainfo")


@dataclass(frozen=True, slots=True)
class Torrent:
    """A torrent of version 1 (BEP 3), version 2 (BEP 52), or a hybrid of both.

    Made by `from_file`, `from_bytes`, `from_info` or `create_torrent`, which check everything.

    Attributes:
        name: its name, made safe to be the name of a file or folder.
        info_hash: the SHA-1 of `info_bytes`: 20 bytes; None in version 2.
        info_bytes: the bencoded info dictionary, exactly as it came.
        geometry: its length, and how it is cut into pieces.
        piece_hashes: the SHA-1 of every piece, end to end; empty in version 2.
        files: its files, in the order of the stream.
        length: the bytes of its files, without padding (BEP 47).
        private: peers may only come from its trackers (BEP 27).
        trackers: announce URLs in tiers (BEP 12).
        web_seeds: URLs that have the data (BEP 19).
        http_seeds: URLs of scripts that have the data (BEP 17).
        nodes: (host, port) of nodes of the DHT (BEP 5); a host may be a name.
        comment: any text, or None. Like all text here it is untrusted, and not safe to print as it is.
        created_by: the program that made it, or None.
        creation_date: when it was made, in seconds since 1970, or None.
        around_info: the bytes of the .torrent file before and behind `info_bytes`, both empty where there was none.
        info_hash_v2: the SHA-256 of `info_bytes`: 32 bytes; None in version 1.
        piece_layers: the hashes of the pieces of each file that has more than one, end to end, by the file's
            `TorrentFile.pieces_root`; some are missing until they are known, see `missing_layers`.
    """

    name: str
    info_hash: bytes | None
    info_bytes: bytes = field(repr=False)
    geometry: Geometry
    piece_hashes: bytes = field(repr=False)
    files: tuple[TorrentFile, ...] = field(repr=False)
    private: bool = False
    trackers: tuple[tuple[str, ...], ...] = ()
    web_seeds: tuple[str, ...] = ()
    comment: str | None = None
    created_by: str | None = None
    creation_date: int | None = None
    around_info: tuple[bytes, bytes] = field(default=(b"", b""), repr=False, compare=False)
    nodes: tuple[tuple[str, int], ...] = ()
    info_hash_v2: bytes | None = None
    piece_layers: Mapping[bytes, bytes] = field(default_factory=dict, repr=False, hash=False)
    http_seeds: tuple[str, ...] = ()
    length: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # Once: there may be hundreds of thousands of files.
        object.__setattr__(self, "length", sum(file.length for file in self.files if file.stored))

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> Torrent:
        """Read a .torrent file. It blocks.

        Raises:
            MetainfoError: if it is not a usable torrent.
            OSError: if the file cannot be read: FileNotFoundError and its kin.
        """
        # A number would be taken for a descriptor, which is the program's.
        check_paths(path=path)
        with open(path, "rb") as file:
            data = file.read(limits.TORRENT_FILE + 1)
        try:
            return cls.from_bytes(data)
        except MetainfoError as error:
            raise MetainfoError(f"{os.fspath(path)}: {error}") from error

    @classmethod
    def from_bytes(cls, data: bytes | bytearray | memoryview) -> Torrent:
        """Read the contents of a .torrent file.

        Raises:
            MetainfoError: if it is not a usable torrent, or one of more than `limits.TORRENT_FILE` bytes.
        """
        check_bytes(data=data)
        if len(data) > limits.TORRENT_FILE:
            raise MetainfoError(f"a torrent file of more than {limits.TORRENT_FILE} bytes")
        metainfo = _decode(data, "torrent file")
        if b"info" not in metainfo.items:
            raise MetainfoError("the torrent file has no info dictionary")
        start, end = metainfo.ranges[b"info"]
        torrent = _read_info(bytes(data[start:end]), metainfo.items[b"info"], metainfo.items.get(b"piece layers", {}))
        return replace(
            torrent,
            trackers=read_trackers(metainfo.items),
            web_seeds=read_seed_urls(metainfo.items, b"url-list"),
            http_seeds=read_seed_urls(metainfo.items, b"httpseeds"),
            comment=read_text(metainfo.items, b"comment"),
            created_by=read_text(metainfo.items, b"created by"),
            creation_date=read_date(metainfo.items),
            around_info=(bytes(data[:start]), bytes(data[end:])),
            nodes=read_nodes(metainfo.items),
        )

    @classmethod
    def from_info(
        cls,
        info_bytes: bytes | bytearray | memoryview,
        *,
        trackers: Iterable[Sequence[str]] = (),
        web_seeds: Iterable[str] = (),
    ) -> Torrent:
        """Read a bencoded info dictionary, such as peers send for a magnet link (BEP 9).

        Args:
            info_bytes: exactly the dictionary. Whether its SHA-1 is the right one is for the caller to compare.
            trackers: announce URLs in tiers.
            web_seeds: URLs that have the data.

        Raises:
            MetainfoError: if it is not the info dictionary of a usable torrent.
        """
        check_bytes(info_bytes=info_bytes)
        info = _decode(info_bytes, "info dictionary")
        if info.end != len(info_bytes):
            raise MetainfoError(f"not an info dictionary: {len(info_bytes) - info.end} bytes are behind it")
        torrent = _read_info(bytes(info_bytes), info.items, None)
        tiers = tuple(map(tuple, several_tiers(trackers, "trackers")))
        urls = tuple(several(web_seeds, "web_seeds"))
        return replace(torrent, trackers=tiers, web_seeds=urls)

    @property
    def is_multi_file(self) -> bool:
        """Whether it is a folder of files, even of a single one."""
        return len(self.files[0].path) > 1

    @property
    def version(self) -> Version:
        """ "1", "2" or "hybrid"."""
        if self.info_hash_v2 is None:
            return "1"
        return "2" if self.info_hash is None else "hybrid"

    @property
    def swarm_hashes(self) -> tuple[bytes, ...]:
        """What peers, trackers and the DHT know it by, 20 bytes each: the info hash of version 1, and the beginning of
        that of version 2 (BEP 52)."""
        hashes = (self.info_hash, self.info_hash_v2 and self.info_hash_v2[:SHA1])
        return tuple(value for value in hashes if value)

    @property
    def swarm_hash(self) -> bytes:
        """The first of `swarm_hashes`, which is its name in this program and the one that connections begin with."""
        return self.swarm_hashes[0]

    @property
    def missing_layers(self) -> tuple[bytes, ...]:
        """The roots of files whose piece layers are not known, such as those of a magnet link at first."""
        pieces_of = self.geometry.pieces_of
        roots = (
            file.pieces_root
            for file in self.files
            if file.pieces_root is not None and len(pieces_of(file.offset, file.length)) > 1
        )
        return tuple(dict.fromkeys(root for root in roots if root not in self.piece_layers))

    def piece_hash(self, piece: int) -> bytes:
        """The SHA-1 of one piece of version 1: 20 bytes.

        Raises:
            IndexError: if there is no such piece.
        """
        return FlatHashes(self.piece_hashes).expected(piece)

    def hashes(self) -> PieceHashes:
        """What its pieces must hash to: to be made once and kept. A hybrid that lacks a piece layer is verified as
        version 1.

        Raises:
            MetainfoError: version 2 lacks a piece layer.
        """
        flat = FlatHashes(self.piece_hashes)
        if self.info_hash_v2 is None or (self.info_hash is not None and self.missing_layers):
            return flat
        if self.missing_layers:
            raise MetainfoError(f"the piece layers of {len(self.missing_layers)} files are not known")
        files = [file for file in self.files if file.pieces_root is not None]
        lengths = [file.length for file in files]
        layer = b"".join(self.piece_layers.get(file.pieces_root or b"", file.pieces_root or b"") for file in files)
        trees = TreeHashes(Geometry.of_files(lengths, self.geometry.piece_length), lengths, layer)
        return trees if self.info_hash is None else HybridHashes(flat, trees)

    def to_bytes(self) -> bytes:
        """The contents of a .torrent file that reads as this torrent: the very bytes that it was read from, or where
        an attribute was changed since, a file with that change and with all other keys of the original.

        Raises:
            ValueError: the name or `private` was changed, which stand in `info_bytes`.
        """
        original = self.info_bytes.join(self.around_info)
        read = Torrent.from_bytes(original) if any(self.around_info) else Torrent.from_info(self.info_bytes)
        if any(self.around_info) and read == self:
            return original
        if (read.name, read.private) != (self.name, self.private):
            raise ValueError("cannot change the name of a torrent or whether it is private: make it anew")
        urls = [url for tier in self.trackers for url in tier]
        known: dict[bytes, Any] = {
            b"announce": urls[0] if urls else None,
            b"announce-list": self.trackers if len(urls) > 1 else None,
            b"comment": self.comment,
            b"comment.utf-8": None,
            b"created by": self.created_by,
            b"created by.utf-8": None,
            b"creation date": self.creation_date,
            b"httpseeds": self.http_seeds or None,
            b"nodes": self.nodes or None,
            b"url-list": self.web_seeds or None,
        }
        if self.info_hash_v2 is not None:
            known[b"piece layers"] = dict(self.piece_layers)
        items = _other_items(original, known) if any(self.around_info) else {}
        items |= {key: bencoding.encode(value) for key, value in known.items() if value is not None}
        items[b"info"] = self.info_bytes
        return b"d" + b"".join(bencoding.encode(key) + items[key] for key in sorted(items)) + b"e"


def _other_items(original: bytes, known: Container[bytes]) -> dict[bytes, bytes]:
    """The keys of a .torrent file that are not known, with their values still encoded."""
    ranges = _decode(original, "torrent file").ranges
    return {key: original[start:end] for key, (start, end) in ranges.items() if key not in known}


def _decode(data: bytes | bytearray | memoryview, what: str) -> bencoding.Dictionary:
    """Decode a dictionary of a torrent's size."""
    try:
        return bencoding.decode_dictionary(data, max_tokens=limits.TORRENT_TOKENS, max_depth=limits.TORRENT_DEPTH)
    except BencodeError as error:
        raise MetainfoError(f"not a {what}: {error}") from error


def _read_info(info_bytes: bytes, info: Any, layers: Any) -> Torrent:
    """Check an info dictionary.

    Args:
        info_bytes: its bytes.
        info: its decoded form.
        layers: the ``piece layers`` of the .torrent file; None where they are not known yet.
    """
    if not isinstance(info, dict):
        raise MetainfoError("the torrent's info is not a dictionary")
    version = info.get(b"meta version")
    if b"pieces" in info:
        torrent = _read_v1(info_bytes, info)
        return _read_hybrid(torrent, info, layers) if version == 2 and b"file tree" in info else torrent
    if isinstance(version, int) and version > 2:
        raise MetainfoError(f"the torrent has version {version}, which is newer than this program")
    if version == 2:
        return _read_v2(info_bytes, info, layers)
    raise MetainfoError("the torrent's pieces is missing")


def _read_v1(info_bytes: bytes, info: dict[bytes, Any]) -> Torrent:
    piece_hashes = _piece_hashes(info)
    files = read_files(info)
    try:
        geometry = Geometry(files[-1].offset + files[-1].length, required(info, b"piece length", int))
    except ValueError as error:
        raise MetainfoError(str(error)) from error
    if len(piece_hashes) != geometry.pieces * SHA1:
        raise MetainfoError(f"{len(piece_hashes) // SHA1} piece hashes for {geometry.pieces} pieces")
    return Torrent(
        name=torrent_name(info),
        info_hash=hashlib.sha1(info_bytes).digest(),
        info_bytes=info_bytes,
        geometry=geometry,
        piece_hashes=piece_hashes,
        files=files,
        private=_is_private(info.get(b"private")),
    )


def _read_v2(info_bytes: bytes, info: dict[bytes, Any], layers: Any) -> Torrent:
    tree, geometry = _tree(info)
    files = place_files(info, tree, geometry)
    return Torrent(
        name=files[0].path[0],
        info_hash=None,
        info_hash_v2=hashlib.sha256(info_bytes).digest(),
        info_bytes=info_bytes,
        geometry=geometry,
        piece_hashes=b"",
        piece_layers={} if layers is None else read_piece_layers(layers, tree, geometry),
        files=files,
        private=_is_private(info.get(b"private")),
    )


def _read_hybrid(torrent: Torrent, info: dict[bytes, Any], layers: Any) -> Torrent:
    """Add the half of version 2 to a torrent of version 1, if it is sound and has the same files."""
    try:
        tree, geometry = _tree(info)
        if not are_same_files(info, torrent.files, tree, torrent.geometry):
            raise MetainfoError("the files of both versions differ")
        return replace(
            torrent,
            info_hash_v2=hashlib.sha256(torrent.info_bytes).digest(),
            files=with_roots(torrent.files, tree),
            piece_layers={} if layers is None else read_piece_layers(layers, tree, geometry),
        )
    except MetainfoError as error:
        _log.warning("the hybrid torrent %r is used as version 1: %s", torrent.name, error)
        return torrent


def _tree(info: dict[bytes, Any]) -> tuple[list[TreeFile], Geometry]:
    """The files of version 2, and how they are cut into pieces."""
    piece_length = required(info, b"piece length", int)
    if piece_length < limits.BLOCK or piece_length & (piece_length - 1):
        raise MetainfoError(f"pieces of {piece_length} bytes: must be a power of two from {limits.BLOCK} up (BEP 52)")
    tree = read_file_tree(info.get(b"file tree"))
    try:
        return tree, Geometry.of_files([file.length for file in tree], piece_length)
    except ValueError as error:
        raise MetainfoError(str(error)) from error


def _is_private(value: Any) -> bool:
    """Whether peers may come from the trackers only (BEP 27): any number but 0 says so, as in libtorrent."""
    return isinstance(value, int) and value != 0


def _piece_hashes(info: dict[bytes, Any]) -> bytes:
    piece_hashes: bytes = required(info, b"pieces", bytes)
    if len(piece_hashes) % SHA1:
        raise MetainfoError(f"piece hashes of {len(piece_hashes)} bytes: not a multiple of {SHA1}")
    return piece_hashes
