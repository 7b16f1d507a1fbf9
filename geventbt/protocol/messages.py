"""The messages of the peer protocol as bytes, one packing function for each layout.

Unpacked, a message is a plain tuple ``(id, *fields)``, with the fields in the order of the BEPs;
`geventbt.protocol.message_objects` has dataclasses with named fields.
"""

from __future__ import annotations

from struct import Struct
from typing import Any, TypeAlias

from geventbt.protocol import constants as c

Buffer: TypeAlias = bytes | bytearray | memoryview
RawMessage: TypeAlias = tuple[Any, ...]
"""``(id, *fields)``; variable-length fields are memoryviews that are valid until the next bytes are fed."""

KEEP_ALIVE_BYTES = b"\0\0\0\0"

_BARE = Struct(">IB")
_INDEX = Struct(">IBI")
RANGE = Struct(">IBIII")
"""A message about one block: its length (13), id, index, begin and length."""
PIECE_HEADER = Struct(">IBII")
"""The header of a piece message: its length, id, index and begin; the block follows."""
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
