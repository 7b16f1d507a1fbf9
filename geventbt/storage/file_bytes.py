"""`FileBytes`: the bytes of a torrent's files, as a `Storage` reads and writes them over its backend."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NoReturn

from bitarray import bitarray

from geventbt.errors import StorageError
from geventbt.metainfo import Torrent
from geventbt.storage.backend import ChangedData, MissingData, StorageBackend
from geventbt.storage.disk.backend import DiskBackend
from geventbt.storage.layout import Layout, Span


class FileBytes:
    """Ranges of a torrent's files. Padding is zeros, and in no backend (BEP 47); what a file has lost leaves `have`.

    Args:
        torrent: the torrent.
        folder: the folder that its file or folder is in.
        layout: of its files.
        backend: keeps the bytes.
        have: the verified pieces.
    """

    __slots__ = ("_backend", "_files", "_folder", "_have", "_layout", "_padding")

    def __init__(self, torrent: Torrent, folder: Path, layout: Layout, backend: StorageBackend, have: bitarray) -> None:
        self._files = torrent.files
        self._padding = [file.padding for file in torrent.files]
        self._folder = folder
        self._layout = layout
        self._backend = backend
        self._have = have

    def path(self, file: int) -> str:
        """Where a file is, or would be, on the disk; see `Storage.path_name`."""
        if isinstance(self._backend, DiskBackend):
            return self._backend.path(file)
        return os.path.join(self._folder, *self._files[file].path)

    def stored(self, spans: Iterable[Span]) -> Iterator[int]:
        """The files of ranges, without padding."""
        return (span.file for span in spans if not self._padding[span.file])

    def read(self, span: Span) -> bytes:
        """Read a range of a file.

        Raises:
            StorageError: it cannot be read.
        """
        if self._padding[span.file]:
            return bytes(span.length)
        try:
            return self._backend.read(*span)
        except OSError as error:
            self._fail(error, span.file)

    def read_cached(self, span: Span) -> bytes | bytearray | None:
        """Read a range of a file if that takes no waiting and cannot fail; else None."""
        return bytes(span.length) if self._padding[span.file] else self._backend.read_cached(*span)

    def write(self, spans: Iterable[Span], data: bytes | bytearray | memoryview) -> None:
        """Write ranges of files, one after the other out of `data`.

        Raises:
            StorageError: one cannot be written, or what is to be padding has other bytes than zeros: they could not be
                read back, and no peer is to blame for them.
        """
        with memoryview(data) as view:
            for span, part in _parts(spans, view):
                if self._padding[span.file]:
                    if _is_zero(part):
                        continue
                    raise StorageError(errno.EINVAL, "the torrent's padding is not made of zeros", self.path(span.file))
                try:
                    self._backend.write(span.file, span.offset, part)
                except OSError as error:
                    self._fail(error, span.file)

    def has_zero_padding(self, spans: Iterable[Span], data: bytes | bytearray | memoryview) -> bool:
        """Whether all that is padding in the data of some ranges is zeros."""
        with memoryview(data) as view:
            return all(_is_zero(part) for span, part in _parts(spans, view) if self._padding[span.file])

    def _fail(self, error: OSError, file: int) -> NoReturn:
        """Raise the error of a backend as a StorageError. Pieces of bytes that a file has lost are trusted no more."""
        if isinstance(error, ChangedData):
            self._layout.clear(self._have, file)
        elif isinstance(error, MissingData):
            self._layout.clear(self._have, file, self._backend.size(file))
        if isinstance(error, StorageError):
            raise error
        raise StorageError(error.errno, error.strerror or str(error), self.path(file)) from error


def _parts(spans: Iterable[Span], view: memoryview) -> Iterator[tuple[Span, memoryview]]:
    """The bytes of each range, out of those of all of them."""
    position = 0
    for span in spans:
        yield span, view[position : position + span.length]
        position += span.length


def _is_zero(data: memoryview) -> bool:
    return data.tobytes() == bytes(len(data))
