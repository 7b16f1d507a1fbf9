"""The messages of ut_pex (BEP 11). Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Any

from geventbt import bencoding, limits
from geventbt.errors import BencodeError, RemoteProtocolError
from geventbt.net.addresses import IPV4_BYTES, IPV6_BYTES, Address, compact_size, pack_address, unpack_addresses
from geventbt.protocol.constants import EXTENDED

ENCRYPTION, SEED, UTP, HOLEPUNCH, OUTGOING = 0x01, 0x02, 0x04, 0x08, 0x10
"""The flags of a peer: prefers encryption, only uploads, speaks uTP, supports ut_holepunch, can be connected to."""

_FAMILIES: tuple[tuple[str, int], ...] = (("", IPV4_BYTES), ("6", IPV6_BYTES))


@dataclass(frozen=True, slots=True)
class PexMessage:
    """A message of ut_pex (BEP 11).

    Attributes:
        added: peers to their flags.
        dropped: peers that have left.
    """

    added: dict[Address, int]
    dropped: tuple[Address, ...] = ()

    def to_bytes(self) -> bytes:
        """A bencoded dictionary with added, added.f, dropped, and the same for IPv6."""
        message: dict[str, bytes] = {}
        for suffix, size in _FAMILIES:
            added = {packed: flags for peer, flags in self.added.items() if (packed := pack_address(peer, size))}
            message[f"added{suffix}"] = b"".join(added)
            message[f"added{suffix}.f"] = bytes(added.values())
            message[f"dropped{suffix}"] = b"".join(pack_address(peer, size) for peer in self.dropped)
        return bencoding.encode(message)

    @classmethod
    def from_bytes(cls, payload: bytes) -> PexMessage:
        """Read a message: at most `limits.PEX_PEERS` added and dropped; addresses that no peer can have are left out.

        Raises:
            RemoteProtocolError: it is not a message of ut_pex.
        """
        try:
            message, _ = bencoding.decode_prefix(payload)
        except BencodeError as error:
            raise RemoteProtocolError(f"bad ut_pex message: {error}", message_id=EXTENDED, bep=11) from None
        if not isinstance(message, dict):
            raise RemoteProtocolError("bad ut_pex message: not a dictionary", message_id=EXTENDED, bep=11)
        added: dict[Address, int] = {}
        dropped: list[Address] = []
        for suffix, size in _FAMILIES:
            peers = _unpack(message.get(b"added" + suffix.encode()), size)
            flags = message.get(b"added" + suffix.encode() + b".f")
            flags = flags if isinstance(flags, bytes) and len(flags) == len(peers) else bytes(len(peers))
            added.update((peer, flag) for peer, flag in zip(peers, flags, strict=True) if peer is not None)
            dropped += filter(None, _unpack(message.get(b"dropped" + suffix.encode()), size))
        return cls(dict(list(added.items())[: limits.PEX_PEERS]), tuple(dropped[: limits.PEX_PEERS]))


def _unpack(value: Any, address_size: int) -> list[Address | None]:
    """The peers of a compact list, None where no peer can have an address; empty if it is not such a list."""
    if not isinstance(value, bytes) or len(value) % compact_size(address_size):
        return []
    # A message has 50 of each; more than twice as many are not even looked at.
    return list(islice(unpack_addresses(value, address_size), 2 * limits.PEX_PEERS))


def changes(sent: dict[Address, int], current: Iterable[tuple[Address, int]]) -> PexMessage:
    """The next message to a peer: at most 50 peers that were not sent to it, and 50 that have left.

    Args:
        sent: the peers that were sent to it and not dropped.
        current: the peers as they are now, with their flags.
    """
    now = dict(current)
    added = {peer: flags for peer, flags in now.items() if peer not in sent}
    dropped = [peer for peer in sent if peer not in now]
    return PexMessage(dict(list(added.items())[: limits.PEX_PEERS]), tuple(dropped[: limits.PEX_PEERS]))
