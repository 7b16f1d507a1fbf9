"""The messages of the peer protocol: how each is packed, and as what it is seen.

On the hot path a message is a plain tuple ``(id, *fields)``, with the fields in the order of the BEPs. For those who
want names, `as_object` turns such a tuple into the dataclass of its id, whose fields are spelled as in the BEPs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from struct import Struct
from typing import Any, TypeAlias

from geventbt.protocol import constants as c
from geventbt.protocol.handshake import Extensions

Buffer: TypeAlias = "bytes | bytearray | memoryview"
RawMessage: TypeAlias = tuple[Any, ...]
"""``(id, *fields)``; variable-length fields are memoryviews that are valid until the next bytes are fed."""

KEEP_ALIVE_BYTES = b"\0\0\0\0"

_BARE = Struct(">IB")
_INDEX = Struct(">IBI")
RANGE = Struct(">IBIII")
"""A message about one block: its length (13), id, index, begin and length."""
PIECE_HEADER = Struct(">IBII")
"""What stands before a block: the message's length, its id, index and begin."""
_PORT = Struct(">IBH")
_EXTENDED = Struct(">IBB")
_HASH_RANGE = Struct(">IB32sIIII")


def pack_bare(message_id: int) -> bytes:
    """A message without fields: ``<len=0001><id>`` (choke, unchoke, interested, uninterested, have_all, have_none)."""
    return _BARE.pack(1, message_id)


def pack_index(message_id: int, index: int) -> bytes:
    """A message about one piece: ``<len=0005><id><index>`` (have, suggest, allowed_fast)."""
    return _INDEX.pack(5, message_id, index)


def pack_range(message_id: int, index: int, begin: int, length: int) -> bytes:
    """A message about one block: ``<len=0013><id><index><begin><length>`` (request, cancel, reject)."""
    return RANGE.pack(13, message_id, index, begin, length)


def pack_bitfield(bitfield: bytes) -> bytes:
    """``<len=0001+X><id=5><bitfield>`` (BEP 3)."""
    return _BARE.pack(1 + len(bitfield), c.BITFIELD) + bitfield


def pack_piece_header(index: int, begin: int, length: int) -> bytes:
    """``<len=0009+X><id=7><index><begin>``, which the block of `length` bytes follows (BEP 3)."""
    return PIECE_HEADER.pack(9 + length, c.PIECE, index, begin)


def pack_port(port: int) -> bytes:
    """``<len=0003><id=9><listen-port>`` (BEP 5)."""
    return _PORT.pack(3, c.PORT, port)


def pack_extended(extended_id: int, payload: bytes) -> bytes:
    """``<len=0002+X><id=20><extended id><payload>`` (BEP 10)."""
    return _EXTENDED.pack(2 + len(payload), c.EXTENDED, extended_id) + payload


def pack_hash_range(
    message_id: int,
    pieces_root: bytes,
    base_layer: int,
    index: int,
    length: int,
    proof_layers: int,
    hashes: bytes = b"",
) -> bytes:
    """``<len=0049+X><id><pieces root><base layer><index><length><proof layers><hashes>`` (BEP 52)."""
    size = 49 + len(hashes)
    return _HASH_RANGE.pack(size, message_id, pieces_root, base_layer, index, length, proof_layers) + hashes


@dataclass(frozen=True, slots=True)
class KeepAlive:
    """Nothing but a sign of life (BEP 3)."""


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
    """The peer wants something that we have (BEP 3)."""


@dataclass(frozen=True, slots=True)
class NotInterested:
    """The peer wants nothing that we have (BEP 3)."""


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
    """The peer asks for a block (BEP 3)."""

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
    """The peer suggests to ask for this piece (BEP 6)."""

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
    """The peer asks for hashes of a file's merkle tree (BEP 52)."""

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
    """A message with an id that no BEP we know defines, or of an extension that was not agreed upon."""

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
