"""The files of a torrent, and the reading of the lists of them in an info dictionary (BEP 3, 47, 52). Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from geventbt import limits
from geventbt.errors import MetainfoError
from geventbt.geometry import Geometry
from geventbt.metainfo.file_tree import TreeFile
from geventbt.metainfo.paths import UniquePaths, raw_name, safe_name

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
        pieces_root: the root of its Merkle tree, 32 bytes (BEP 52); None in version 1, and without bytes.
        raw_parts: the parts of its path as the bytes that the torrent has, where `path` is not the same: by which web
            seeds know the file (BEP 19).
    """

    path: tuple[str, ...]
    length: int
    offset: int
    padding: bool = False
    executable: bool = False
    link: bool = False
    raw_path: tuple[str, ...] | None = None
    pieces_root: bytes | None = field(default=None, repr=False)
    raw_parts: tuple[bytes, ...] | None = field(default=None, repr=False)

    @property
    def stored(self) -> bool:
        """Whether there is such a file on disk."""
        return not (self.padding or self.link)


def required(dictionary: dict[bytes, Any], key: bytes, kind: type) -> Any:
    """A value that must be there and of a type."""
    value = dictionary.get(key)
    if not isinstance(value, kind):
        raise MetainfoError(f"the torrent's {key.decode()} is {'of a wrong type' if key in dictionary else 'missing'}")
    return value


def torrent_name(info: dict[bytes, Any]) -> str:
    """The name, made safe. An empty one is advice as any other (BEP 3), and becomes ``_``."""
    return safe_name(_raw_name(info))


def _raw_name(info: dict[bytes, Any]) -> bytes:
    name: bytes = required(info, b"name.utf-8" if isinstance(info.get(b"name.utf-8"), bytes) else b"name", bytes)
    return name


def read_files(info: dict[bytes, Any]) -> tuple[TorrentFile, ...]:
    """The files of either kind of torrent of version 1: ``length`` makes it one file, ``files`` a folder of them
    (BEP 3).

    Raises:
        MetainfoError: they make no sense.
    """
    if b"length" in info and b"files" in info:
        raise MetainfoError("the torrent has both a length and files")
    name = _raw_name(info)
    if b"files" not in info:
        # One file is data whatever its other attributes say.
        return (_file([name], _length(info), 0, b"x" if b"x" in _attributes(info) else b""),)
    entries = required(info, b"files", list)
    if not entries:
        raise MetainfoError("the torrent has no files")
    files: list[TorrentFile] = []
    names = _FolderNames()
    offset = 0
    for entry in entries:
        files.append(_listed_file(entry, name, offset, names))
        offset += files[-1].length
    return _with_own_paths(files)


def place_files(info: dict[bytes, Any], entries: Sequence[TreeFile], geometry: Geometry) -> tuple[TorrentFile, ...]:
    """The files of a torrent of version 2, each at a piece of its own. A tree of a single file is that file, without a
    folder, under its own name, as libtorrent has it (BEP 52).

    Raises:
        MetainfoError: the torrent has no name.
    """
    folder = [] if len(entries) == 1 and len(entries[0].parts) == 1 else [_raw_name(info)]
    files: list[TorrentFile] = []
    names = _FolderNames()
    first_piece = 0
    for entry in entries:
        offset = geometry.start_of(first_piece)
        files.append(_file([*folder, *entry.parts], entry.length, offset, entry.attributes, entry.root, names))
        first_piece += len(geometry.pieces_of(offset, entry.length))
    return _with_own_paths(files)


def with_roots(files: Sequence[TorrentFile], entries: Iterable[TreeFile]) -> tuple[TorrentFile, ...]:
    """The files of the version 1 half of a hybrid, with the roots of the other half's, which are the same ones but for
    padding (BEP 52)."""
    others = iter(entries)
    return tuple(file if file.padding else replace(file, pieces_root=next(others).root) for file in files)


def are_same_files(
    info: dict[bytes, Any], files: Sequence[TorrentFile], tree: Sequence[TreeFile], geometry: Geometry
) -> bool:
    """Whether both halves of a hybrid have the same files, and those of version 1 begin at pieces (BEP 52).

    Args:
        info: the info dictionary.
        files: its files of version 1.
        tree: its files of version 2.
        geometry: that of version 1.
    """
    stored = [file for file in files if not file.padding]
    if b"files" in info:
        paths = [tuple(_path(entry)) for entry, file in zip(info[b"files"], files, strict=True) if not file.padding]
    else:
        paths = [(_raw_name(info),)]
    return (
        paths == [entry.parts for entry in tree]
        and [file.length for file in stored] == [entry.length for entry in tree]
        and all(geometry.piece_at(file.offset)[1] == 0 for file in stored if file.length)
    )


def _with_own_paths(files: Sequence[TorrentFile]) -> tuple[TorrentFile, ...]:
    """The files with paths so that no two stored ones have the same."""
    unique = UniquePaths(file.path for file in files if file.stored)
    raw_paths: set[tuple[str, ...] | None] = {None}
    return tuple(_with_own_path(file, unique, raw_paths) if file.stored else file for file in files)


def _with_own_path(file: TorrentFile, unique: UniquePaths, raw_paths: set[tuple[str, ...] | None]) -> TorrentFile:
    path, raw_path = unique.take(file.path), file.raw_path
    if path == file.path and raw_path is None:
        return file
    if raw_path in raw_paths:
        raw_path = None
    raw_paths.add(raw_path)
    return replace(file, path=path, raw_path=raw_path, raw_parts=file.raw_parts or _encoded(file.path))


def _encoded(path: Iterable[str]) -> tuple[bytes, ...]:
    return tuple(part.encode() for part in path)


class _FolderNames:
    """The safe names of folders: one object each, however many files are in them."""

    def __init__(self) -> None:
        self._names: dict[bytes, str] = {}

    def path_of(self, parts: Sequence[bytes]) -> tuple[str, ...]:
        """A path of safe names."""
        *folders, name = parts
        return (*map(self._of_folder, folders), safe_name(name))

    def _of_folder(self, raw: bytes) -> str:
        return self._names.get(raw) or self._names.setdefault(raw, safe_name(raw))


def _listed_file(entry: Any, name: bytes, offset: int, names: _FolderNames) -> TorrentFile:
    """One entry of ``files``, its path not yet compared with others."""
    if not isinstance(entry, dict):
        raise MetainfoError("a file of the torrent is not a dictionary")
    attributes = _attributes(entry)
    length = 0 if b"l" in attributes else _length(entry)
    parts = [b".pad", b"%d" % length] if b"p" in attributes and b"path" not in entry else _path(entry)
    return _file([name, *parts], length, offset, attributes, names=names)


def _file(
    parts: Sequence[bytes],
    length: int,
    offset: int,
    attributes: bytes,
    root: bytes | None = None,
    names: _FolderNames | None = None,
) -> TorrentFile:
    """A file by the raw parts of its path, the torrent's name included."""
    path = (names or _FolderNames()).path_of(parts)
    raw_path = tuple(map(raw_name, parts))
    return TorrentFile(
        path,
        length,
        offset,
        padding=b"p" in attributes or (len(path) > 1 and path[-1].startswith(_BITCOMET_PADDING)),
        executable=b"x" in attributes,
        link=b"l" in attributes,
        raw_path=None if raw_path == path or None in raw_path else raw_path,  # type: ignore[arg-type]
        pieces_root=root,
        raw_parts=None if _encoded(path) == (raw_parts := tuple(parts)) else raw_parts,
    )


def _path(entry: dict[bytes, Any]) -> list[bytes]:
    parts = required(entry, b"path.utf-8" if isinstance(entry.get(b"path.utf-8"), list) else b"path", list)
    if not 1 <= len(parts) <= limits.PATH_PARTS:
        raise MetainfoError(f"a path of {len(parts)} parts: must be 1 to {limits.PATH_PARTS}")
    if not all(isinstance(part, bytes) for part in parts):
        raise MetainfoError("a part of a path is not a string")
    return parts


def _length(entry: dict[bytes, Any]) -> int:
    length: int = required(entry, b"length", int)
    if length < 0:
        raise MetainfoError(f"a file of {length} bytes")
    return length


def _attributes(entry: dict[bytes, Any]) -> bytes:
    """The letters of BEP 47; others are ignored, as it says."""
    attributes = entry.get(b"attr")
    return attributes if isinstance(attributes, bytes) else b""
