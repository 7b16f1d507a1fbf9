"""A file of a torrent that is read while it is being fetched."""

from __future__ import annotations

import io
import os
from operator import index
from typing import TYPE_CHECKING, Any

from geventbt import limits
from geventbt.metainfo import TorrentFile

if TYPE_CHECKING:
    from geventbt.client.torrent.active_torrent import ActiveTorrent


class TorrentReader(io.RawIOBase):
    """A binary file, to be used like any other: with `io.BufferedReader`, `zipfile`, `shutil.copyfileobj`.

    A read blocks until the piece that it needs is verified; that piece is fetched before all others, and then those
    ahead of it: the further, the longer one has been reading on. It may be shorter than what was asked for, as reads of
    raw files may; an empty one is the end. What fails the torrent is raised.

    Args:
        torrent: what it belongs to.
        file: which of its files.
    """

    def __init__(self, torrent: ActiveTorrent, file: TorrentFile) -> None:
        super().__init__()
        assert torrent.metainfo is not None
        self.name = "/".join(file.path)
        self._torrent = torrent
        self._file = file
        self._geometry = torrent.metainfo.geometry
        self._position = 0
        self._readahead = limits.FIRST_READAHEAD
        self._read_on_from = -1
        self._piece = -1

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def tell(self) -> int:
        """Where the next read begins."""
        self._check_open()
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to another place; nothing is fetched before the next read."""
        self._check_open()
        offset = index(offset)
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._file.length}
        if whence not in base:
            raise ValueError(f"whence {whence}: must be 0, 1 or 2")
        position = base[whence] + offset
        if position < 0:
            raise ValueError(f"a position of {position}")
        self._position = position
        return position

    def readinto(self, buffer: Any) -> int:
        """Read some bytes, at most to the end of a piece. Returns how many; 0 at the end of the file."""
        self._check_open()
        view = memoryview(buffer).cast("B")
        wanted = min(len(view), self._file.length - self._position)
        if wanted <= 0:
            return 0
        piece, offset = self._geometry.piece_at(self._file.offset + self._position)
        count = min(wanted, self._geometry.piece_size(piece) - offset)
        if piece != self._piece:
            self._piece = piece
            self._look_ahead()
        data = self._torrent.read(piece, offset, count, gives_up=lambda: self.closed)
        self._check_open()
        view[:count] = data
        self._position += count
        self._read_on_from = self._position
        return count

    def write(self, data: Any) -> int:
        """It cannot be written: raises io.UnsupportedOperation."""
        raise io.UnsupportedOperation("not writable")

    def close(self) -> None:
        """Fetch nothing more for this reader. Whoever is reading gets the ValueError of a closed file."""
        if not self.closed:
            super().close()
            self._torrent.read_ahead(id(self), range(0))

    def _look_ahead(self) -> None:
        """Have the piece that is needed fetched, and those that will be if the reader goes on as it does."""
        reads_on = self._position == self._read_on_from
        self._readahead = min(2 * self._readahead, limits.MAX_READAHEAD) if reads_on else limits.FIRST_READAHEAD
        end = self._file.offset + min(self._position + self._readahead, self._file.length)
        ahead = range(self._piece, max(self._piece + 1, self._geometry.pieces_of(0, end).stop))
        self._torrent.read_ahead(id(self), ahead)

    def _check_open(self) -> None:
        if self.closed:
            raise ValueError("I/O operation on closed file")
