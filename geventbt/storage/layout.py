"""Where the bytes of a piece are in the files. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from geventbt.geometry import Geometry
from geventbt.metainfo import TorrentFile


class Span(NamedTuple):
    """A run of bytes inside one file: the file's index, where it starts there, how long it is."""

    file: int
    offset: int
    length: int


class Layout:
    """Maps ranges of pieces to spans of files.

    Args:
        files: of the torrent, in the order of the stream.
        geometry: of the torrent.
    """

    def __init__(self, files: Sequence[TorrentFile], geometry: Geometry) -> None:
        # An empty file has no bytes, and would share its offset with the next one.
        self._indices = [index for index, file in enumerate(files) if file.length]
        self._starts = [files[index].offset for index in self._indices]
        self._files = files
        self._geometry = geometry

    def spans(self, piece: int, offset: int, length: int) -> Iterator[Span]:
        """The spans that a range of a piece lies in, in order; their lengths add up to `length`.

        Raises:
            ValueError: if the range is not inside the piece.
        """
        if not self._geometry.contains(piece, offset, length):
            raise ValueError(f"no such range: piece {piece}, offset {offset}, length {length}")
        at = piece * self._geometry.piece_length + offset
        number = bisect_right(self._starts, at) - 1
        while length:
            index = self._indices[number]
            file = self._files[index]
            start = at - file.offset
            count = min(length, file.length - start)
            yield Span(index, start, count)
            at += count
            length -= count
            number += 1
