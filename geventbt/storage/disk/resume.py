"""The resume file: the state of a torrent's data between two runs.

A resume file is a bencoded dictionary::

    version     1
    info_hash   20 bytes
    bitfield    the pieces that were verified and on the disk (BEP 3)
    files       [[index, size, mtime in ns], ...] the files that can be trusted, with their fingerprints
    in_parts    indices of the files whose bytes are in the parts file instead
    parts       [size, mtime in ns] of the parts file, or an empty list
    made        [[index, inode], ...] the files that are ours, trusted or not
    kept_out    indices of the files in whose place there is one that is not ours
    digest      SHA-256 of the same dictionary without this key

It is trusted as a whole or not at all: if anything in it is wrong, the data is hashed again as if there were none.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

from bitarray import bitarray
from bitarray.util import zeros

from geventbt import bencoding, limits
from geventbt.errors import BencodeError
from geventbt.metainfo import Torrent
from geventbt.storage.disk.record import Fingerprint

VERSION = 1
_DIGEST = b"digest"
_TOKENS = 32  # of a resume file without files; each has four and three, and one in each of the two sets


@dataclass(slots=True)
class Resume:
    """The contents of a resume file.

    Attributes:
        have: the pieces that were verified and on the disk.
        fingerprints: the fingerprints of the files, by index.
        in_parts: indices of the files whose bytes were in the parts file.
        parts: the fingerprint of the parts file.
        made: the inodes of the files that are ours, by index.
        kept_out: indices of the files in whose place there is one that is not ours.
    """

    have: bitarray
    fingerprints: dict[int, Fingerprint] = field(default_factory=dict)
    in_parts: set[int] = field(default_factory=set)
    parts: Fingerprint | None = None
    made: dict[int, int] = field(default_factory=dict)
    kept_out: set[int] = field(default_factory=set)


def largest(torrent: Torrent) -> int:
    """The bytes that a resume file of a torrent may have."""
    return limits.RESUME_FILE + torrent.geometry.pieces // 8 + limits.RESUME_ENTRY * len(torrent.files)


def encode(torrent: Torrent, resume: Resume) -> bytes:
    """Write a resume file."""
    content = {
        b"version": VERSION,
        b"info_hash": torrent.swarm_hash,
        b"bitfield": resume.have.tobytes(),
        b"files": [[index, *fingerprint] for index, fingerprint in sorted(resume.fingerprints.items())],
        b"in_parts": sorted(resume.in_parts),
        b"parts": list(resume.parts or ()),
        b"made": [list(entry) for entry in sorted(resume.made.items())],
        b"kept_out": sorted(resume.kept_out),
    }
    return bencoding.encode({**content, _DIGEST: _digest(content)})


def decode(torrent: Torrent, data: bytes | None) -> Resume:
    """Read a resume file. One that is not valid for this torrent reads as an empty one."""
    nothing = Resume(zeros(torrent.geometry.pieces, "big"))
    if data is None:
        return nothing
    try:
        content = bencoding.decode(data, max_tokens=_TOKENS + 9 * len(torrent.files))
        if not isinstance(content, dict) or content.pop(_DIGEST, None) != _digest(content):
            return nothing
        return _read(torrent, content) or nothing
    except (BencodeError, LookupError, TypeError, ValueError):
        return nothing


def _digest(content: dict[bytes, Any]) -> bytes:
    return hashlib.sha256(bencoding.encode(content)).digest()


def _read(torrent: Torrent, content: dict[bytes, Any]) -> Resume | None:
    """Check the contents; with errors of any builtin kind where they are not even of the right shape."""
    if content[b"version"] != VERSION or content[b"info_hash"] != torrent.swarm_hash:
        return None
    have = bitarray(endian="big")
    have.frombytes(content[b"bitfield"])
    spare = len(have) - torrent.geometry.pieces
    if not 0 <= spare < 8:
        return None
    del have[torrent.geometry.pieces :]
    fingerprints = {int(index): Fingerprint(int(size), int(mtime)) for index, size, mtime in content[b"files"]}
    parts = Fingerprint(*map(int, content[b"parts"])) if content[b"parts"] else None
    in_parts = {int(index) for index in content[b"in_parts"]}
    # Records of earlier versions do not have these keys.
    made = {int(index): int(inode) for index, inode in content.get(b"made", ())}
    kept_out = {int(index) for index in content.get(b"kept_out", ())}
    return Resume(have, fingerprints, in_parts, parts, made, kept_out)
