"""`TorrentReader`: a file of a torrent that is read while it is being fetched."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Hashable
from operator import index
from time import monotonic
from typing import Any, Protocol

from geventbt import limits
from geventbt.client.torrent.reading_rate import ReadingRate
from geventbt.geometry import Geometry
from geventbt.metainfo import TorrentFile

BUFFER = 64 * limits.KIB
"""The least number of bytes that is read from disk at once; the rest is kept for the next read."""


class PieceSource(Protocol):
    """The pieces of a torrent, which are fetched when they are read."""

    def read(self, piece: int, offset: int, length: int, *, gives_up: Callable[[], bool]) -> bytes:
        """Block until a piece is verified, and read a range of it; empty if the reader gives up."""

    def read_ahead(self, reader: Hashable, pieces: range, rate: float = 0.0) -> None:
        """Fetch these pieces first, one after the other: a reader needs them, and no others any more.

        Args:
            reader: its key.
            pieces: what it needs.
            rate: bytes a second that it will read, as far as is known.
        """


class TorrentReader(io.BufferedIOBase):
    """A binary file that works with `zipfile`, `shutil.copyfileobj` and everything else that reads files.

    `read(n)` blocks until n bytes, or all up to the end, are verified. The piece that is needed is fetched before all
    others, and then those ahead of it, more of them the longer and faster it is read in order. `read1(n)` returns at
    most the rest of one piece. A read raises the error that has failed the torrent. Made by `ActiveTorrent.open`.

    Args:
        pieces: the pieces of the torrent.
        geometry: their lengths.
        file: the file.

    Attributes:
        name: its path in the torrent, with slashes.
        mode: "rb".
    """

    def __init__(self, pieces: PieceSource, geometry: Geometry, file: TorrentFile) -> None:
        super().__init__()
        self.name = "/".join(file.path)
        self.mode = "rb"
        self._pieces = pieces
        self._geometry = geometry
        self._file = file
        self._position = 0
        self._buffer = b""
        self._buffer_start = 0
        self._rate = ReadingRate()
        self._fetched_at = 0.0
        self._expected = -1
        self._piece = -1

    def __repr__(self) -> str:
        state = "closed" if self.closed else f"at {self._position} of {self.size} bytes"
        return f"<{type(self).__name__} {self.name!r} {state}>"

    @property
    def size(self) -> int:
        """Its length in bytes."""
        return self._file.length

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def tell(self) -> int:
        """The position of the next read."""
        self._check_open()
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Set the position of the next read. Fetches nothing until then."""
        self._check_open()
        offset = index(offset)
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self.size}
        if whence not in base:
            raise ValueError(f"whence {whence}: must be 0, 1 or 2")
        position = base[whence] + offset
        if position < 0:
            raise ValueError(f"seek to {position}: must be 0 or more")
        self._position = position
        return position

    def read(self, size: int | None = -1, /) -> bytes:
        """Read `size` bytes, or all; fewer only at the end of the file.

        A read that is cut short by an exception, such as a timeout, leaves the position where it was.
        """
        self._check_open()
        position = self._position
        end = self.size if size is None or size < 0 else min(position + size, self.size)
        parts: list[bytes] = []
        while position < end:
            part = self._read_part(position, end - position)
            parts.append(part)
            position += len(part)
        self._position = max(position, self._position) if parts else self._position
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def read1(self, size: int = -1, /) -> bytes:
        """Read up to `size` bytes, at most to the end of a piece. Empty only at the end of the file."""
        self._check_open()
        left = self.size - self._position
        wanted = left if size < 0 else min(size, left)
        if wanted <= 0:
            return b""
        part = self._read_part(self._position, wanted)
        self._position += len(part)
        return part

    def peek(self, size: int = 0, /) -> bytes:
        """Read without moving the position: any number of bytes, but at least one before the end of the file."""
        self._check_open()
        left = self.size - self._position
        return self._read_part(self._position, min(left, max(1, size))) if left > 0 else b""

    def write(self, data: Any, /) -> int:
        """Raise io.UnsupportedOperation: the file is read-only."""
        raise io.UnsupportedOperation("not writable")

    def close(self) -> None:
        """Fetch nothing more for this reader. A greenlet that is reading gets the ValueError of a closed file."""
        if not self.closed:
            super().close()
            self._buffer = b""
            # At the end of the interpreter, which closes files that were left open, there are no greenlets any more.
            if not sys.is_finalizing():
                self._pieces.read_ahead(id(self), range(0))

    def _read_part(self, position: int, wanted: int) -> bytes:
        """Read up to `wanted` bytes, at most to the end of a piece; at least one."""
        start = position - self._buffer_start
        if not 0 <= start < len(self._buffer):
            buffer = self._fetch(position, max(wanted, BUFFER))
            self._check_open()
            if len(buffer) <= wanted:
                return buffer
            self._buffer, self._buffer_start, start = buffer, position, 0
        return self._buffer[start : start + wanted]

    def _fetch(self, position: int, wanted: int) -> bytes:
        piece, offset = self._geometry.piece_at(self._file.offset + position)
        count = min(wanted, self.size - position, self._geometry.piece_size(piece) - offset)
        if position == self._expected:
            self._rate.on_pause(monotonic() - self._fetched_at)
        if piece != self._piece:
            self._read_ahead(piece, position)
        data = self._pieces.read(piece, offset, count, gives_up=lambda: self.closed)
        self._rate.on_read(len(data))
        self._fetched_at = monotonic()
        self._expected = position + len(data)
        return data

    def _read_ahead(self, piece: int, position: int) -> None:
        """Request the piece that is needed, and those ahead of it; further ahead while the reader reads in order."""
        self._piece = piece
        if position == self._expected:
            self._rate.read_on()
        else:
            self._rate.restart()
        start = self._file.offset + position
        ahead = self._geometry.pieces_of(start, max(1, min(self._rate.readahead, self.size - position)))
        self._pieces.read_ahead(id(self), ahead, self._rate.rate)

    def _check_open(self) -> None:
        if self.closed:
            raise ValueError("I/O operation on closed file")
