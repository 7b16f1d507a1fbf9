"""The record of a torrent in a store: what a restart may trust. Pure.

It is a bencoded dictionary::

    version     1
    info_hash   20 bytes
    bitfield    the pieces that were verified and in the store (BEP 3)
    files       [[index, size, mark], ...] the objects of files, as they looked
    parts       [[index, offset, length], ...] the part objects
    digest      SHA-256 of the same dictionary without this key

It is trusted as a whole or not at all.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from bitarray import bitarray

from geventbt import bencoding, limits
from geventbt.errors import BencodeError
from geventbt.metainfo import Torrent

_VERSION = 1
_DIGEST = b"digest"


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
        b"version": _VERSION,
        b"info_hash": torrent.swarm_hash,
        b"bitfield": record.have.tobytes(),
        b"files": [[index, *stored] for index, stored in sorted(record.files.items())],
        b"parts": [list(part) for part in sorted(record.parts)],
    }
    return bencoding.encode({**content, _DIGEST: _digest(content)})


def decode(torrent: Torrent, data: bytes) -> Record | None:
    """Read a record; None if it is damaged, or of another torrent."""
    try:
        content = bencoding.decode(data, max_tokens=limits.STORE_RECORD_TOKENS)
        if not isinstance(content, dict) or content.pop(_DIGEST, None) != _digest(content):
            return None
        return _read(torrent, content)
    except (BencodeError, LookupError, TypeError, ValueError):
        return None


def _digest(content: dict[bytes, Any]) -> bytes:
    return hashlib.sha256(bencoding.encode(content)).digest()


def _read(torrent: Torrent, content: dict[bytes, Any]) -> Record | None:
    if content[b"version"] != _VERSION or content[b"info_hash"] != torrent.swarm_hash:
        return None
    have = bitarray(endian="big")
    have.frombytes(content[b"bitfield"])
    if not 0 <= len(have) - torrent.geometry.pieces < 8:
        return None
    del have[torrent.geometry.pieces :]
    files = {int(index): (int(size), bytes(mark)) for index, size, mark in content[b"files"]}
    return Record(have, files, {(int(file), int(offset), int(length)) for file, offset, length in content[b"parts"]})
