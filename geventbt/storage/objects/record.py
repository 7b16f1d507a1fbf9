"""The record of a torrent in a store: what a restart may trust. Pure.

It has these keys beside those that are common to records, see `geventbt.storage.sealed_record`::

    files       [[index, size, mark], ...] the objects of files, as they looked
    parts       [[index, offset, length], ...] the part objects
"""

from __future__ import annotations

from dataclasses import dataclass

from bitarray import bitarray

from geventbt import limits
from geventbt.metainfo import Torrent
from geventbt.storage.sealed_record import seal, unseal


@dataclass(slots=True)
class Record:
    """The contents of a record.

    Attributes:
        have: the pieces that were verified and in the store.
        files: size and mark of the objects of files, by index.
        parts: (index of the file, offset, length) of the part objects.
    """

    have: bitarray
    files: dict[int, tuple[int, bytes]]
    parts: set[tuple[int, int, int]]


def encode(torrent: Torrent, record: Record) -> bytes:
    """Write a record."""
    content = {
        b"files": [[index, *stored] for index, stored in sorted(record.files.items())],
        b"parts": [list(part) for part in sorted(record.parts)],
    }
    return seal(torrent, record.have, content)


def decode(torrent: Torrent, data: bytes) -> Record | None:
    """Read a record; None if it is damaged, or of another torrent."""
    try:
        have, content = unseal(torrent, data, max_tokens=limits.STORE_RECORD_TOKENS)
        files = {int(index): (int(size), bytes(mark)) for index, size, mark in content[b"files"]}
        parts = {(int(file), int(offset), int(length)) for file, offset, length in content[b"parts"]}
    except (LookupError, TypeError, ValueError):
        return None
    return Record(have, files, parts)
