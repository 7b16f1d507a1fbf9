"""The messages of the peer protocol as dataclasses, whose fields are named as in the BEPs.

An `index` is that of a piece, or in the messages of BEP 52 of a hash in its layer; `begin` and `length` are bytes, or
in those messages a number of hashes. Info hashes and peer ids have 20 bytes, roots and hashes 32.

Apart from `messages`, because defining them takes a tenth of the time in which the package is imported, and most
programs never use them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from geventbt.protocol import constants as c
from geventbt.protocol.handshake import Extensions
from geventbt.protocol.messages import RawMessage


@dataclass(frozen=True, slots=True)
class KeepAlive:
    """The peer is alive (BEP 3)."""


@dataclass(frozen=True, slots=True)
class HandshakeReceived:
    """The peer's handshake (BEP 3)."""

    info_hash: bytes
    peer_id: bytes
    extensions: Extensions


@dataclass(frozen=True, slots=True)
class Choke:
    """The peer will answer no requests (BEP 3)."""


@dataclass(frozen=True, slots=True)
class Unchoke:
    """The peer will answer requests (BEP 3)."""


@dataclass(frozen=True, slots=True)
class Interested:
    """The peer wants pieces that we have (BEP 3)."""


@dataclass(frozen=True, slots=True)
class NotInterested:
    """The peer wants no piece that we have (BEP 3)."""


@dataclass(frozen=True, slots=True)
class Have:
    """The peer has one more piece (BEP 3)."""

    index: int


@dataclass(frozen=True, slots=True)
class Bitfield:
    """The pieces that the peer has, high bit first (BEP 3)."""

    bitfield: bytes


@dataclass(frozen=True, slots=True)
class Request:
    """The peer requests a block (BEP 3)."""

    index: int
    begin: int
    length: int


@dataclass(frozen=True, slots=True)
class Piece:
    """A block (BEP 3)."""

    index: int
    begin: int
    block: bytes


@dataclass(frozen=True, slots=True)
class Cancel:
    """The peer no longer wants a block (BEP 3)."""

    index: int
    begin: int
    length: int


@dataclass(frozen=True, slots=True)
class Port:
    """The UDP port of the peer's DHT node (BEP 5)."""

    listen_port: int


@dataclass(frozen=True, slots=True)
class SuggestPiece:
    """The peer suggests that we request this piece (BEP 6)."""

    index: int


@dataclass(frozen=True, slots=True)
class HaveAll:
    """The peer has every piece (BEP 6)."""


@dataclass(frozen=True, slots=True)
class HaveNone:
    """The peer has no piece (BEP 6)."""


@dataclass(frozen=True, slots=True)
class RejectRequest:
    """The peer will not answer this request (BEP 6)."""

    index: int
    begin: int
    length: int


@dataclass(frozen=True, slots=True)
class AllowedFast:
    """The peer answers requests for this piece even while it chokes us (BEP 6)."""

    index: int


@dataclass(frozen=True, slots=True)
class Extended:
    """A message of an extension, or the extended handshake with id 0 (BEP 10)."""

    extended_id: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class HashRequest:
    """The peer requests hashes of a file's merkle tree (BEP 52)."""

    pieces_root: bytes
    base_layer: int
    index: int
    length: int
    proof_layers: int


@dataclass(frozen=True, slots=True)
class Hashes:
    """Hashes of a file's merkle tree, 32 bytes each (BEP 52)."""

    pieces_root: bytes
    base_layer: int
    index: int
    length: int
    proof_layers: int
    hashes: bytes


@dataclass(frozen=True, slots=True)
class HashReject:
    """The peer will not send these hashes (BEP 52)."""

    pieces_root: bytes
    base_layer: int
    index: int
    length: int
    proof_layers: int


@dataclass(frozen=True, slots=True)
class UnknownMessage:
    """A message with an id that no known BEP defines, or of an extension that was not agreed on."""

    id: int
    payload: bytes


Message: TypeAlias = (
    KeepAlive
    | HandshakeReceived
    | Choke
    | Unchoke
    | Interested
    | NotInterested
    | Have
    | Bitfield
    | Request
    | Piece
    | Cancel
    | Port
    | SuggestPiece
    | HaveAll
    | HaveNone
    | RejectRequest
    | AllowedFast
    | Extended
    | HashRequest
    | Hashes
    | HashReject
    | UnknownMessage
)
"""A message of the peer, as `Wire.messages` yields it."""

_OBJECTS: dict[int, Callable[..., Message]] = {
    c.KEEP_ALIVE: KeepAlive,
    c.HANDSHAKE: HandshakeReceived,
    c.CHOKE: Choke,
    c.UNCHOKE: Unchoke,
    c.INTERESTED: Interested,
    c.UNINTERESTED: NotInterested,
    c.HAVE: Have,
    c.BITFIELD: Bitfield,
    c.REQUEST: Request,
    c.PIECE: Piece,
    c.CANCEL: Cancel,
    c.PORT: Port,
    c.SUGGEST: SuggestPiece,
    c.HAVE_ALL: HaveAll,
    c.HAVE_NONE: HaveNone,
    c.REJECT: RejectRequest,
    c.ALLOWED_FAST: AllowedFast,
    c.EXTENDED: Extended,
    c.HASH_REQUEST: HashRequest,
    c.HASHES: Hashes,
    c.HASH_REJECT: HashReject,
    c.UNKNOWN: UnknownMessage,
}


def as_object(message: RawMessage) -> Message:
    """The dataclass for a message tuple; its buffers are copied, so it may be kept."""
    return _OBJECTS[message[0]](*(bytes(x) if isinstance(x, memoryview) else x for x in message[1:]))
