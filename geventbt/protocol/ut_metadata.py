"""The messages of ut_metadata (BEP 9), and assembly of metadata from its pieces. Pure."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

from geventbt import bencoding, limits
from geventbt.errors import BencodeError, MetadataMismatch, RemoteProtocolError
from geventbt.protocol.constants import EXTENDED

REQUEST, DATA, REJECT = 0, 1, 2


class MetadataMessage(NamedTuple):
    """A message of ut_metadata.

    Attributes:
        type: `REQUEST`, `DATA`, `REJECT`, or a number that BEP 9 does not know.
        piece: the index of a piece of 16 KiB.
        total_size: bytes of all the metadata, with `DATA`; else None.
        data: the piece, with `DATA`.
    """

    type: int
    piece: int
    total_size: int | None = None
    data: bytes = b""

    def to_bytes(self) -> bytes:
        """``<bencoded {"msg_type", "piece", "total_size"}><data>``."""
        header = {"msg_type": self.type, "piece": self.piece}
        if self.total_size is not None:
            header["total_size"] = self.total_size
        return bencoding.encode(header) + self.data

    @classmethod
    def from_bytes(cls, payload: bytes) -> MetadataMessage:
        """Read a message; the data begins where the decoder has found the header's end.

        Raises:
            RemoteProtocolError: it is not a message of ut_metadata.
        """
        try:
            header, end = bencoding.decode_prefix(payload)
        except BencodeError as error:
            raise _bad(str(error)) from None
        if not isinstance(header, dict):
            raise _bad("it does not begin with a dictionary")
        kind, piece, total = header.get(b"msg_type"), header.get(b"piece"), header.get(b"total_size")
        if not isinstance(kind, int) or not isinstance(piece, int) or not 0 <= piece < 1 << 31:
            raise _bad("msg_type or piece is missing or out of range")
        return cls(kind, piece, total if isinstance(total, int) else None, payload[end:] if kind == DATA else b"")


def _bad(text: str) -> RemoteProtocolError:
    return RemoteProtocolError(f"bad ut_metadata message: {text}", message_id=EXTENDED, bep=9)


def piece_count(size: int) -> int:
    """The number of pieces of metadata of `size` bytes."""
    return -(-size // limits.METADATA_PIECE)


def piece_of(metadata: bytes, piece: int) -> bytes:
    """One piece of metadata."""
    return metadata[piece * limits.METADATA_PIECE : (piece + 1) * limits.METADATA_PIECE]


class MetadataAssembly:
    """Metadata that is received from one peer. Memory is used only for pieces that have arrived.

    Args:
        size: bytes of all the metadata, from the peer's extended handshake.
        info_hash: its expected SHA-1; or in version 2 the first 20 bytes of its SHA-256 (BEP 52).

    Attributes:
        pieces: the number of pieces.
    """

    def __init__(self, size: int, info_hash: bytes) -> None:
        if not 1 <= size <= limits.METADATA:
            raise MetadataMismatch(f"metadata of {size} bytes: must be 1 to {limits.METADATA}")
        self.pieces = piece_count(size)
        self._size = size
        self._info_hash = info_hash
        self._data: dict[int, bytes] = {}

    @property
    def missing(self) -> int:
        """The number of pieces that have not arrived."""
        return self.pieces - len(self._data)

    def add(self, message: MetadataMessage) -> bool:
        """Take a piece. Returns whether it was missing.

        Raises:
            MetadataMismatch: its size, or the total size, is wrong.
        """
        if message.total_size not in (None, self._size):
            raise MetadataMismatch(f"metadata of {message.total_size} bytes: the peer announced {self._size}")
        if message.piece >= self.pieces:
            raise MetadataMismatch(f"metadata piece {message.piece}: there are {self.pieces} pieces")
        expected = min(limits.METADATA_PIECE, self._size - message.piece * limits.METADATA_PIECE)
        if len(message.data) != expected:
            raise MetadataMismatch(f"metadata piece {message.piece} of {len(message.data)} bytes: must be {expected}")
        if message.piece in self._data:
            return False
        self._data[message.piece] = message.data
        return True

    def finish(self) -> bytes:
        """The metadata, verified.

        Raises:
            MetadataMismatch: its hash is not the info hash.
        """
        metadata = b"".join(self._data[piece] for piece in range(self.pieces))
        hashes = (hashlib.sha1(metadata).digest(), hashlib.sha256(metadata).digest()[: len(self._info_hash)])
        if self._info_hash not in hashes:
            raise MetadataMismatch("the metadata's hash is not the info hash")
        return metadata
