"""The fields of each signal of a wire, as handlers are given them and `Wire.wait_for` returns them; see
`geventbt.signals`. For type checkers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeAlias, TypedDict

from geventbt.protocol.handshake import Extensions


class NoFields(TypedDict):
    """The signal says all."""


class HandshakeFields(TypedDict):
    """The peer's handshake (BEP 3)."""

    info_hash: bytes
    peer_id: bytes
    extensions: Extensions


class ExtendedHandshakeFields(TypedDict):
    """The peer's extended handshake (BEP 10)."""

    handshake: dict[str, Any]


class ExtendedFields(TypedDict):
    """A message of an extension (BEP 10)."""

    name: str | None
    extended_id: int
    payload: bytes


class IndexFields(TypedDict):
    """A piece."""

    index: int


class BitfieldFields(TypedDict):
    """The pieces that the peer has, high bit first (BEP 3)."""

    bitfield: bytes


class BlockFields(TypedDict):
    """The place of a block."""

    index: int
    begin: int
    length: int


class RequestFields(BlockFields):
    """A block that the peer requests, and the function that answers, once (BEP 3)."""

    respond: Callable[[bytes | bytearray | memoryview | Exception], object]


class PieceFields(TypedDict):
    """A block (BEP 3)."""

    index: int
    begin: int
    block: bytes


class PortFields(TypedDict):
    """The UDP port of the peer's DHT node (BEP 5)."""

    listen_port: int


class HashRequestFields(TypedDict):
    """A range of a file's merkle tree (BEP 52)."""

    pieces_root: bytes
    base_layer: int
    index: int
    length: int
    proof_layers: int


class HashesFields(HashRequestFields):
    """Hashes of a file's merkle tree (BEP 52)."""

    hashes: bytes


class UnknownMessageFields(TypedDict):
    """A message that no supported BEP defines."""

    id: int
    payload: bytes


class CountFields(TypedDict):
    """Bytes of blocks."""

    count: int


class CloseFields(TypedDict):
    """The reason of a close, or None after an ordinary one."""

    error: Exception | None


class ErrorFields(TypedDict):
    """An exception."""

    error: Exception


Plain: TypeAlias = Literal["choke", "unchoke", "interested", "uninterested", "have_all", "have_none", "keep_alive"]
"""The signals without fields."""
OfPiece: TypeAlias = Literal["have", "suggest", "allowed_fast"]
"""The signals about a piece."""
OfBlock: TypeAlias = Literal["reject", "cancel", "timeout"]
"""The signals about a block."""
