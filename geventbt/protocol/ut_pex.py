"""The messages of ut_pex (BEP 11). Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any, TypeAlias

from geventbt import bencoding, limits
from geventbt.errors import BencodeError, RemoteProtocolError
from geventbt.protocol.constants import EXTENDED

Address: TypeAlias = tuple[str, int]

ENCRYPTION, SEED, UTP, HOLEPUNCH, OUTGOING = 0x01, 0x02, 0x04, 0x08, 0x10
"""The flags of a peer: prefers encryption, only uploads, speaks uTP, supports ut_holepunch, can be connected to."""

_FAMILIES: tuple[tuple[str, int], ...] = (("", 4), ("6", 16))


@dataclass(frozen=True, slots=True)
class PexMessage:
    """A message of ut_pex (BEP 11).

    Attributes:
        added: peers to their flags.
        dropped: peers that are gone.
    """

    added: dict[Address, int]
    dropped: tuple[Address, ...] = ()

    def to_bytes(self) -> bytes:
        """A bencoded dictionary with added, added.f, dropped, and the same for IPv6."""
        message: dict[str, bytes] = {}
        for suffix, size in _FAMILIES:
            added = {packed: flags for peer, flags in self.added.items() if (packed := _pack(peer, size))}
            message[f"added{suffix}"] = b"".join(added)
            message[f"added{suffix}.f"] = bytes(added.values())
            message[f"dropped{suffix}"] = b"".join(_pack(peer, size) for peer in self.dropped)
        return bencoding.encode(message)

    @classmethod
    def from_bytes(cls, payload: bytes) -> PexMessage:
        """Read a message: at most `limits.PEX_PEERS` added and dropped of it, and none that is no address of a peer.

        Raises:
            RemoteProtocolError: when it is none.
        """
        try:
            message = bencoding.decode(payload)
        except BencodeError as error:
            raise RemoteProtocolError(f"bad ut_pex message: {error}", message_id=EXTENDED, bep=11) from None
        if not isinstance(message, dict):
            raise RemoteProtocolError("bad ut_pex message: no dictionary", message_id=EXTENDED, bep=11)
        added: dict[Address, int] = {}
        dropped: list[Address] = []
        for suffix, size in _FAMILIES:
            peers = _unpack(message.get(b"added" + suffix.encode()), size)
            flags = message.get(b"added" + suffix.encode() + b".f")
            flags = flags if isinstance(flags, bytes) and len(flags) == len(peers) else bytes(len(peers))
            added.update((peer, flag) for peer, flag in zip(peers, flags, strict=True) if peer is not None)
            dropped += filter(None, _unpack(message.get(b"dropped" + suffix.encode()), size))
        return cls(dict(list(added.items())[: limits.PEX_PEERS]), tuple(dropped[: limits.PEX_PEERS]))


def _pack(peer: Address, size: int) -> bytes:
    """The compact form of a peer, or nothing if it is of the other family."""
    packed = ip_address(peer[0]).packed
    return packed + peer[1].to_bytes(2, "big") if len(packed) == size else b""


def _unpack(value: Any, size: int) -> list[Address | None]:
    """The peers of a compact list, with None for what cannot be one; none at all if it is no such list."""
    step = size + 2
    if not isinstance(value, bytes) or len(value) % step:
        return []
    # A message has 50 of each; more than twice as many are not even looked at.
    value = value[: step * 2 * limits.PEX_PEERS]
    return [_peer(value[at : at + size], value[at + size : at + step]) for at in range(0, len(value), step)]


def _peer(packed: bytes, port: bytes) -> Address | None:
    address = IPv4Address(packed) if len(packed) == 4 else IPv6Address(packed)
    number = int.from_bytes(port, "big")
    if not number or address.is_multicast or address.is_unspecified or address == IPv4Address("255.255.255.255"):
        return None
    return str(address), number


def changes(told: dict[Address, int], current: Iterable[tuple[Address, int]]) -> PexMessage:
    """What to tell a peer next, that has been told of some peers: at most 50 new ones, and 50 that are gone."""
    now = dict(current)
    added = {peer: flags for peer, flags in now.items() if peer not in told}
    dropped = [peer for peer in told if peer not in now]
    return PexMessage(dict(list(added.items())[: limits.PEX_PEERS]), tuple(dropped[: limits.PEX_PEERS]))
