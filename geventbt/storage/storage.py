"""The verified pieces of one torrent, over a backend that keeps the bytes of its files.

A piece is trusted only once its hash has been compared: before it is written, or as it is read.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Collection
from pathlib import Path

from bitarray import bitarray
from bitarray.util import ones, zeros

from geventbt.arguments import check_counts, check_flags, check_instances, check_paths, given, several
from geventbt.concurrency import descriptors
from geventbt.errors import StorageError
from geventbt.metainfo import Torrent
from geventbt.metainfo.hashing import BUFFER
from geventbt.metainfo.piece_hashes import contradicts, digest_of, trees_of
from geventbt.storage.backend import StorageBackend
from geventbt.storage.checker import Checker
from geventbt.storage.disk.backend import DiskBackend
from geventbt.storage.file_bytes import FileBytes
from geventbt.storage.layout import Layout


class Storage:
    """Reads and writes the pieces of a torrent. Its methods block on the backend, most often a disk, and may be called
    from several threads at once.

    Nothing is opened or made before it is needed. To seed, call `check`; to download, `check` and `prepare`. To go on
    where the last run ended, call `restore` and ``check(pieces=...)`` with what it returns instead of a whole `check`,
    and `checkpoint` now and then.

    A file that is gone, or has become too short, is a `StorageError` where it is needed, and its pieces leave `have`;
    the others can be used as before.

    Args:
        torrent: the torrent.
        folder: the folder that its file or folder is in, or will be.
        selected: indices of the files that are wanted, by default all. Others are not made; see `select`.
        preallocate: whether `prepare` takes the room for the files on the disk at once. By default they are sparse.
        overwrite: whether a file that is not the torrent's, in the place of one of its files, may be overwritten.
            Without it a file is written to only if it is new, a piece of it is right, or the record has it.
        max_open_files: how many files are open at a time; None for as many as fit into the pool that all torrents of
            the process share.
        backend: keeps the bytes in place of a `DiskBackend`; `preallocate`, `overwrite` and `max_open_files` are then
            not used.

    Attributes:
        torrent: the torrent.
        folder: the folder.
        backend: keeps the bytes of the files.
        have: the pieces that are verified and there, big-endian as in a bitfield. To be read only.
        wanted: the pieces that have bytes of the selected files. Replaced by `select`; to be read only.

    Raises:
        StorageError: if the torrent has the name of our own folder, ``.geventbt``.
        IndexError: if a file is not in the torrent.
    """

    def __init__(
        self,
        torrent: Torrent,
        folder: str | os.PathLike[str],
        *,
        selected: Collection[int] | None = None,
        preallocate: bool = False,
        overwrite: bool = False,
        max_open_files: int | None = None,
        backend: StorageBackend | None = None,
    ) -> None:
        check_instances(Torrent, torrent=torrent)
        check_paths(folder=folder)
        check_flags(preallocate=preallocate, overwrite=overwrite)
        check_counts(**given(max_open_files=max_open_files))
        self.torrent = torrent
        self.folder = Path(os.path.abspath(folder))
        self.have: bitarray = zeros(torrent.geometry.pieces, "big")
        self.backend: StorageBackend = backend or DiskBackend(
            torrent, self.folder, preallocate=preallocate, overwrite=overwrite, max_open_files=max_open_files
        )
        self._hashes = torrent.hashes()
        self._layout = Layout(torrent.files, torrent.geometry)
        self._checker = Checker(torrent, self._hashes, self._layout, self.backend)
        self._bytes = FileBytes(torrent, self.folder, self._layout, self.backend, self.have)
        self._selected, self.wanted = self._want(selected)
        self.backend.begin(self.have, self._selected)

    def __repr__(self) -> str:
        pieces = f"{self.have.count()} of {len(self.have)} pieces"
        return f"<{type(self).__name__} {self.torrent.name!r} in {str(self.folder)!r}, {pieces}>"

    def __enter__(self) -> Storage:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @property
    def complete(self) -> bool:
        """Whether every piece is verified and there."""
        return bool(self.have.all())

    @property
    def verified_bytes(self) -> int:
        """The bytes of all pieces that are verified and there."""
        return self.torrent.geometry.bytes_of(self.have)

    def path(self, file: int) -> Path:
        """Where a file of the torrent is, or would be, on the disk, by its index."""
        return Path(self.path_name(file))

    def path_name(self, file: int) -> str:
        """The path of a file as a string: for hundreds of thousands of files, as a `Path` keeps all of its parts."""
        return self._bytes.path(file)

    def prepare(self) -> None:
        """Make the folder and file of every selected file, each of its full length: sparse, or with `preallocate` with
        all of its room taken. A file that is longer is cut if a piece of it is verified, one that is as it should be is
        left alone.

        Raises:
            StorageError: if one cannot be made: ``errno.ENOSPC`` if there is no room for it, ``errno.EEXIST`` if there
                is a file in its place that is not the torrent's.
        """
        self.backend.make(self._selected_files())

    def finish(self) -> None:
        """Look at all selected files once their pieces are verified: cut one that has grown meanwhile, and find one
        that was deleted, replaced or changed.

        Raises:
            StorageError: if one was. Its pieces have left `have`; `check` may find them again.
        """
        self.backend.finish(self._selected_files())

    def select(self, files: Collection[int] | None) -> None:
        """Change which files are wanted.

        Bytes that are here of a file that is wanted from now on are moved to their place; `prepare` makes the others. A
        file that is there stays and is used, even if it is not wanted.

        Args:
            files: indices of the wanted files, or None for all.

        Raises:
            IndexError: if a file is not in the torrent.
            StorageError: if the disk failed, or there is a file that is not ours where one of ours is to be moved
                (``errno.EEXIST``). The same files as before are then wanted.
        """
        selected, wanted = self._want(files)
        self.backend.select(selected)
        self._selected, self.wanted = selected, wanted

    def write_piece(self, piece: int, data: bytes | bytearray | memoryview) -> bool:
        """Write a whole piece if, and only if, it is the right one.

        Args:
            piece: the piece's index.
            data: what should be its bytes.

        Returns:
            Whether its hash was right, and the piece is therefore written and in `have`. If not, nothing is written.

        Raises:
            IndexError: if the piece is not in the torrent.
            StorageError: if the disk failed (``errno`` says how), or the torrent contradicts itself.
        """
        expected, digest = self._hashes.expected(piece), digest_of(self._hashes, piece, data)
        if digest != expected and not contradicts(expected, digest):
            return False
        spans = self._layout.spans(piece, 0, len(data))
        if digest != expected:
            # Padding is in one of the two hashes only, and the peer's to get wrong.
            if self._bytes.has_zero_padding(spans, data):
                raise StorageError(errno.EINVAL, f"piece {piece} has one of the torrent's two hashes and not the other")
            return False
        try:
            with self.backend.writing(self._bytes.stored(spans)):
                self._bytes.write(spans, data)
                self.have[piece] = True
        except StorageError:
            # A file may have been lost while it was written to.
            self.have[piece] = False
            raise
        return True

    def read(self, piece: int, offset: int, length: int) -> bytes:
        """Read a range of a verified piece.

        Args:
            piece: the piece's index.
            offset: where the range begins in the piece.
            length: its bytes, at least 1.

        Raises:
            ValueError: if the range is empty or not inside one piece.
            StorageError: if the piece is not verified, or the disk failed. What cannot be read leaves `have`: the
                piece, or all that a file has lost, or a file that was changed; `check` may find it again.
        """
        spans = self._layout.spans(piece, offset, length)
        if not self.have[piece]:
            raise StorageError(f"piece {piece} is not verified: check() finds what is there already")
        try:
            parts = [self._bytes.read(span) for span in spans]
        except StorageError as error:
            if not descriptors.is_shortage(error):
                self.have[piece] = False
            raise
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def read_cached(self, piece: int, offset: int, length: int) -> bytes | bytearray | None:
        """Read a range of a verified piece if that takes no waiting, because it is in memory.

        Args:
            piece, offset, length: as for `read`.

        Returns:
            The bytes, or None where `read` might have to wait for a disk or would raise a StorageError.

        Raises:
            ValueError: if the range is empty or not inside one piece.
        """
        spans = self._layout.spans(piece, offset, length)
        if not self.have[piece]:
            return None
        parts = []
        for span in spans:
            part = self._bytes.read_cached(span)
            if part is None:
                return None
            parts.append(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def verify_piece(self, piece: int) -> bool:
        """Read a piece and compare its hash. `have` is what it finds.

        Returns:
            Whether it is good. It is not where a file is missing or too short.

        Raises:
            IndexError: if the piece is not in the torrent.
            StorageError: if the disk failed.
        """
        is_good = self.have[piece] = self._checker.is_good(piece)
        return is_good

    def leaf_hashes(self, piece: int) -> list[bytes]:
        """Read a verified piece of version 2, and hash its blocks (BEP 52).

        Args:
            piece: the piece's index.

        Returns:
            The SHA-256 of each block of 16 KiB, 32 bytes each; without the padding of a hybrid.

        Raises:
            StorageError: if the torrent has no hashes of version 2, or the piece is not verified, cannot be read, or
                was changed; as in `read` it then leaves `have`.
        """
        trees = trees_of(self._hashes)
        if trees is None:
            raise StorageError("the torrent has no hashes of version 2")
        hasher = trees.hasher(piece)
        for offset, length in self.torrent.geometry.blocks(piece, BUFFER):
            hasher.update(self.read(piece, offset, length))
        if hasher.digest() != trees.expected(piece):
            self.have[piece] = False
            raise StorageError(f"piece {piece} was changed")
        return hasher.leaves

    def check(
        self,
        progress: Callable[[int, int], object] | None = None,
        *,
        pieces: bitarray | None = None,
        threads: int | None = None,
        on_error: Callable[[StorageError], object] | None = None,
    ) -> bitarray:
        """Verify every piece that can be there at all, in several native threads. What no file is long enough for is
        not read.

        Args:
            progress: called with the number of pieces looked at and of all pieces to look at, after each that was read.
                What it raises ends the check within a moment, as `close` does.
            pieces: which ones, such as `restore` returns, by default all. The others stay as they are.
            threads: how many, by default one for each core.
            on_error: called, in one of them, with the error of a piece that cannot be read, which then counts as
                missing. Without it the first such error is raised.

        Returns:
            A copy of `have`.

        Raises:
            ValueError: if `pieces` is not of as many bits as there are pieces.
            StorageError: if the disk failed.
        """
        geometry = self.torrent.geometry
        pieces = ones(geometry.pieces, "big") if pieces is None else pieces
        if len(pieces) != geometry.pieces:
            raise ValueError(f"{len(pieces)} bits for {geometry.pieces} pieces")
        self._checker.check(self.have, pieces, progress or (lambda done, total: None), threads, on_error)
        return self.have.copy()

    def lock(self) -> None:
        """Keep every other program, and every other storage of this one, away from this torrent in this folder: those
        that ask, as `restore` and `checkpoint` do. It ends with `close`, or with the process.

        Raises:
            StorageError: if another one has it (``errno.EBUSY``), or the folder cannot be written.
        """
        self.backend.lock()

    def restore(self, *, lock: bool = True) -> bitarray:
        """Take the lock, and trust what the last `checkpoint` has recorded of files that look as they did then.

        Args:
            lock: whether the lock is taken. Without it nothing may be written or recorded: it is for a program that
                only reads what another one keeps.

        Returns:
            The pieces that must be hashed before they can be trusted, for `check`: those of files that are there, but
            look different or are not recorded.

        Raises:
            StorageError: if another program has the lock, or the disk failed. A resume file that is damaged or of
                another torrent is ignored.
        """
        if lock:
            self.lock()
        unknown = self.backend.restore()
        return ones(self.torrent.geometry.pieces, "big") if unknown is None else unknown

    def checkpoint(self) -> None:
        """Take the lock, make all that was written safe on the disk, and record which pieces are there. Then a restart
        trusts them, even after a crash of the machine. Nothing is done if nothing has changed.

        Raises:
            StorageError: if another program has the lock, the disk failed, or a file that we have written to is gone.
                All the rest has been recorded nevertheless, unless just that failed.
        """
        self.lock()
        self.backend.checkpoint()

    @property
    def is_recorded(self) -> bool:
        """Whether a `checkpoint` of this or an earlier run has left a record."""
        return self.backend.is_recorded

    def withdraw(self) -> bool:
        """Take out of the record the pieces that are not in `have`, such as those that a `check` has found wrong: the
        next start fetches them. Returns whether any was recorded.

        Raises:
            StorageError: if another program has the lock, or the disk failed.
        """
        self.lock()
        return self.backend.withdraw(~self.have)

    def delete(self) -> None:
        """Delete the torrent's files, and the folders that are empty then, with the record. A file that is not its own,
        or that another torrent of this process uses too, stays. Only `close` may be called afterwards.

        Raises:
            StorageError: the disk failed, or the backend cannot delete.
        """
        self.lock()
        self.backend.remove()

    def close(self) -> None:
        """Close all files, and let go of the lock. What is in use by another thread is closed when it is done. What has
        not been recorded by `checkpoint` is hashed again at the next start."""
        self.backend.close()

    def _want(self, files: Collection[int] | None) -> tuple[frozenset[int] | None, bitarray]:
        """The wanted files, None for all, and the pieces that have bytes of them."""
        if files is None:
            return None, ones(self.torrent.geometry.pieces, "big")
        selected = frozenset(several(files, "selected"))
        wanted = zeros(self.torrent.geometry.pieces, "big")
        for index in selected:
            if not 0 <= index < len(self.torrent.files):
                raise IndexError(f"file {index}: there are {len(self.torrent.files)}")
            pieces = self._layout.pieces(self.torrent.files[index])
            wanted[pieces.start : pieces.stop] = True
        return (None if len(selected) == len(self.torrent.files) else selected), wanted

    def _selected_files(self) -> list[int]:
        """The wanted files that are stored."""
        files = enumerate(self.torrent.files)
        return [index for index, file in files if file.stored and (self._selected is None or index in self._selected)]
