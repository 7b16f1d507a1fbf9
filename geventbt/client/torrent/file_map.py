"""Which files of a torrent are wanted, how much, and which are complete. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

from bitarray import bitarray
from bitarray.util import zeros

from geventbt.arguments import several
from geventbt.client.pieces.picker import HIGHEST, NORMAL
from geventbt.client.status import FileStatus
from geventbt.geometry import Geometry
from geventbt.metainfo import Torrent, TorrentFile
from geventbt.storage import Layout

if TYPE_CHECKING:
    from geventbt.storage import Storage

FileRef: TypeAlias = int | str | TorrentFile


class FileMap:
    """The files of a torrent, their priorities, and the pieces that follow from them.

    Args:
        torrent: the torrent.
        selected: the files that are wanted, by index, by path in the torrent, or as `TorrentFile`; None for all.

    Attributes:
        files: the files.
        wanted: the pieces that have bytes of a file that is wanted.
    """

    def __init__(self, torrent: Torrent, selected: Collection[FileRef] | None = None) -> None:
        self.files = torrent.files
        self._geometry = torrent.geometry
        self._layout = Layout(torrent.files, torrent.geometry)
        self._padding = _padding(torrent.files, self._layout, torrent.geometry)
        self._names: dict[str | TorrentFile, int] | None = None
        chosen = range(len(self.files)) if selected is None else {self.index_of(file) for file in selected}
        self._priorities = [NORMAL if index in chosen else 0 for index in range(len(self.files))]
        self._missing: list[int] = []
        self._have: bitarray = zeros(self._geometry.pieces, "big")
        self._follow()

    def index_of(self, file: FileRef) -> int:
        """The index of a file. In a path the torrent's own folder may be left out.

        Raises:
            LookupError: there is none.
        """
        if isinstance(file, int):
            if not 0 <= file < len(self.files):
                raise LookupError(f"file {file}: there are {len(self.files)}")
            return file
        index = self._by_name().get(file)
        if index is not None:
            return index
        raise LookupError(f"no such file in the torrent: {file!r}")

    def _by_name(self) -> dict[str | TorrentFile, int]:
        """The files by all that they may be called; made once, and only for those who use names."""
        if self._names is None:
            self._names = {}
            for skipped in (0, 1):
                for index, file in enumerate(self.files):
                    self._names.setdefault("/".join(file.path[skipped:]), index)
            self._names.pop("", None)
            self._names.update(zip(self.files, range(len(self.files)), strict=True))
        return self._names

    @property
    def selected(self) -> set[int]:
        """The indices of the files that are wanted."""
        return {index for index, priority in enumerate(self._priorities) if priority}

    @property
    def priorities(self) -> dict[FileRef, int]:
        """The priority of each file, by its index."""
        return dict(enumerate(self._priorities))

    def only(self, files: Collection[FileRef]) -> dict[FileRef, int]:
        """The priorities by which these files are fetched, and no others.

        Raises:
            LookupError: there is no such file.
        """
        indices = {self.index_of(file) for file in several(files, "files")}
        return {index: NORMAL if index in indices else 0 for index in range(len(self.files))}

    def set_priorities(self, priorities: Mapping[FileRef, int]) -> None:
        """Give files priorities: 0 not wanted, 1 to 7. All of them, or none if it raises.

        Raises:
            LookupError: there is no such file.
            ValueError: there is no such priority.
        """
        for priority in priorities.values():
            if not 0 <= priority <= HIGHEST:
                raise ValueError(f"priority {priority}: must be 0 to {HIGHEST}")
        for index, priority in [(self.index_of(file), priority) for file, priority in priorities.items()]:
            self._priorities[index] = priority
        self._follow()

    def piece_priorities(self) -> bytes:
        """The priority of each piece: the highest of the files that have bytes in it."""
        priorities = bytearray(self._geometry.pieces)
        for file, priority in zip(self.files, self._priorities, strict=True):
            pieces = self._layout.pieces(file)
            if priority and pieces:
                # Neighbours share the pieces at their borders; those between them are this file's alone.
                first, last = pieces[0], pieces[-1]
                at_first, at_last = priorities[first], priorities[last]
                priorities[first : last + 1] = bytes([priority]) * len(pieces)
                priorities[first] = max(priority, at_first)
                priorities[last] = max(priorities[last], at_last)
        return bytes(priorities)

    def _follow(self) -> None:
        """Derive from the files which pieces are wanted. Padding is wanted as the file before it is (BEP 47)."""
        for index, file in enumerate(self.files):
            if file.padding and index:
                self._priorities[index] = self._priorities[index - 1]
        wanted: bitarray = zeros(self._geometry.pieces, "big")
        for file, priority in zip(self.files, self._priorities, strict=True):
            pieces = self._layout.pieces(file)
            if priority and pieces:
                wanted[pieces.start : pieces.stop] = 1
        self.wanted = wanted

    def bytes_of(self, pieces: bitarray) -> int:
        """The bytes of a set of pieces, without padding."""
        padding = sum(length for piece, length in self._padding.items() if pieces[piece])
        return self._geometry.bytes_of(pieces) - padding

    def count(self, have: bitarray) -> None:
        """Count how many pieces of each file are missing; once, and then `note_verified` counts on."""
        self._have = have.copy()
        ranges = [self._layout.pieces(file) for file in self.files]
        self._missing = [have.count(0, pieces.start, pieces.stop) if pieces else 0 for pieces in ranges]

    def note_verified(self, piece: int) -> list[int]:
        """Note that a piece is there now. Returns the files that have become complete by it."""
        completed: list[int] = []
        if self._have[piece]:
            return completed
        self._have[piece] = True
        for span in self._layout.spans(piece, 0, self._geometry.piece_size(piece)):
            self._missing[span.file] -= 1
            if not self._missing[span.file] and not self.files[span.file].padding:
                completed.append(span.file)
        return completed

    def lost(self, have: bitarray) -> bitarray:
        """The pieces that have been counted or noted, and are not in `have` any more."""
        return self._have & ~have

    def note_lost(self, piece: int) -> None:
        """Note that a piece that was there is gone."""
        if self._have[piece]:
            self._have[piece] = False
            for span in self._layout.spans(piece, 0, self._geometry.piece_size(piece)):
                self._missing[span.file] += 1

    def empty_files(self) -> list[int]:
        """The wanted files that have no bytes, and are complete once they are made."""
        files = zip(self.files, self._priorities, strict=True)
        return [i for i, (file, priority) in enumerate(files) if file.stored and not file.length and priority]

    @property
    def done(self) -> bool:
        """Whether every piece that is wanted has been counted or noted."""
        return not (self.wanted & ~self._have).any()

    def status(self, storage: Storage) -> list[FileStatus]:
        """The files that are stored, as they are now."""
        return [
            FileStatus(
                index,
                storage.path_name(index),
                "/".join(file.path),
                file.length,
                self._priorities[index],
                not self._missing[index],
                self._done(index),
            )
            for index, file in enumerate(self.files)
            if file.stored
        ]

    def _done(self, index: int) -> int:
        """The bytes of a file that are in verified pieces; those of its first and last piece may be few."""
        file, pieces = self.files[index], self._layout.pieces(self.files[index])
        if not self._missing[index]:
            return file.length
        geometry = self._geometry
        missing = geometry.bytes_of_full(self._missing[index])
        for piece in {pieces[0], pieces[-1]}:
            if not self._have[piece]:
                start = max(geometry.start_of(piece), file.offset)
                end = min(geometry.start_of(piece + 1), file.offset + file.length)
                missing -= geometry.piece_length - (end - start)
        return file.length - missing


def _padding(files: Sequence[TorrentFile], layout: Layout, geometry: Geometry) -> dict[int, int]:
    """The bytes of padding in each piece that has some (BEP 47)."""
    padding: Counter[int] = Counter()
    for file in files:
        if file.padding:
            for piece in layout.pieces(file):
                start = geometry.start_of(piece)
                end = min(start + geometry.piece_size(piece), file.offset + file.length)
                padding[piece] += end - max(start, file.offset)
    return padding
