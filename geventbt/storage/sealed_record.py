"""Records of a torrent's verified pieces, which are trusted as a whole or not at all. Pure.

A record is a bencoded dictionary, with keys of its kind beside these::

    version     1
    info_hash   20 bytes
    bitfield    the pieces that were verified and there (BEP 3)
    digest      SHA-256 of the same dictionary without this key
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from bitarray import bitarray

from geventbt import bencoding
from geventbt.metainfo import Torrent

_VERSION = 1
_DIGEST = b"digest"


def seal(torrent: Torrent, have: bitarray, content: Mapping[bytes, object]) -> bytes:
    """Write a record.

    Args:
        torrent: the torrent.
        have: the pieces.
        content: the keys of its kind.
    """
    whole = {
        b"version": _VERSION,
        b"info_hash": torrent.swarm_hash,
        b"bitfield": have.tobytes(),
        **content,
    }
    return bencoding.encode({**whole, _DIGEST: _digest(whole)})


def unseal(torrent: Torrent, data: bytes, *, max_tokens: int) -> tuple[bitarray, dict[bytes, Any]]:
    """Read a record.

    Returns:
        The pieces, and the dictionary, in which only these are checked.

    Raises:
        ValueError, LookupError, TypeError: it is damaged, of another torrent or of another version.
    """
    content = bencoding.decode(data, max_tokens=max_tokens)
    if not isinstance(content, dict) or content.pop(_DIGEST, None) != _digest(content):
        raise ValueError("the digest of the record is wrong")
    if content[b"version"] != _VERSION or content[b"info_hash"] != torrent.swarm_hash:
        raise ValueError("the record is of another version or torrent")
    have = bitarray(endian="big")
    have.frombytes(content[b"bitfield"])
    if not 0 <= len(have) - torrent.geometry.pieces < 8:
        raise ValueError(f"a record of {len(have)} bits for {torrent.geometry.pieces} pieces")
    del have[torrent.geometry.pieces :]
    return have, content


def _digest(content: Mapping[bytes, object]) -> bytes:
    return hashlib.sha256(bencoding.encode(content)).digest()
