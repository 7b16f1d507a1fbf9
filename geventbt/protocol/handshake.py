"""The handshake: the first 68 bytes in each direction (BEP 3), and its reserved bits."""

from __future__ import annotations

from dataclasses import dataclass

from geventbt.errors import HandshakeError
from geventbt.protocol.constants import (
    HANDSHAKE_LENGTH,
    PROTOCOL_STRING,
    RESERVED_DHT,
    RESERVED_EXTENDED,
    RESERVED_FAST,
    RESERVED_V2,
)

_RESERVED_START = len(PROTOCOL_STRING)
_INFO_HASH_START = _RESERVED_START + 8
_PEER_ID_START = _INFO_HASH_START + 20


@dataclass(frozen=True, slots=True)
class Extensions:
    """The extensions that one side supports, from its reserved bits.

    Attributes:
        dht: it runs a DHT node (BEP 5).
        fast: the fast extension (BEP 6).
        extended: the extension protocol (BEP 10).
        v2: BitTorrent v2 (BEP 52).
    """

    dht: bool = False
    fast: bool = False
    extended: bool = False
    v2: bool = False

    @classmethod
    def from_reserved(cls, reserved: bytes) -> Extensions:
        """Read the eight reserved bytes."""

        def is_set(bit: tuple[int, int]) -> bool:
            return bool(reserved[bit[0]] & bit[1])

        return cls(
            dht=is_set(RESERVED_DHT),
            fast=is_set(RESERVED_FAST),
            extended=is_set(RESERVED_EXTENDED),
            v2=is_set(RESERVED_V2),
        )

    def to_reserved(self) -> bytes:
        """The eight reserved bytes."""
        reserved = bytearray(8)
        for on, (byte, mask) in (
            (self.dht, RESERVED_DHT),
            (self.fast, RESERVED_FAST),
            (self.extended, RESERVED_EXTENDED),
            (self.v2, RESERVED_V2),
        ):
            if on:
                reserved[byte] |= mask
        return bytes(reserved)


@dataclass(frozen=True, slots=True)
class Handshake:
    """One side's handshake (BEP 3).

    Attributes:
        info_hash: 20 bytes.
        peer_id: 20 bytes.
        extensions: the extensions that its reserved bits announce.
    """

    info_hash: bytes
    peer_id: bytes
    extensions: Extensions = Extensions()

    def to_bytes(self) -> bytes:
        """``<19><"BitTorrent protocol"><8 reserved bytes><20 info_hash><20 peer_id>``."""
        return PROTOCOL_STRING + self.extensions.to_reserved() + self.info_hash + self.peer_id

    @classmethod
    def from_bytes(cls, data: bytes) -> Handshake:
        """Read the 68 bytes of a handshake, whose protocol string has been checked."""
        return cls(
            info_hash=data[_INFO_HASH_START:_PEER_ID_START],
            peer_id=data[_PEER_ID_START:HANDSHAKE_LENGTH],
            extensions=Extensions.from_reserved(data[_RESERVED_START:_INFO_HASH_START]),
        )


def check_protocol_string(data: bytes | bytearray) -> None:
    """Refuse a stream at the first byte that differs from a handshake's.

    Raises:
        HandshakeError: when the bytes so far cannot be the beginning of a handshake.
    """
    start = bytes(data[:_RESERVED_START])
    if not PROTOCOL_STRING.startswith(start):
        raise HandshakeError("the peer does not speak the BitTorrent protocol in plaintext")


def check_match(ours: Handshake, theirs: Handshake, info_hash_v2: bytes | None) -> None:
    """Raise HandshakeError if the peer has another torrent than we, or our own peer id."""
    if theirs.info_hash not in (ours.info_hash, info_hash_v2):
        raise HandshakeError(f"the peer's torrent is {theirs.info_hash.hex()}, ours {ours.info_hash.hex()}")
    if theirs.peer_id == ours.peer_id:
        raise HandshakeError("connected to ourselves: the peer has our peer id")
