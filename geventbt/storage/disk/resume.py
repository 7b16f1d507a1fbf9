"""The resume file: the state of a torrent's data between two runs.

A resume file is a record, see `geventbt.storage.sealed_record`, with these keys beside the common ones::

    files       [[index, size, mtime in ns], ...] the files that can be trusted, with their fingerprints
    in_parts    indices of the files whose bytes are in the parts file instead
    parts       [size, mtime in ns] of the parts file, or an empty list
    made        [[index, inode], ...] the files that are ours, trusted or not
    kept_out    indices of the files in whose place there is one that is not ours

If anything in it is wrong, the data is hashed again as if there were none.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from bitarray import bitarray
from bitarray.util import zeros

from geventbt import limits
from geventbt.metainfo import Torrent
from geventbt.storage.disk.record import Fingerprint
from geventbt.storage.sealed_record import seal, unseal

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
        b"files": [[index, *fingerprint] for index, fingerprint in sorted(resume.fingerprints.items())],
        b"in_parts": sorted(resume.in_parts),
        b"parts": list(resume.parts or ()),
        b"made": [list(entry) for entry in sorted(resume.made.items())],
        b"kept_out": sorted(resume.kept_out),
    }
    return seal(torrent, resume.have, content)


def decode(torrent: Torrent, data: bytes | None) -> Resume:
    """Read a resume file. One that is not valid for this torrent reads as an empty one."""
    nothing = Resume(zeros(torrent.geometry.pieces, "big"))
    if data is None:
        return nothing
    try:
        have, content = unseal(torrent, data, max_tokens=_TOKENS + 9 * len(torrent.files))
        return Resume(
            have,
            fingerprints={int(index): Fingerprint(int(size), int(mtime)) for index, size, mtime in content[b"files"]},
            in_parts={int(index) for index in content[b"in_parts"]},
            parts=Fingerprint(*map(int, content[b"parts"])) if content[b"parts"] else None,
            # Records of earlier versions do not have these keys.
            made={int(index): int(inode) for index, inode in content.get(b"made", ())},
            kept_out={int(index) for index in content.get(b"kept_out", ())},
        )
    except (LookupError, TypeError, ValueError):
        return nothing
