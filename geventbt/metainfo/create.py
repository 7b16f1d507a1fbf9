"""Making a torrent of a file or folder: version 1, 2 or both, byte for byte what libtorrent makes of the same files in
the same order.

In version 1 a folder's files are taken in the order of their paths as raw bytes; in version 2 and hybrids in the order
of the file tree, which compares name by name (BEP 52). In hybrids each file that does not end with a piece is followed
by padding, the last one included, unless it is the only one. Hidden files belong to a torrent, except for our own
(`STATE_DIR`).

Symbolic links below the folder are not followed, as `Storage` would not follow them either. Version 2 and hybrids
record those that lead to a place in the folder (BEP 47); all others, and those of version 1, are left out.
"""

from __future__ import annotations

import os
import stat
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from io import FileIO
from itertools import accumulate
from pathlib import Path
from typing import Any, TypeAlias, get_args

from geventbt import bencoding, limits
from geventbt.arguments import check_counts, check_flags, check_paths, check_texts, given, several
from geventbt.errors import MetainfoError
from geventbt.geometry import Geometry
from geventbt.metainfo import merkle
from geventbt.metainfo.hashing import ReadInto, hash_pieces
from geventbt.metainfo.paths import STATE_DIR, safe_name
from geventbt.metainfo.piece_hashes import SHA1, FlatHashes, HybridHashes, PieceHashes, TreeHashes
from geventbt.metainfo.torrent import Torrent, Version
from geventbt.metainfo.urls import escaped_url, is_url

_MIN_PIECE = 16 * limits.KIB
_MAX_PIECE = 16 * limits.MIB

Progress: TypeAlias = Callable[[int, int], object] | None
_Made: TypeAlias = tuple[dict[str, Any], dict[bytes, bytes]]
"""Keys of an info dictionary, and the piece layers beside it."""


@dataclass(frozen=True, slots=True)
class _Source:
    """A file that goes into a torrent, padding behind one, or a symbolic link."""

    path: Path | None
    """None for padding, and for a link."""
    parts: tuple[str, ...]
    length: int
    mtime: int
    executable: bool
    target: tuple[str, ...] = ()
    """Where a link leads to: the parts of a path below the torrent's folder."""

    def changed_error(self) -> MetainfoError:
        """The error for a file that has changed since it was found."""
        return MetainfoError(f"{os.fspath(self.path or '')!r} was changed while it was read")


def create_torrent(
    path: str | os.PathLike[str],
    *,
    version: Version = "1",
    piece_length: int | None = None,
    trackers: Iterable[str | Iterable[str]] = (),
    web_seeds: Iterable[str] = (),
    private: bool = False,
    comment: str | None = None,
    source: str | None = None,
    name: str | None = None,
    created_by: str | None = "geventbt",
    creation_date: int | None = None,
    progress: Progress = None,
) -> Torrent:
    """Make a torrent of a file or a folder. It reads and hashes everything, in a native thread for each core, and
    blocks until it is done.

    Args:
        path: the file or folder.
        version: "1" (BEP 3), which every client reads; "2" (BEP 52), whose files are verified by block and found again
            in other torrents; or "hybrid", which is both and is shared in both swarms.
        piece_length: bytes of a piece, a power of two or in version 1 a multiple of 16 KiB; at least 16 KiB in
            version 2; by default one that suits the size.
        trackers: announce URLs, each a tier of its own, or a collection of them for a tier of several (BEP 12).
        web_seeds: URLs that have the data (BEP 19).
        private: peers may only come from the trackers (BEP 27).
        comment: any text.
        source: a text within the info dictionary, by which trackers make the info hash their own.
        name: the torrent's name, by default that of the file or folder.
        created_by: the program that makes it.
        creation_date: seconds since 1970; nothing is taken from a clock.
        progress: called with the number of pieces hashed and of all pieces, after each. What it raises ends the work.

    Raises:
        MetainfoError: if there is nothing in it, a name cannot be in a torrent, or a file changes while it is read.
        ValueError: for a piece length or a URL that makes no sense.
        OSError: if a file cannot be read.
        TypeError: an argument has another type.
    """
    check_paths(path=path)
    check_flags(private=private)
    check_texts(**given(comment=comment, source=source, name=name, created_by=created_by))
    check_counts(**given(piece_length=piece_length, creation_date=creation_date))
    if progress is not None and not callable(progress):
        raise TypeError(f"progress={progress!r}: a function is expected")
    tiers = [(tier,) if isinstance(tier, str) else tuple(tier) for tier in several(trackers, "trackers")]
    web_seeds = [escaped_url(url) or url for url in several(web_seeds, "web_seeds")]
    _check_urls([*web_seeds, *(url for tier in tiers for url in tier)])
    if version not in get_args(Version):
        raise ValueError(f"version {version!r}: must be one of {', '.join(get_args(Version))}")
    root = Path(os.path.abspath(path))
    name = _portable(root.name if name is None else name)
    sources = _find(root, by_name=version != "1")
    length = sum(source.length for source in sources)
    if not length:
        raise MetainfoError(f"there is no data in {os.fspath(path)!r}")
    piece_length = piece_length_for(length) if piece_length is None else _checked(piece_length, version)
    info: dict[str, Any] = {"name": name, "piece length": piece_length}
    info |= {"private": 1} if private else {}
    info |= {"source": source} if source is not None else {}
    content, layers = _MAKERS[version](sources, piece_length, name if not root.is_dir() else None, progress)
    torrent = Torrent.from_info(bencoding.encode(info | content), trackers=tiers, web_seeds=web_seeds)
    return replace(torrent, comment=comment, created_by=created_by, creation_date=creation_date, piece_layers=layers)


def piece_length_for(length: int) -> int:
    """The piece length that libtorrent takes for a torrent of `length` bytes: 16 KiB to 16 MiB, growing with the root
    of the length."""
    piece_length = _MIN_PIECE
    while piece_length < _MAX_PIECE and round(piece_length**2 / 100) < length:
        piece_length *= 2
    return piece_length


def _checked(piece_length: int, version: Version) -> int:
    """A piece length that other clients take, too."""
    if version != "1" and (piece_length < limits.BLOCK or piece_length & (piece_length - 1)):
        raise ValueError(f"pieces of {piece_length} bytes: must be a power of two from {limits.BLOCK} up in version 2")
    if piece_length < 1 or (piece_length % _MIN_PIECE and piece_length & (piece_length - 1)):
        raise ValueError(f"pieces of {piece_length} bytes: must be a power of two or a multiple of {_MIN_PIECE}")
    return piece_length


def _check_urls(urls: Iterable[str]) -> None:
    for url in urls:
        if not is_url(url):
            raise ValueError(f"{url!r} is not a URL")


def _portable(name: str) -> str:
    """A name that comes out of the torrent as it went in, so that its data is found again."""
    if not name or safe_name(os.fsencode(name)) != name:
        raise MetainfoError(f"the name {name!r} cannot be in a torrent")
    return name


def _find(root: Path, *, by_name: bool) -> list[_Source]:
    """The regular files that go into the torrent, in the order of version 1; or name by name in that of version 2, and
    with them the links."""
    if not root.is_dir():
        return [_source(root, (), root.stat())]
    sources: list[_Source] = []
    for folder, folders, names in os.walk(root, onerror=_raise):
        folders[:] = [name for name in folders if name != STATE_DIR]
        below = Path(folder).relative_to(root).parts
        for name in names:
            path = Path(folder, name)
            status = path.lstat()
            if stat.S_ISREG(status.st_mode):
                sources.append(_source(path, (*below, name), status))
        if by_name:
            sources += filter(None, [_link(root, Path(folder, name)) for name in (*folders, *names)])
    if by_name:
        return sorted(sources, key=lambda source: [os.fsencode(part) for part in source.parts])
    return sorted(sources, key=lambda source: os.fsencode("/".join(source.parts)))


def _source(path: Path, parts: tuple[str, ...], status: os.stat_result) -> _Source:
    if not stat.S_ISREG(status.st_mode):
        raise MetainfoError(f"{os.fspath(path)!r} is neither a file nor a folder")
    executable = os.name == "posix" and bool(status.st_mode & stat.S_IXUSR)
    return _Source(path, tuple(_portable(part) for part in parts), status.st_size, status.st_mtime_ns, executable)


def _link(root: Path, path: Path) -> _Source | None:
    """A symbolic link that leads to a place in the folder, whether there is anything or not; else None."""
    if not path.is_symlink():
        return None
    target = os.path.relpath(os.path.normpath(path.parent / os.readlink(path)), root)
    if target == os.curdir or target.split(os.sep)[0] == os.pardir or os.path.isabs(os.readlink(path)):
        return None
    own, others = path.relative_to(root).parts, Path(target).parts
    # libtorrent looks at the mode of the link itself, by which it is executable.
    return _Source(None, tuple(map(_portable, own)), 0, 0, executable=True, target=tuple(map(_portable, others)))


def _raise(error: OSError) -> None:
    """A folder that cannot be read must not be left out in silence."""
    raise error


def _entry(source: _Source) -> dict[str, Any]:
    """What single files and entries of ``files`` have in common (BEP 3, 47)."""
    entry: dict[str, Any] = {"length": source.length}
    if source.target:
        return {**entry, "attr": "xl", "symlink path": source.target}
    if source.path is None:
        return {**entry, "attr": "p"}
    return {**entry, "attr": "x"} if source.executable else entry


def _version_1(sources: list[_Source], piece_length: int, name: str | None, progress: Progress) -> _Made:
    """The keys of version 1 of the info dictionary.

    Args:
        sources: the files.
        piece_length: bytes of a piece.
        name: the name of a single file; None for a folder.
        progress: called after each piece.
    """
    geometry = Geometry(sum(source.length for source in sources), piece_length)
    pieces = _hash_pieces(sources, geometry, FlatHashes(b""), progress)
    return {"pieces": b"".join(pieces), **_file_list(sources, name)}, {}


def _version_2(sources: list[_Source], piece_length: int, name: str | None, progress: Progress) -> _Made:
    """The keys of version 2 of the info dictionary, and the piece layers; arguments as for `_version_1`."""
    lengths = [source.length for source in sources]
    geometry = Geometry.of_files(lengths, piece_length)
    hashes = TreeHashes(geometry, lengths, b"")
    pieces = _hash_pieces(_padded(sources, piece_length), geometry, hashes, progress)
    return _file_tree(sources, pieces, geometry, name)


def _hybrid(sources: list[_Source], piece_length: int, name: str | None, progress: Progress) -> _Made:
    """The keys of both versions; arguments as for `_version_1`."""
    lengths = [source.length for source in sources]
    tree_geometry = Geometry.of_files(lengths, piece_length)
    padded = _padded(sources, piece_length) if len(sources) > 1 else sources
    geometry = Geometry(sum(source.length for source in padded), piece_length)
    hashes = HybridHashes(FlatHashes(b""), TreeHashes(tree_geometry, lengths, b""))
    pieces = _hash_pieces(padded, geometry, hashes, progress)
    content, layers = _file_tree(sources, [digest[SHA1:] for digest in pieces], tree_geometry, name)
    return {"pieces": b"".join(digest[:SHA1] for digest in pieces), **_file_list(padded, name), **content}, layers


_MAKERS: dict[Version, Callable[[list[_Source], int, str | None, Progress], _Made]] = {
    "1": _version_1,
    "2": _version_2,
    "hybrid": _hybrid,
}


def _padded(sources: list[_Source], piece_length: int) -> list[_Source]:
    """The files, each followed by the padding up to the next piece (BEP 47)."""
    padded: list[_Source] = []
    for source in sources:
        padded.append(source)
        if padding := -source.length % piece_length:
            padded.append(_Source(None, (".pad", str(padding)), padding, 0, executable=False))
    return padded


def _file_list(sources: list[_Source], name: str | None) -> dict[str, Any]:
    """``length`` of a single file, or ``files`` of a folder (BEP 3, 47)."""
    if name is not None:
        return _entry(sources[0])
    return {"files": [{**_entry(source), "path": source.parts} for source in sources]}


def _file_tree(sources: list[_Source], pieces: list[bytes], geometry: Geometry, name: str | None) -> _Made:
    """``file tree`` and ``meta version``, and the piece layers by their roots (BEP 52).

    Args:
        sources: the files.
        pieces: the hash of the tree of each piece.
        geometry: that of version 2.
        name: the name of a single file; None for a folder.
    """
    tree: dict[str, Any] = {}
    layers: dict[bytes, bytes] = {}
    first = 0
    for source in sources:
        of_file = pieces[first : first + len(geometry.pieces_of(geometry.start_of(first), source.length))]
        first += len(of_file)
        entry = _entry(source)
        if source.target:
            del entry["length"]
        if len(of_file) == 1:
            entry["pieces root"] = of_file[0]
        elif of_file:
            layer = b"".join(of_file)
            entry["pieces root"] = root = merkle.root_of_pieces(layer, geometry.blocks_per_piece)
            layers[root] = layer
        folder = tree
        *folders, last = source.parts if name is None else (name,)
        for part in folders:
            folder = folder.setdefault(part, {})
        folder[last] = {"": entry}
    return {"file tree": tree, "meta version": 2}, layers


def _hash_pieces(sources: list[_Source], geometry: Geometry, hashes: PieceHashes, progress: Progress) -> list[bytes]:
    """The hash of every piece."""
    digests = [b""] * geometry.pieces
    stream = _Stream(sources)
    with closing(hash_pieces(geometry, hashes, range(geometry.pieces), stream.open)) as hashed:
        for done, (piece, digest) in enumerate(hashed, 1):
            assert digest is not None, "what is missing is an error of the stream"
            digests[piece] = digest
            if progress is not None:
                progress(done, geometry.pieces)
    for source in sources:
        status = source.path.stat() if source.path else None
        if status and (status.st_size, status.st_mtime_ns) != (source.length, source.mtime):
            raise source.changed_error()
    return digests


class _Stream:
    """All files end to end, for threads that read anywhere in it."""

    def __init__(self, sources: list[_Source]) -> None:
        self._sources = [source for source in sources if source.length]
        self._ends = list(accumulate(source.length for source in self._sources))

    @contextmanager
    def open(self) -> Iterator[ReadInto]:
        """A reader for one thread, which keeps the file open that it has read last."""
        opened: FileIO | None = None

        def read_into(position: int, view: memoryview) -> bool:
            nonlocal opened
            while view:
                at = bisect_right(self._ends, position)
                source = self._sources[at]
                if source.path is None:
                    got = min(len(view), self._ends[at] - position)
                    view[:got] = bytes(got)
                    position, view = position + got, view[got:]
                    continue
                if opened is None or opened.name != source.path:
                    if opened is not None:
                        opened.close()
                    opened = FileIO(source.path)
                opened.seek(position - self._ends[at] + source.length)
                got = opened.readinto(view[: self._ends[at] - position])
                if not got:
                    raise source.changed_error()
                position, view = position + got, view[got:]
            return True

        try:
            yield read_into
        finally:
            if opened is not None:
                opened.close()
