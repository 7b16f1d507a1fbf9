"""What a node of the DHT keeps from one run to the next: its id, its address and its nodes. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from geventbt import bencoding, limits
from geventbt.discovery.dht.contacts import (
    ID_LENGTH,
    IPV4,
    IPV6,
    Contact,
    host_of,
    pack_contacts,
    unpack_address,
    unpack_contacts,
)
from geventbt.errors import BencodeError

_KEYS = {IPV4: b"ipv4", IPV6: b"ipv6"}
_NO_PORT = b"\x00\x01"


@dataclass(frozen=True, slots=True)
class SavedNode:
    """The state of the node of one family.

    Attributes:
        node_id: its id.
        host: its address as others saw it; None if that was not known.
        contacts: good nodes.
    """

    node_id: bytes
    host: str | None
    contacts: tuple[Contact, ...]


def encode_state(nodes: Mapping[int, SavedNode]) -> bytes:
    """The states of the nodes by family, as bytes for a file."""
    return bencoding.encode({_KEYS[family]: _fields(node) for family, node in nodes.items()})


def decode_state(data: bytes) -> dict[int, SavedNode]:
    """Read what `encode_state` writes.

    Raises:
        ValueError: it is something else.
    """
    try:
        fields = bencoding.decode(data)
    except BencodeError as error:
        raise ValueError(f"not the state of a DHT node: {error}") from None
    if not isinstance(fields, dict):
        raise ValueError("not the state of a DHT node")
    return {family: _node(fields[key], family) for family, key in _KEYS.items() if key in fields}


def saved(node_id: bytes, host: str | None, contacts: Iterable[Contact]) -> SavedNode:
    """The state of a node, with the first `limits.DHT_SAVED_NODES` of its contacts."""
    return SavedNode(node_id, host, tuple(contacts)[: limits.DHT_SAVED_NODES])


def _fields(node: SavedNode) -> dict[str, bytes]:
    host = {} if node.host is None else {"host": host_of(node.host).packed}
    return {"id": node.node_id, "nodes": pack_contacts(node.contacts), **host}


def _node(fields: Any, family: int) -> SavedNode:
    if not isinstance(fields, dict):
        raise ValueError("not the state of a DHT node")
    node_id, packed, host = fields.get(b"id"), fields.get(b"nodes"), fields.get(b"host")
    if not isinstance(node_id, bytes) or len(node_id) != ID_LENGTH or not isinstance(packed, bytes):
        raise ValueError("the state of a DHT node without an id or nodes")
    address = unpack_address(host + _NO_PORT) if isinstance(host, bytes) else None
    return saved(node_id, address and address[0], unpack_contacts(packed, family))
