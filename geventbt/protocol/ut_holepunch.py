"""The messages of ut_holepunch (BEP 55). Pure."""

from __future__ import annotations

from struct import Struct
from typing import NamedTuple

from geventbt.errors import RemoteProtocolError
from geventbt.net.addresses import IPV4_BYTES, IPV6_BYTES, Address, compact_size, pack_address, unpack_addresses
from geventbt.protocol.constants import EXTENDED

RENDEZVOUS, CONNECT, ERROR = 0, 1, 2
NO_SUCH_PEER, NOT_CONNECTED, NO_SUPPORT, NO_SELF = 1, 2, 3, 4
"""Why a rendezvous is not arranged: the address is of no use, or of a peer that is not connected, does not support the
extension, or is the relay itself."""

_HEAD = Struct(">BB")
_ERROR = Struct(">I")
_ADDRESS_BYTES = (IPV4_BYTES, IPV6_BYTES)
"""By the type of the address."""


class HolepunchMessage(NamedTuple):
    """A message of ut_holepunch.

    Attributes:
        type: `RENDEZVOUS`, `CONNECT`, `ERROR`, or a number that BEP 55 does not know.
        address: of the peer in question.
        error: with `ERROR`, why it is not arranged; else 0.
    """

    type: int
    address: Address
    error: int = 0

    def to_bytes(self) -> bytes:
        """The message.

        ::

            offset   size     name
            0        1        type
            1        1        type of the address: 0 for IPv4, 1 for IPv6
            2        6 or 18  address and port
            8 or 20  4        error
        """
        kind = 1 if ":" in self.address[0] else 0
        packed = pack_address(self.address, _ADDRESS_BYTES[kind])
        return _HEAD.pack(self.type, kind) + packed + _ERROR.pack(self.error)

    @classmethod
    def from_bytes(cls, payload: bytes) -> HolepunchMessage:
        """Read a message. libtorrent sends the error with `ERROR` alone, so it may be missing; what follows is ignored.

        Raises:
            RemoteProtocolError: it is not a message of ut_holepunch, or no peer can have the address.
        """
        if len(payload) < _HEAD.size:
            raise _bad(f"{len(payload)} bytes")
        kind, address_type = _HEAD.unpack_from(payload)
        if address_type >= len(_ADDRESS_BYTES):
            raise _bad(f"an address of the type {address_type}")
        size = _ADDRESS_BYTES[address_type]
        end = _HEAD.size + compact_size(size)
        # Empty if it is cut off.
        address = next(unpack_addresses(payload[_HEAD.size : end], size), None)
        if address is None:
            raise _bad("no address that a peer can have")
        has_error = kind == ERROR and len(payload) >= end + _ERROR.size
        return cls(kind, address, _ERROR.unpack_from(payload, end)[0] if has_error else 0)


def _bad(text: str) -> RemoteProtocolError:
    return RemoteProtocolError(f"bad ut_holepunch message: {text}", message_id=EXTENDED, bep=55)
