"""A torrent as its metainfo file describes it (BEP 3), validated once and then trusted.

The file is a bencoded dictionary. Its key ``info`` is what the torrent *is*: the SHA-1 of those very bytes is the info
hash, so they are kept as they came. A wrong ``info`` makes the torrent unusable, and is a `MetainfoError`. All the rest
(trackers, comment, dates) is advice, and advice that makes no sense is left out. What libtorrent reads as a torrent of
version 1 is read here, with the same files; bytes behind the dictionary are ignored.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from geventbt import bencoding, limits
from geventbt.errors import BencodeError, MetainfoError
from geventbt.geometry import Geometry
from geventbt.metainfo.paths import UniquePaths, raw_name, safe_name
from geventbt.metainfo.urls import escaped_url, is_url

_SHA1 = 20
_LAST_DATE = 253402300799  # the end of the year 9999, the last one that `datetime` knows
_BITCOMET_PADDING = "_____padding_file_"


@dataclass(frozen=True, slots=True)
class TorrentFile:
    """One file of a torrent.

    Attributes:
        path: the parts of its path below the download folder, made safe; in a torrent of several files the first is the
            torrent's name.
        length: its bytes.
        offset: where it begins in the torrent's stream of all files.
        padding: it only fills up a piece with zeros and is never written (BEP 47).
        executable: it was executable where the torrent was made (BEP 47).
        link: it stands for a symbolic link (BEP 47). None is ever made, since it could lead out of the folder; its
            length is 0.
        raw_path: the parts of its path as they are in the torrent, where they differ from the safe ones but can be on
            this system: where other programs have put the file. It is used if the file is there, and never made.
    """

    path: tuple[str, ...]
    length: int
    offset: int
    padding: bool = False
    executable: bool = False
    link: bool = False
    raw_path: tuple[str, ...] | None = None

    @property
    def stored(self) -> bool:
        """Whether there is such a file on disk."""
        return not (self.padding or self.link)


@dataclass(frozen=True, slots=True)
class Torrent:
    """A torrent (BEP 3), version 1. A hybrid of versions 1 and 2 is read as version 1 (BEP 52).

    Made by `from_file`, `from_bytes`, `from_info` or `create_torrent`, which check everything.

    Attributes:
        name: its name, made safe to be the name of a file or folder.
        info_hash: the SHA-1 of `info_bytes`: 20 bytes.
        info_bytes: the bencoded info dictionary, exactly as it came.
        geometry: its length, and how it is cut into pieces.
        piece_hashes: the SHA-1 of every piece, end to end.
        files: its files, in the order of the stream.
        private: peers may only come from its trackers (BEP 27).
        trackers: announce URLs in tiers (BEP 12).
        web_seeds: URLs that have the data (BEP 19).
        nodes: (host, port) of nodes of the DHT (BEP 5); a host may be a name.
        comment: any text, or None. Like all text here it is untrusted, and not safe to print as it is.
        created_by: the program that made it, or None.
        creation_date: when it was made, in seconds since 1970, or None.
        around_info: the bytes of the .torrent file before and behind `info_bytes`, both empty where there was none.
    """

    name: str
    info_hash: bytes
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

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> Torrent:
        """Read a .torrent file. It blocks.

        Raises:
            MetainfoError: if it is not a usable torrent.
            OSError: if the file cannot be read: FileNotFoundError and its kin.
        """
        with open(path, "rb") as file:
            return cls.from_bytes(file.read(limits.TORRENT_FILE + 1))

    @classmethod
    def from_bytes(cls, data: bytes | bytearray | memoryview) -> Torrent:
        """Read the contents of a .torrent file.

        Raises:
            MetainfoError: if it is not a usable torrent, or one of more than `limits.TORRENT_FILE` bytes.
        """
        if len(data) > limits.TORRENT_FILE:
            raise MetainfoError(f"a torrent file of more than {limits.TORRENT_FILE} bytes")
        metainfo = _decode(data, "torrent file")
        if b"info" not in metainfo.items:
            raise MetainfoError("the torrent file has no info dictionary")
        start, end = metainfo.ranges[b"info"]
        torrent = _read_info(bytes(data[start:end]), metainfo.items[b"info"])
        return replace(
            torrent,
            trackers=_trackers(metainfo.items),
            web_seeds=_web_seeds(metainfo.items),
            comment=_text(metainfo.items, b"comment"),
            created_by=_text(metainfo.items, b"created by"),
            creation_date=_date(metainfo.items),
            around_info=(bytes(data[:start]), bytes(data[end:])),
            nodes=_nodes(metainfo.items),
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
        info = _decode(info_bytes, "info dictionary")
        if info.end != len(info_bytes):
            raise MetainfoError(f"not an info dictionary: {len(info_bytes) - info.end} bytes are behind it")
        torrent = _read_info(bytes(info_bytes), info.items)
        return replace(torrent, trackers=tuple(tuple(tier) for tier in trackers), web_seeds=tuple(web_seeds))

    @property
    def is_multi_file(self) -> bool:
        """Whether it is a folder of files, even of a single one."""
        return len(self.files[0].path) > 1

    def piece_hash(self, piece: int) -> bytes:
        """The SHA-1 of one piece: 20 bytes.

        Raises:
            IndexError: if there is no such piece.
        """
        if not 0 <= piece < self.geometry.pieces:
            raise IndexError(f"piece {piece}: there are {self.geometry.pieces}")
        return self.piece_hashes[piece * _SHA1 : (piece + 1) * _SHA1]

    def to_bytes(self) -> bytes:
        """The contents of a .torrent file that reads as this torrent: the very bytes that it was read from, or where
        an attribute was changed since, a file with that change and with all other keys of the original."""
        original = self.info_bytes.join(self.around_info)
        if any(self.around_info) and Torrent.from_bytes(original) == self:
            return original
        urls = [url for tier in self.trackers for url in tier]
        known: dict[bytes, Any] = {
            b"announce": urls[0] if urls else None,
            b"announce-list": self.trackers if len(urls) > 1 else None,
            b"comment": self.comment,
            b"comment.utf-8": None,
            b"created by": self.created_by,
            b"created by.utf-8": None,
            b"creation date": self.creation_date,
            b"nodes": self.nodes or None,
            b"url-list": self.web_seeds or None,
        }
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


def _read_info(info_bytes: bytes, info: Any) -> Torrent:
    """Check an info dictionary, of which both the bytes and the decoded form are given."""
    if not isinstance(info, dict):
        raise MetainfoError("the torrent's info is not a dictionary")
    name = _name(info)
    piece_hashes = _piece_hashes(info)
    files = _files(info, name)
    geometry = _geometry(info, files[-1].offset + files[-1].length)
    if len(piece_hashes) != geometry.pieces * _SHA1:
        raise MetainfoError(f"{len(piece_hashes) // _SHA1} piece hashes for {geometry.pieces} pieces")
    return Torrent(
        name=name,
        info_hash=hashlib.sha1(info_bytes).digest(),
        info_bytes=info_bytes,
        geometry=geometry,
        piece_hashes=piece_hashes,
        files=files,
        private=_is_private(info.get(b"private")),
    )


def _required(dictionary: dict[bytes, Any], key: bytes, kind: type) -> Any:
    """A value that must be there and of a type."""
    value = dictionary.get(key)
    if not isinstance(value, kind):
        raise MetainfoError(f"the torrent's {key.decode()} is {'of a wrong type' if key in dictionary else 'missing'}")
    return value


def _name(info: dict[bytes, Any]) -> str:
    """The name, made safe. An empty one is advice as any other (BEP 3), and becomes ``_``."""
    return safe_name(_raw_name(info))


def _is_private(value: Any) -> bool:
    """Whether peers may come from the trackers only (BEP 27): any number but 0 says so, as in libtorrent."""
    return isinstance(value, int) and value != 0


def _raw_name(info: dict[bytes, Any]) -> bytes:
    name: bytes = _required(info, b"name.utf-8" if isinstance(info.get(b"name.utf-8"), bytes) else b"name", bytes)
    return name


def _piece_hashes(info: dict[bytes, Any]) -> bytes:
    if b"pieces" not in info and (b"file tree" in info or info.get(b"meta version") == 2):
        raise MetainfoError("v2-only torrents are not supported yet")
    piece_hashes: bytes = _required(info, b"pieces", bytes)
    if len(piece_hashes) % _SHA1:
        raise MetainfoError(f"piece hashes of {len(piece_hashes)} bytes: not a multiple of {_SHA1}")
    return piece_hashes


def _geometry(info: dict[bytes, Any], length: int) -> Geometry:
    try:
        return Geometry(length, _required(info, b"piece length", int))
    except MetainfoError:
        raise
    except ValueError as error:
        raise MetainfoError(str(error)) from error


def _files(info: dict[bytes, Any], name: str) -> tuple[TorrentFile, ...]:
    """The files of either kind of torrent: ``length`` makes it one file, ``files`` a folder of them (BEP 3)."""
    if b"length" in info and b"files" in info:
        raise MetainfoError("the torrent has both a length and files")
    raw = raw_name(_raw_name(info))
    if b"files" not in info:
        raw_path = None if raw in (None, name) else (raw,)
        return (TorrentFile((name,), _length(info), 0, executable=b"x" in _attributes(info), raw_path=raw_path),)
    entries = _required(info, b"files", list)
    if not entries:
        raise MetainfoError("the torrent has no files")
    files: list[TorrentFile] = []
    offset = 0
    for entry in entries:
        files.append(_file(entry, name, raw, offset))
        offset += files[-1].length
    unique = UniquePaths(file.path for file in files if file.stored)
    raw_paths: set[tuple[str, ...] | None] = {None}
    return tuple(_with_own_path(file, unique, raw_paths) if file.stored else file for file in files)


def _with_own_path(file: TorrentFile, unique: UniquePaths, raw_paths: set[tuple[str, ...] | None]) -> TorrentFile:
    """The file with paths that no other has."""
    path, raw_path = unique.take(file.path), file.raw_path
    if path == file.path and raw_path is None:
        return file
    if raw_path in raw_paths:
        raw_path = None
    raw_paths.add(raw_path)
    return replace(file, path=path, raw_path=raw_path)


def _file(entry: Any, name: str, raw: str | None, offset: int) -> TorrentFile:
    """One entry of ``files``, its path not yet compared with others."""
    if not isinstance(entry, dict):
        raise MetainfoError("a file of the torrent is not a dictionary")
    attributes = _attributes(entry)
    link = b"l" in attributes
    length = 0 if link else _length(entry)
    padding = b"p" in attributes
    parts = [b".pad", b"%d" % length] if padding and b"path" not in entry else _path(entry)
    path = (name, *(safe_name(part) for part in parts))
    raw_path = (raw, *map(raw_name, parts))
    return TorrentFile(
        path,
        length,
        offset,
        padding=padding or path[-1].startswith(_BITCOMET_PADDING),
        executable=b"x" in attributes,
        link=link,
        raw_path=None if raw_path == path or None in raw_path else raw_path,  # type: ignore[arg-type]
    )


def _path(entry: dict[bytes, Any]) -> list[bytes]:
    parts = _required(entry, b"path.utf-8" if isinstance(entry.get(b"path.utf-8"), list) else b"path", list)
    if not 1 <= len(parts) <= limits.PATH_PARTS:
        raise MetainfoError(f"a path of {len(parts)} parts: must be 1 to {limits.PATH_PARTS}")
    if not all(isinstance(part, bytes) for part in parts):
        raise MetainfoError("a part of a path is not a string")
    return parts


def _length(entry: dict[bytes, Any]) -> int:
    length: int = _required(entry, b"length", int)
    if length < 0:
        raise MetainfoError(f"a file of {length} bytes")
    return length


def _attributes(entry: dict[bytes, Any]) -> bytes:
    """The letters of BEP 47; others are ignored, as it says."""
    attributes = entry.get(b"attr")
    return attributes if isinstance(attributes, bytes) else b""


def _trackers(metainfo: dict[bytes, Any]) -> tuple[tuple[str, ...], ...]:
    """The tiers of ``announce-list``, or else ``announce`` alone (BEP 12): `limits.TRACKERS` URLs at most, each
    once."""
    tiers = metainfo.get(b"announce-list")
    result: list[tuple[str, ...]] = []
    seen: set[str] = set()
    for tier in tiers if isinstance(tiers, list) else []:
        urls = [url for url in _urls(tier) if url not in seen][: limits.TRACKERS - len(seen)]
        seen.update(urls)
        if urls:
            result.append(tuple(dict.fromkeys(urls)))
    if not result:
        result = [(url,) for url in _urls([metainfo.get(b"announce")])]
    return tuple(result)


def _nodes(metainfo: dict[bytes, Any]) -> tuple[tuple[str, int], ...]:
    """The DHT nodes of ``nodes``, a list of [host, port] (BEP 5): `limits.DHT_TORRENT_NODES` at most, each once."""
    value = metainfo.get(b"nodes")
    found: list[tuple[str, int]] = []
    for node in value if isinstance(value, list) else []:
        host, port = node if isinstance(node, list) and len(node) == 2 else (None, None)
        if isinstance(host, bytes) and host.isascii() and isinstance(port, int) and 0 < port < 1 << 16:
            found.append((host.decode(), port))
    return tuple(dict.fromkeys(found))[: limits.DHT_TORRENT_NODES]


def _web_seeds(metainfo: dict[bytes, Any]) -> tuple[str, ...]:
    """The URLs of ``url-list``, which is a list or a single string (BEP 19)."""
    value = metainfo.get(b"url-list")
    texts = [text for text in (value if isinstance(value, list) else [value]) if isinstance(text, bytes)]
    urls = [escaped_url(text.decode("utf-8", "replace")) for text in texts]
    return tuple(dict.fromkeys(url for url in urls if url is not None))[: limits.WEB_SEEDS]


def _urls(values: Any) -> list[str]:
    """Of a list whatever could be a URL at all: printable ASCII with a scheme."""
    candidates = [value.strip() for value in values if isinstance(value, bytes)] if isinstance(values, list) else []
    urls = [url.decode() for url in candidates if url.isascii() and b"://" in url]
    return [url for url in urls if is_url(url)]


def _text(metainfo: dict[bytes, Any], key: bytes) -> str | None:
    """A text; that of ``<key>.utf-8`` comes first, for the other one may be in any encoding."""
    values = (metainfo.get(key + b".utf-8"), metainfo.get(key))
    return next((value.decode("utf-8", "replace") for value in values if isinstance(value, bytes) and value), None)


def _date(metainfo: dict[bytes, Any]) -> int | None:
    value = metainfo.get(b"creation date")
    return value if isinstance(value, int) and 0 <= value <= _LAST_DATE else None
