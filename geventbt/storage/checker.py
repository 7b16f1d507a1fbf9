"""`Checker`: which pieces of a torrent are there, found out by hashing what its backend has."""

from __future__ import annotations

import errno
from collections.abc import Callable
from contextlib import closing, nullcontext

from bitarray import bitarray

from geventbt.concurrency import descriptors
from geventbt.errors import StorageError
from geventbt.metainfo import Torrent
from geventbt.metainfo.hashing import BUFFER, ReadInto, hash_piece, hash_pieces
from geventbt.metainfo.piece_hashes import PieceHashes
from geventbt.storage.backend import MissingData, StorageBackend
from geventbt.storage.layout import Layout


class Checker:
    """Reads pieces, verified or not, and compares their hashes.

    Args:
        torrent: the torrent.
        hashes: of its pieces.
        layout: of its files.
        backend: keeps their bytes.
    """

    def __init__(self, torrent: Torrent, hashes: PieceHashes, layout: Layout, backend: StorageBackend) -> None:
        self._geometry = torrent.geometry
        self._padding = [file.padding for file in torrent.files]
        self._hashes = hashes
        self._layout = layout
        self._backend = backend

    def is_good(self, piece: int) -> bool:
        """Read a piece and compare its hash, in this native thread.

        Raises:
            IndexError: the piece is not in the torrent.
            StorageError: it cannot be read.
        """
        expected = self._hashes.expected(piece)
        buffer = memoryview(bytearray(BUFFER))
        return hash_piece(self._read_into, self._geometry, self._hashes, piece, buffer) == expected

    def check(
        self,
        have: bitarray,
        pieces: bitarray,
        progress: Callable[[int, int], object],
        threads: int | None,
        on_error: Callable[[StorageError], object] | None,
    ) -> None:
        """Set or clear each of some pieces in `have`, by its hash, in several native threads; see `Storage.check`."""
        with self._backend.checking(pieces):
            possible = pieces & self._backend.possible(self._layout)
            have &= ~pieces | possible
            total, done = pieces.count(), pieces.count() - possible.count()
            if done:
                progress(done, total)
            if not possible.any():
                return
            indices = possible.search(1)
            read = self._read_into if on_error is None else _Tolerant(self._read_into, on_error)
            with closing(
                hash_pieces(self._geometry, self._hashes, indices, lambda: nullcontext(read), threads)
            ) as found:
                for piece, digest in found:
                    have[piece] = digest == self._hashes.expected(piece)
                    done += 1
                    progress(done, total)

    def _read_into(self, position: int, view: memoryview) -> bool:
        """Fill a buffer from the stream of all files, verified or not; whether it is all there."""
        filled = 0
        try:
            for span in self._layout.stream_spans(position, len(view)):
                part = view[filled : filled + span.length]
                filled += span.length
                if self._padding[span.file]:
                    part[:] = bytes(span.length)
                else:
                    self._backend.read_into(span.file, span.offset, part)
        except MissingData:
            return False
        return True


class _Tolerant:
    """A reader that tells of what cannot be read, and goes on.

    Args:
        read_into: reads the stream, or raises.
        on_error: called with each error.
    """

    def __init__(self, read_into: ReadInto, on_error: Callable[[StorageError], object]) -> None:
        self._read_into = read_into
        self._on_error = on_error

    def __call__(self, position: int, view: memoryview) -> bool:
        """See `read_into`; False where it raises, unless the storage is closed or there is a lack of descriptors."""
        try:
            return self._read_into(position, view)
        except StorageError as error:
            if error.errno == errno.EBADF or descriptors.is_shortage(error):
                raise
            self._on_error(error)
            return False
