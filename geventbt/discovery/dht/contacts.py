"""Addresses of nodes and peers as the DHT's messages carry them, and what their hosts are. Pure.

An address is a (host, port) whose host is an IP address in its shortest form.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from ipaddress import ip_address
from typing import NamedTuple

from geventbt.net import addresses
from geventbt.net.addresses import IPV4_BYTES, IPV6_BYTES, Address, Scope, scope_of

IPV4, IPV6 = 4, 6
"""The address families, each of which has a DHT of its own (BEP 32)."""

ID_LENGTH = 20
_HOST_LENGTHS = {IPV4: IPV4_BYTES, IPV6: IPV6_BYTES}
_PORT_LENGTH = 2


class Contact(NamedTuple):
    """A node: its id and its address."""

    id: bytes
    address: Address


class Host(NamedTuple):
    """What the DHT has to know of a host.

    Attributes:
        packed: its address, 4 or 16 bytes.
        network: its /24 or /64, which one party is taken to own.
        scope: from how far away it can be reached.
    """

    packed: bytes
    network: bytes
    scope: Scope

    @property
    def is_global(self) -> bool:
        """Whether it is on the internet. The rules against many nodes of one network, and for ids that fit the
        address, hold there only: in a local network all would break them."""
        return self.scope is Scope.GLOBAL


@lru_cache(maxsize=8192)
def host_of(host: str) -> Host:
    """Look at the host of an address.

    Raises:
        ValueError: it is not an IP address.
    """
    packed = ip_address(host.partition("%")[0]).packed
    return Host(packed, packed[:3] if len(packed) == 4 else packed[:8], scope_of(host))


def family_of(address: Address) -> int:
    """The family of an address."""
    return IPV6 if ":" in address[0] else IPV4


@lru_cache(maxsize=8192)
def pack_address(address: Address) -> bytes:
    """An address as 6 or 18 bytes; see `geventbt.net.addresses.pack_address`. Cached: each goes into many answers."""
    return addresses.pack_address(address, len(host_of(address[0]).packed))


@lru_cache(maxsize=8192)
def unpack_address(data: bytes) -> Address | None:
    """Read what `pack_address` writes; None if no node or peer can be there. Cached, as the same nodes come often."""
    length = len(data) - _PORT_LENGTH
    if length not in _HOST_LENGTHS.values():
        return None
    return next(addresses.unpack_addresses(data, length))


def pack_contacts(contacts: Iterable[Contact]) -> bytes:
    """Nodes, 26 or 38 bytes each: the id, then the address as `pack_address` writes it (BEP 5, 32)."""
    return b"".join(contact.id + pack_address(contact.address) for contact in contacts)


def unpack_contacts(data: bytes, family: int) -> Iterator[Contact]:
    """Read what `pack_contacts` writes; what cannot be a node is left out, and so is an incomplete one at the end."""
    length = ID_LENGTH + _HOST_LENGTHS[family] + _PORT_LENGTH
    for at in range(0, len(data) - length + 1, length):
        address = unpack_address(data[at + ID_LENGTH : at + length])
        if address is not None and family_of(address) == family:
            yield Contact(data[at : at + ID_LENGTH], address)
