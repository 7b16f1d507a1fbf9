"""Pieces on disk: nothing is written before its hash is verified, and nothing outside the folder."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any

from bitarray import bitarray

from geventbt.errors import StorageError
from geventbt.metainfo import Torrent
from geventbt.storage.layout import Layout, Span

_OPEN_FILES = 64


class Storage:
    """The files of a torrent in a folder. Safe to use from several native threads; blocks them, so keep it off the event loop.

    Args:
        torrent: what is stored.
        folder: where its file or folder is or is to be.

    Attributes:
        torrent: what is stored.
        folder: the absolute path of the folder.
        have: a bit for each piece that is verified, and only for those.
    """

    def __init__(self, torrent: Torrent, folder: str | os.PathLike[str]) -> None:
        self.torrent = torrent
        self.folder = Path(folder).resolve()
        self.have = bitarray(torrent.geometry.pieces, endian="big")
        self.have.setall(False)
        self._layout = Layout(torrent.files, torrent.geometry)
        self._lock = Lock()
        self._open: OrderedDict[tuple[int, bool], _OpenFile] = OrderedDict()
        self._verified = 0

    # ------------------------------------------------------------------ what is verified

    @property
    def complete(self) -> bool:
        """Whether every piece is verified."""
        return bool(self.have.all())

    @property
    def verified_bytes(self) -> int:
        """The bytes of the verified pieces."""
        return self._verified

    def check(self, progress: Callable[[int, int], Any] | None = None) -> bitarray:
        """Look at every piece on disk, and find out which are good.

        Args:
            progress: called with (pieces checked, pieces).

        Returns:
            A copy of `have`.

        Raises:
            StorageError: a file is there but cannot be read.
        """
        pieces = self.torrent.geometry.pieces
        for piece in range(pieces):
            self._mark(piece, self.verify_piece(piece))
            if progress:
                progress(piece + 1, pieces)
        return self.have.copy()

    def verify_piece(self, piece: int) -> bool:
        """Whether a piece on disk is what the torrent says. Missing and short files make bad pieces."""
        size = self.torrent.geometry.piece_size(piece)
        try:
            data = self.read(piece, 0, size)
        except StorageError as error:
            if error.errno in (None, errno.ENOENT, errno.ENOTDIR):
                return False
            raise
        return self._is_good(piece, data)

    def _is_good(self, piece: int, data: bytes | bytearray | memoryview) -> bool:
        return hashlib.sha1(data).digest() == self.torrent.piece_hash(piece)

    def _mark(self, piece: int, good: bool) -> None:
        with self._lock:
            if bool(self.have[piece]) != good:
                self.have[piece] = good
                self._verified += self.torrent.geometry.piece_size(piece) * (1 if good else -1)

    # ------------------------------------------------------------------ reading and writing

    def read(self, piece: int, offset: int, length: int) -> bytes:
        """Read a range of a piece, verified or not.

        It is read rather than mapped into memory: a file that somebody cuts short is then an error, and not the end of the process.

        Raises:
            StorageError: it cannot be read; `errno` says why, and is None where a file is too short.
        """
        spans = list(self._layout.spans(piece, offset, length))
        if len(spans) == 1:
            return self._read_span(spans[0])
        return b"".join(map(self._read_span, spans))

    def _read_span(self, span: Span) -> bytes:
        if self.torrent.files[span.file].padding:
            return bytes(span.length)
        with self._file(span.file, writing=False) as descriptor:
            data = os.pread(descriptor, span.length, span.offset)
            while len(data) < span.length:
                more = os.pread(descriptor, span.length - len(data), span.offset + len(data))
                if not more:
                    raise StorageError(f"{self._path(span.file)}: shorter than the torrent says")
                data += more
        return data

    def write_piece(self, piece: int, data: bytes | bytearray | memoryview) -> bool:
        """Verify a piece and write it.

        Returns:
            False if the data is not what the torrent says: then nothing is written.

        Raises:
            StorageError: it cannot be written, such as with `errno` ENOSPC when the disk is full.
        """
        if len(data) != self.torrent.geometry.piece_size(piece) or not self._is_good(piece, data):
            return False
        at = 0
        view = memoryview(data)
        for span in self._layout.spans(piece, 0, len(data)):
            self._write_span(span, view[at : at + span.length])
            at += span.length
        self._mark(piece, True)
        return True

    def _write_span(self, span: Span, data: memoryview) -> None:
        if self.torrent.files[span.file].padding:
            return
        with self._file(span.file, writing=True) as descriptor:
            written = 0
            while written < len(data):
                written += os.pwrite(descriptor, data[written:], span.offset + written)

    # ------------------------------------------------------------------ files

    def prepare(self) -> None:
        """Make the folders, the empty files and, as sparse files of their full length, the others; and make longer ones as long as they should be.

        Raises:
            StorageError: one cannot be made.
        """
        for index, file in enumerate(self.torrent.files):
            if file.padding:
                continue
            with self._file(index, writing=True) as descriptor:
                if os.fstat(descriptor).st_size != file.length:
                    os.ftruncate(descriptor, file.length)

    def close(self) -> None:
        """Close the files. They are opened again when they are needed."""
        with self._lock:
            for file in self._open.values():
                file.retire()
            self._open.clear()

    def _path(self, index: int) -> Path:
        return self.folder.joinpath(*self.torrent.files[index].path)

    @contextmanager
    def _file(self, index: int, *, writing: bool) -> Iterator[int]:
        """The descriptor of a file, kept open for the next use; errors of the system name the file."""
        try:
            file = self._acquire(index, writing)
            try:
                yield file.descriptor
            finally:
                with self._lock:
                    file.release()
        except StorageError:
            raise
        except OSError as error:
            raise _storage_error(error, self._path(index)) from error

    def _acquire(self, index: int, writing: bool) -> _OpenFile:
        key = (index, writing)
        with self._lock:
            file = self._open.get(key)
            if file is None:
                file = self._open[key] = _OpenFile(self._open_file(index, writing))
                if len(self._open) > _OPEN_FILES:
                    self._open.popitem(last=False)[1].retire()
            else:
                self._open.move_to_end(key)
            file.users += 1
            return file

    def _open_file(self, index: int, writing: bool) -> int:
        """Open a file below the folder, never through a link."""
        parts = self.torrent.files[index].path
        if writing:
            self.folder.mkdir(parents=True, exist_ok=True)
        parent = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for part in parts[:-1]:
                child = _open_folder(part, parent, writing)
                os.close(parent)
                parent = child
            flags = os.O_RDWR | os.O_CREAT if writing else os.O_RDONLY
            descriptor = os.open(parts[-1], flags | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, 0o666, dir_fd=parent)
        finally:
            os.close(parent)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise OSError(errno.EINVAL, "not a regular file")
        return descriptor


class _OpenFile:
    """A descriptor that is closed when it is both retired and used by nobody."""

    __slots__ = ("_retired", "descriptor", "users")

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.users = 0
        self._retired = False

    def release(self) -> None:
        self.users -= 1
        self._close_if_unused()

    def retire(self) -> None:
        self._retired = True
        self._close_if_unused()

    def _close_if_unused(self) -> None:
        if self._retired and not self.users:
            os.close(self.descriptor)


def _open_folder(name: str, parent: int, create: bool) -> int:
    if create:
        try:
            os.mkdir(name, dir_fd=parent)
        except FileExistsError:
            pass
    return os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)


def _storage_error(error: OSError, path: Path) -> StorageError:
    return StorageError(error.errno, error.strerror or str(error), str(path))


def locate(torrent: Torrent, data: str | os.PathLike[str]) -> Path:
    """The folder below which a torrent's files are, for its data as a person names it.

    Args:
        torrent: what is looked for.
        data: the torrent's file or folder itself, or the folder that holds it.

    Raises:
        StorageError: neither is there; `errno` is ENOENT.
    """
    path = Path(data).resolve()
    for folder in (path, path.parent):
        found = folder / torrent.name
        if (found.is_dir() if torrent.is_multi_file else found.is_file()) and (folder == path or found == path):
            return folder
    raise StorageError(errno.ENOENT, f"no {torrent.name!r} here", str(data))
