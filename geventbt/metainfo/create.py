"""Making a torrent of a file or folder: version 1, byte for byte what libtorrent makes of the same files in the same
order.

A folder's files are taken in the order of their paths as raw bytes, which is libtorrent's canonical order, and hidden
files belong to it, except for our own (`STATE_DIR`). Symbolic links below the folder are left out: what they lead to
is not in the folder, and `Storage` would not follow them either.
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
from typing import Any

from geventbt import bencoding, limits
from geventbt.errors import MetainfoError
from geventbt.geometry import Geometry
from geventbt.metainfo.hashing import ReadInto, hash_pieces
from geventbt.metainfo.paths import STATE_DIR, safe_name
from geventbt.metainfo.torrent import Torrent
from geventbt.metainfo.urls import escaped_url, is_url

_MIN_PIECE = 16 * limits.KIB
_MAX_PIECE = 16 * limits.MIB
_SHA1 = 20


@dataclass(frozen=True, slots=True)
class _Source:
    """A file on disk that goes into a torrent."""

    path: Path
    parts: tuple[str, ...]
    length: int
    mtime: int
    executable: bool

    def changed_error(self) -> MetainfoError:
        """The error for a file that has changed since it was found."""
        return MetainfoError(f"{os.fspath(self.path)!r} was changed while it was read")


def create_torrent(
    path: str | os.PathLike[str],
    *,
    piece_length: int | None = None,
    trackers: Iterable[str | Iterable[str]] = (),
    web_seeds: Iterable[str] = (),
    private: bool = False,
    comment: str | None = None,
    source: str | None = None,
    name: str | None = None,
    created_by: str | None = "geventbt",
    creation_date: int | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> Torrent:
    """Make a torrent of a file or a folder. It reads and hashes everything, in a native thread for each core, and
    blocks until it is done.

    Args:
        path: the file or folder.
        piece_length: bytes of a piece, a power of two or a multiple of 16 KiB; by default one that suits the size.
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
    """
    tiers = [(tier,) if isinstance(tier, str) else tuple(tier) for tier in trackers]
    web_seeds = [escaped_url(url) or url for url in web_seeds]
    _check_urls([*web_seeds, *(url for tier in tiers for url in tier)])
    root = Path(os.path.abspath(path))
    name = _portable(root.name if name is None else name)
    sources = _find(root)
    length = sum(source.length for source in sources)
    if not length:
        raise MetainfoError(f"there is no data in {os.fspath(path)!r}")
    geometry = Geometry(length, _checked(piece_length) if piece_length is not None else piece_length_for(length))
    info: dict[str, Any] = {"name": name, "piece length": geometry.piece_length}
    info["pieces"] = _hash_pieces(sources, geometry, progress)
    info |= {"private": 1} if private else {}
    info |= {"source": source} if source is not None else {}
    if root.is_dir():
        info["files"] = [{**_entry(source), "path": source.parts} for source in sources]
    else:
        info |= _entry(sources[0])
    torrent = Torrent.from_info(bencoding.encode(info), trackers=tiers, web_seeds=web_seeds)
    return replace(torrent, comment=comment, created_by=created_by, creation_date=creation_date)


def piece_length_for(length: int) -> int:
    """The piece length that libtorrent takes for a torrent of `length` bytes: 16 KiB to 16 MiB, growing with the root
    of the length."""
    piece_length = _MIN_PIECE
    while piece_length < _MAX_PIECE and round(piece_length**2 / 100) < length:
        piece_length *= 2
    return piece_length


def _checked(piece_length: int) -> int:
    """A piece length that other clients take, too."""
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


def _find(root: Path) -> list[_Source]:
    """The regular files that go into the torrent, in order."""
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
    return sorted(sources, key=lambda source: os.fsencode("/".join(source.parts)))


def _source(path: Path, parts: tuple[str, ...], status: os.stat_result) -> _Source:
    if not stat.S_ISREG(status.st_mode):
        raise MetainfoError(f"{os.fspath(path)!r} is neither a file nor a folder")
    executable = os.name == "posix" and bool(status.st_mode & stat.S_IXUSR)
    return _Source(path, tuple(_portable(part) for part in parts), status.st_size, status.st_mtime_ns, executable)


def _raise(error: OSError) -> None:
    """A folder that cannot be read must not be left out in silence."""
    raise error


def _entry(source: _Source) -> dict[str, Any]:
    """What single files and entries of ``files`` have in common (BEP 3, 47)."""
    entry: dict[str, Any] = {"length": source.length}
    return {**entry, "attr": "x"} if source.executable else entry


def _hash_pieces(sources: list[_Source], geometry: Geometry, progress: Callable[[int, int], object] | None) -> bytes:
    """The SHA-1 of every piece, end to end."""
    hashes = bytearray(geometry.pieces * _SHA1)
    stream = _Stream(sources)
    with closing(hash_pieces(geometry, range(geometry.pieces), stream.open)) as hashed:
        for done, (piece, digest) in enumerate(hashed, 1):
            assert digest is not None, "what is missing is an error of the stream"
            hashes[piece * _SHA1 : (piece + 1) * _SHA1] = digest
            if progress is not None:
                progress(done, geometry.pieces)
    for source in sources:
        status = source.path.stat()
        if (status.st_size, status.st_mtime_ns) != (source.length, source.mtime):
            raise source.changed_error()
    return bytes(hashes)


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
