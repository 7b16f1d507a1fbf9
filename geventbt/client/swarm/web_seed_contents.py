"""What a web seed has of a torrent: all of it, until it lacks a file or sends wrong data. Pure."""

from __future__ import annotations

from bitarray.util import ones

from geventbt.metainfo import Torrent
from geventbt.storage import Layout


class WebSeedContents:
    """The pieces that a web seed has, for all that is known.

    Args:
        torrent: the torrent.
        layout: of its files.

    Attributes:
        pieces: those that it may be asked for; to be read only.
        wrong: those that it has sent wrong.
    """

    def __init__(self, torrent: Torrent, layout: Layout) -> None:
        self._torrent = torrent
        self._layout = layout
        self.pieces = ones(torrent.geometry.pieces, "big")
        self.wrong: set[int] = set()

    def lose_file(self, file: int) -> list[int]:
        """It does not have a file, or another version of it. Returns the pieces that it is not asked for any more."""
        entry = self._torrent.files[file]
        return self._lose(self._torrent.geometry.pieces_of(entry.offset, entry.length))

    def convict(self, piece: int) -> list[int]:
        """It has sent a wrong piece. If that is all in one of several files, the file is likely to be another version.

        Returns:
            The pieces that it is not asked for any more.
        """
        geometry = self._torrent.geometry
        self.wrong.add(piece)
        lost = self._lose(range(piece, piece + 1))
        spans = self._layout.stream_spans(geometry.start_of(piece), geometry.piece_size(piece))
        files = {span.file for span in spans}
        if len(self._torrent.files) > 1 and len(files) == 1:
            lost += self.lose_file(files.pop())
        return lost

    def _lose(self, pieces: range) -> list[int]:
        lost = [piece for piece in pieces if self.pieces[piece]]
        for piece in lost:
            self.pieces[piece] = False
        return lost
