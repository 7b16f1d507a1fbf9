"""Where a range of a piece lies in the files of a torrent (BEP 3: the files are one stream, cut into pieces; BEP 52:
each begins at a piece)."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import NamedTuple

from bitarray import bitarray
from bitarray.util import ones

from geventbt.geometry import Geometry
from geventbt.metainfo import TorrentFile


class Span(NamedTuple):
    """A range of bytes within one file."""

    file: int
    """The index of the file in the torrent."""
    offset: int
    """Where the range begins in the file."""
    length: int
    """Its bytes, at least 1."""


class Layout:
    """Maps ranges of pieces to ranges of files, padding files included. Files without bytes are never met.

    Args:
        files: the files of a torrent, in the order of its stream.
        geometry: the torrent's geometry.

    Raises:
        ValueError: if the files do not add up to the torrent.
    """

    def __init__(self, files: Sequence[TorrentFile], geometry: Geometry) -> None:
        if sum(file.length for file in files) != geometry.size:
            raise ValueError("the files do not add up to the length of the torrent")
        self._geometry = geometry
        self._torrent_files = files
        # Arrays: a torrent may have hundreds of thousands of files, and a list takes five times as much memory.
        self._files = array("L", (index for index, file in enumerate(files) if file.length))
        self._starts = array("Q", (file.offset for file in files if file.length))
        self._ends = array("Q", (file.offset + file.length for file in files if file.length))

    def spans(self, piece: int, offset: int, length: int) -> list[Span]:
        """The ranges of files that make up a range of a piece, in order.

        Args:
            piece: the piece's index.
            offset: where the range begins in the piece.
            length: its bytes, at least 1.

        Raises:
            ValueError: if the range is empty or not inside one piece.
        """
        if not self._geometry.contains(piece, offset, length):
            raise ValueError(f"not a range of a piece: piece {piece}, offset {offset}, length {length}")
        return self.stream_spans(self._geometry.start_of(piece) + offset, length)

    def stream_spans(self, position: int, length: int) -> list[Span]:
        """The ranges of files that make up a range of the torrent's stream, in order.

        Args:
            position: where the range begins in the stream of all files.
            length: its bytes, at least 1, all within the stream.
        """
        end = position + length
        at = bisect_right(self._starts, position) - 1
        spans: list[Span] = []
        while position < end:
            until = min(end, self._ends[at])
            spans.append(Span(self._files[at], position - self._starts[at], until - position))
            position = until
            at += 1
        return spans

    def pieces(self, file: TorrentFile, start: int = 0) -> range:
        """The pieces that have bytes of a file, from its byte `start` on: an empty range where there are none."""
        return self._geometry.pieces_of(file.offset + start, file.length - start)

    def covered(self, size: Callable[[int], int]) -> bitarray:
        """The pieces whose bytes are all within the sizes of the files. Padding is always there.

        Args:
            size: called with the index of a file; returns how much of it is there.
        """
        covered = ones(self._geometry.pieces, "big")
        for index, file in enumerate(self._torrent_files):
            if file.stored:
                missing = self.pieces(file, size(index))
                covered[missing.start : missing.stop] = False
        return covered

    def clear(self, pieces: bitarray, file: int, start: int = 0) -> None:
        """Clear in a set of pieces those that have bytes of a file, from its byte `start` on."""
        cleared = self.pieces(self._torrent_files[file], start)
        pieces[cleared.start : cleared.stop] = False
