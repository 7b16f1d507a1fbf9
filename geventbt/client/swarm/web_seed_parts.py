"""What a web seed is asked for: which ranges of which URLs make up a range of a torrent's stream (BEP 17, 19). Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from geventbt.geometry import Geometry
from geventbt.metainfo import Torrent
from geventbt.metainfo.web_seed_urls import file_url, piece_url
from geventbt.storage import Layout


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a torrent's stream that one request asks for.

    Attributes:
        file: the index of the file that it is a part of; -1 if the URL is not that of a file (BEP 17).
        url: where it is; None for padding, which is zeros and is not asked for.
        start, length: where it begins in what the URL has, and its bytes.
        total: all bytes that the URL must have.
        is_range: whether a range is asked for; else the URL names the part (BEP 17).
    """

    file: int
    url: str | None
    start: int
    length: int
    total: int
    is_range: bool = True


class Parts(Protocol):
    """The requests of one kind of web seed."""

    def parts(self, position: int, length: int) -> Iterator[Part]:
        """What makes up a range of the torrent's stream, in order."""


class FileParts:
    """Requests for ranges of files, as they are on any web server (BEP 19).

    Args:
        url: of the web seed.
        torrent: whose files it has.
        layout: of the files.
    """

    def __init__(self, url: str, torrent: Torrent, layout: Layout) -> None:
        self._url = url
        self._torrent = torrent
        self._layout = layout

    def parts(self, position: int, length: int) -> Iterator[Part]:
        """A range of each file that has bytes of it."""
        for span in self._layout.stream_spans(position, length):
            file = self._torrent.files[span.file]
            url = None if file.padding else file_url(self._url, self._torrent, file)
            yield Part(span.file, url, span.offset, span.length, file.length)


class PieceParts:
    """Requests for ranges of pieces, to a script that knows the torrent (BEP 17).

    Args:
        url: of the script.
        info_hash: of the torrent: 20 bytes.
        geometry: of the torrent.
    """

    def __init__(self, url: str, info_hash: bytes, geometry: Geometry) -> None:
        self._url = url
        self._info_hash = info_hash
        self._geometry = geometry

    def parts(self, position: int, length: int) -> Iterator[Part]:
        """A range of each piece that has bytes of it."""
        end = position + length
        while position < end:
            piece, offset = self._geometry.piece_at(position)
            count = min(self._geometry.piece_size(piece) - offset, end - position)
            url = piece_url(self._url, self._info_hash, piece, offset, offset + count)
            yield Part(-1, url, 0, count, count, is_range=False)
            position += count
