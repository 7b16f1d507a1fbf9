"""The data of one torrent in a folder. A piece is trusted only once its SHA-1 has been compared: before it is written,
or as it is read."""

from __future__ import annotations

import errno
import hashlib
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType

from bitarray import bitarray
from bitarray.util import ones, zeros

from geventbt import limits
from geventbt.errors import StorageError
from geventbt.metainfo import Torrent
from geventbt.storage.files import MissingData, OpenFiles, storage_errors
from geventbt.storage.layout import Layout

_STEP = 1 * limits.MIB
"""Bytes read and hashed at a time when a piece is verified."""


class Storage:
    """Reads and writes the pieces of a torrent. Its methods block on the disk, and may be called from several threads
    at once.

    Nothing is opened or made before it is needed. To seed, call `check`; to download, `check` and `prepare`.

    Args:
        torrent: the torrent.
        folder: the folder that its file or folder is in, or will be.
        max_open_files: how many files are open at a time.

    Attributes:
        torrent: the torrent.
        folder: the folder.
        have: the pieces that are verified and on the disk, big-endian as in a bitfield. To be read only.
    """

    def __init__(
        self, torrent: Torrent, folder: str | os.PathLike[str], *, max_open_files: int = limits.OPEN_FILES
    ) -> None:
        self.torrent = torrent
        self.folder = Path(os.path.abspath(folder))
        self.have: bitarray = zeros(torrent.geometry.pieces, "big")
        self._layout = Layout(torrent.files, torrent.geometry)
        self._files = OpenFiles(torrent.files, self.folder, max_open_files)
        self._lock = threading.Lock()

    def __enter__(self) -> Storage:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @property
    def complete(self) -> bool:
        """Whether every piece is verified and on the disk."""
        return bool(self.have.all())

    @property
    def verified_bytes(self) -> int:
        """The bytes of all pieces that are verified and on the disk."""
        geometry = self.torrent.geometry
        count: int = self.have.count()
        missing_at_end = geometry.pieces * geometry.piece_length - geometry.length
        return count * geometry.piece_length - (missing_at_end if self.have[-1] else 0)

    def path(self, file: int) -> Path:
        """Where a file of the torrent is, or would be, by its index."""
        return self._files.path(file)

    def prepare(self) -> None:
        """Make every folder and file, each of its full length but sparse. A file that is longer is cut.

        Raises:
            StorageError: if one cannot be made.
        """
        for index, file in enumerate(self.torrent.files):
            if file.stored:
                with self._files.use(index, writable=True):
                    pass

    def write_piece(self, piece: int, data: bytes | bytearray | memoryview) -> bool:
        """Write a whole piece if, and only if, it is the right one.

        Args:
            piece: the piece's index.
            data: what should be its bytes.

        Returns:
            Whether the SHA-1 was right, and the piece is therefore written and in `have`. If not, nothing is written.

        Raises:
            IndexError: if there is no such piece.
            StorageError: if the disk failed (``errno`` says how), or the torrent contradicts itself.
        """
        if hashlib.sha1(data).digest() != self.torrent.piece_hash(piece):
            return False
        position = 0
        with memoryview(data) as view:
            for span in self._layout.spans(piece, 0, len(view)):
                part = view[position : position + span.length]
                position += span.length
                if self.torrent.files[span.file].padding:
                    self._refuse_padding(part, span.file)
                    continue
                with self._files.use(span.file, writable=True) as file:
                    file.write(span.offset, part)
        self._note(piece, True)
        return True

    def read(self, piece: int, offset: int, length: int) -> bytes:
        """Read a range of a verified piece.

        Args:
            piece: the piece's index.
            offset: where the range begins in the piece.
            length: its bytes, at least 1.

        Raises:
            ValueError: if the range is empty or not inside one piece.
            StorageError: if the piece is not verified, or the disk failed.
        """
        spans = self._layout.spans(piece, offset, length)
        if not self.have[piece]:
            raise StorageError(f"piece {piece} is not verified")
        parts = [self._read(*span) for span in spans]
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def verify_piece(self, piece: int) -> bool:
        """Read a piece and compare its SHA-1. `have` is what it finds.

        Returns:
            Whether it is good. It is not where a file is missing or too short.

        Raises:
            IndexError: if there is no such piece.
            StorageError: if the disk failed.
        """
        expected = self.torrent.piece_hash(piece)
        digest = hashlib.sha1()
        try:
            for part in self._piece_in_steps(piece):
                digest.update(part)
            good = digest.digest() == expected
        except MissingData:
            good = False
        self._note(piece, good)
        return good

    def check(self, progress: Callable[[int, int], object] | None = None) -> bitarray:
        """Verify every piece that can be there at all. What no file is long enough for is not read.

        Args:
            progress: called with the number of pieces looked at and of all pieces, after each. What it raises ends the
                check.

        Returns:
            A copy of `have`.

        Raises:
            StorageError: if the disk failed.
        """
        possible = self._possible()
        for piece in range(len(possible)):
            if possible[piece]:
                self.verify_piece(piece)
            else:
                self._note(piece, False)
            if progress is not None:
                progress(piece + 1, len(possible))
        return self.have.copy()

    def close(self) -> None:
        """Close all files. What is in use by another thread is closed when it is done."""
        self._files.close()

    def _note(self, piece: int, good: bool) -> None:
        with self._lock:
            self.have[piece] = good

    def _read(self, index: int, offset: int, length: int) -> bytes:
        if self.torrent.files[index].padding:
            return bytes(length)
        with self._files.use(index) as file:
            return file.read(offset, length)

    def _piece_in_steps(self, piece: int) -> Iterator[bytes]:
        """The bytes of a piece on the disk, verified or not."""
        for span in self._layout.spans(piece, 0, self.torrent.geometry.piece_size(piece)):
            for offset in range(span.offset, span.offset + span.length, _STEP):
                yield self._read(span.file, offset, min(_STEP, span.offset + span.length - offset))

    def _possible(self) -> bitarray:
        """The pieces whose bytes are all within files that are there."""
        possible: bitarray = ones(self.torrent.geometry.pieces, "big")
        for index, file in enumerate(self.torrent.files):
            if file.stored and file.length:
                missing = self._layout.pieces(file, self._size(index))
                possible[missing.start : missing.stop] = False
        return possible

    def _size(self, index: int) -> int:
        """The bytes of a file on the disk: 0 if it is not there."""
        path = self._files.path(index)
        try:
            with storage_errors(path):
                return path.lstat().st_size
        except MissingData:
            return 0

    def _refuse_padding(self, data: memoryview, index: int) -> None:
        """Padding is zeros and never written (BEP 47): of other bytes we could give nothing back, and no peer is to
        blame for them."""
        if data.tobytes() != bytes(len(data)):
            path = os.fspath(self._files.path(index))
            raise StorageError(errno.EINVAL, "the torrent's padding is not of zeros", path)


def locate(torrent: Torrent, data: str | os.PathLike[str]) -> Path:
    """Find the folder for a `Storage`, given where the user says that the data is.

    Args:
        torrent: the torrent.
        data: the torrent's file or folder itself, or the folder that holds it.

    Returns:
        The folder that holds it.

    Raises:
        StorageError: if it is not there (``errno.ENOENT``).
    """
    path = Path(os.path.abspath(data))
    candidates = ([path.parent] if path.name == torrent.name else []) + [path]
    stored = [file.path for file in torrent.files if file.stored]
    for folder in candidates:
        if any(os.path.lexists(folder.joinpath(*parts)) for parts in stored):
            return folder
    raise StorageError(errno.ENOENT, f"the data of {torrent.name!r} is not there", os.fspath(path))
