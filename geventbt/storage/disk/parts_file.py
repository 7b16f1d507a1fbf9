"""`PartsFile`: the sparse file for bytes of files that are not made, at the offsets of the torrent's stream."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path

from bitarray import bitarray
from bitarray.util import zeros

from geventbt import limits
from geventbt.errors import StorageError
from geventbt.metainfo import Torrent
from geventbt.storage.disk.open_file import OpenFile
from geventbt.storage.disk.open_files import OpenFiles
from geventbt.storage.layout import Layout, Span

_STEP = 1 * limits.MIB
"""Bytes moved at a time."""


class PartsFile:
    """The parts file of one torrent.

    Args:
        torrent: the torrent.
        layout: its layout.
        files: its files, with this one.
        index: the index of this one.
    """

    def __init__(self, torrent: Torrent, layout: Layout, files: OpenFiles, index: int) -> None:
        self._torrent = torrent
        self._layout = layout
        self._files = files
        self._index = index

    @property
    def is_there(self) -> bool:
        """Whether it is on the disk."""
        return self._files.status(self._index) is not None

    def pieces(self) -> bitarray:
        """The pieces of which there is anything in it."""
        geometry = self._torrent.geometry
        pieces = zeros(geometry.pieces, "big")
        if self.is_there:
            with self._files.use(self._index) as file:
                for start, end in file.data_ranges():
                    found = geometry.pieces_of(start, min(end, geometry.length) - start)
                    pieces[found.start : found.stop] = True
        return pieces

    def spans_of(self, index: int, have: bitarray) -> Iterator[Span]:
        """What it has of a file: the ranges of its verified pieces."""
        geometry = self._torrent.geometry
        for piece in self._layout.pieces(self._torrent.files[index]):
            if have[piece]:
                spans = self._layout.spans(piece, 0, geometry.piece_size(piece))
                yield from (span for span in spans if span.file == index)

    def move(self, index: int, spans: list[Span], temporary: Path) -> None:
        """Make a file of the ranges that are in it, as a whole or not at all.

        Args:
            index: of the file.
            spans: the ranges.
            temporary: where the file is made.

        Raises:
            StorageError: it cannot be made, or the ranges cannot be read.
        """
        base = self._torrent.files[index].offset

        def fill(target: OpenFile) -> None:
            for span in spans:
                for offset in range(span.offset, span.offset + span.length, _STEP):
                    length = min(_STEP, span.offset + span.length - offset)
                    target.write(offset, memoryview(source.read(base + offset, length)))

        with self._files.use(self._index) as source:
            try:
                self._files.install(index, temporary, fill)
            except StorageError as error:
                if error.errno != errno.EXDEV:
                    raise
                # The folder of the file is another file system: if we are killed here, its pieces are fetched again.
                with self._files.use(index, writable=True) as target:
                    fill(target)
