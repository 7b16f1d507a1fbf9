"""Addresses of peers and servers: which are valid, how far away they are, and their compact form. Pure.

The only place that judges addresses. A server on the internet that could redirect us to an address of this machine or
its network would make us its proxy behind the firewall (server-side request forgery). A redirect must therefore stay
with the kind of address it came from, and no source may name a peer that is nearer to us than the source is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from enum import Enum, IntEnum
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Any, NamedTuple, TypeAlias, TypeGuard

from geventbt.arguments import several

Address: TypeAlias = tuple[str, int]
"""A host as an IP address in its shortest form, and a port."""
NamedAddress: TypeAlias = Address | str
"""An address as a user names it: (host, port), or "host:port", with IPv6 in brackets. The host may be a name."""

_MAPPED = "::ffff:"
_NAT64 = IPv6Network("64:ff9b::/96")
_THIS_NETWORK = IPv4Network("0.0.0.0/8")
_MAX_LENGTH = 64
"""Characters of an IP address with a zone."""
_HOST_NAME = re.compile(r"(?=.{1,253}\Z)(?:[A-Za-z0-9_-]{1,63}\.)*[A-Za-z0-9_-]{1,63}\.?")
_NUMBER = re.compile(r"[0-9]+|0[xX][0-9a-fA-F]*")
_PORT = re.compile(r"[0-9]{1,5}")
_MAX_PORT = 65535
IPV4_BYTES, IPV6_BYTES = 4, 16
"""Bytes of a packed IP address."""
_PORT_BYTES = 2


class Ports(NamedTuple):
    """Where we can be reached by TCP: a port over each address family, or None where we do not listen."""

    ipv4: int | None = None
    ipv6: int | None = None

    def over(self, host: str) -> int | None:
        """The port for a peer with this IP address."""
        return self.ipv6 if ":" in host else self.ipv4


class AddressKind(Enum):
    """How far away an address is."""

    LOOPBACK = "loopback"
    """This machine."""
    LINK_LOCAL = "link-local"
    """This network segment, such as 169.254.169.254, the metadata service of cloud providers."""
    PRIVATE = "private"
    """This organisation's network, a carrier's, or a range with a special purpose."""
    PUBLIC = "public"
    """The internet."""
    MULTICAST = "multicast"
    """A group of hosts."""


class Scope(IntEnum):
    """From how far away an address can be reached, in ascending order."""

    LOOPBACK = 0
    LOCAL = 1
    GLOBAL = 2


_SCOPES = {AddressKind.LOOPBACK: Scope.LOOPBACK, AddressKind.PUBLIC: Scope.GLOBAL}


def normalise(address: Any) -> Address | None:
    """The canonical form of a peer's address, or None if no peer can have it.

    IPv4 addresses mapped into IPv6 become IPv4 addresses, IPv6 ones are written in their shortest form, and flow and
    scope of a socket's address are left out. Not valid are names, port 0, and addresses that are multicast,
    unspecified, broadcast or reserved.

    Args:
        address: (host, port), or the longer tuple of a socket; untrusted, of any types.
    """
    if not is_socket_address(address):
        return None
    host, port = address[:2]
    known = _known_host(host) if is_port(port) else None
    return None if known is None else (known[0], port)


def plain_host(host: str) -> str:
    """The IP address of a socket's peer: IPv4 addresses mapped into IPv6, as a socket of both families has them, become
    IPv4 addresses."""
    return host.removeprefix(_MAPPED) if host.startswith(_MAPPED) and "." in host else host


def parse_address(text: str) -> Address | None:
    """Read "host:port", "[IPv6]:port" or ":port", whose host is ""; None if the text is none of them."""
    host, colon, number = text.rpartition(":")
    is_bracketed = host.startswith("[") and host.endswith("]")
    if not colon or (":" in host) != is_bracketed or not _PORT.fullmatch(number) or int(number) > _MAX_PORT:
        return None
    return host[1:-1] if is_bracketed else host, int(number)


def read_address(text: str, purpose: str) -> Address:
    """Read "host:port", as `parse_address` does, for a purpose such as "connect to".

    Raises:
        ValueError: it is not one.
    """
    address = parse_address(text)
    if address is None:
        raise ValueError(f"cannot {purpose} {text!r}: not host:port, such as [::1]:6881, with a port from 0 to 65535")
    return address


def named_addresses(addresses: Iterable[NamedAddress], argument: str) -> list[Address]:
    """The addresses that a user names in an argument.

    Raises:
        TypeError: it is a single one.
        ValueError: one of them is not an address that can be connected to.
    """
    found: list[Address] = []
    for address in several(addresses, argument):
        pair = parse_address(address) if isinstance(address, str) else address
        if not is_socket_address(pair) or len(pair) != 2 or not pair[0] or not is_port(pair[1]):
            raise ValueError(
                f"{argument}: {address!r} must be a (host, port) or 'host:port', with a port from 1 to 65535"
            )
        found.append((pair[0], pair[1]))
    return found


def address_text(address: Address) -> str:
    """HOST:PORT, or [IPv6]:PORT."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_socket_address(address: Any) -> TypeGuard[tuple[Any, ...]]:
    """Whether it has the form of a socket's address: a host and a port, for IPv6 perhaps with flow and scope."""
    return (
        isinstance(address, (tuple, list))
        and len(address) >= 2
        and isinstance(address[0], str)
        and isinstance(address[1], int)
    )


def is_port(port: Any, *, least: int = 1) -> TypeGuard[int]:
    """Whether a peer can listen on a port; with `least` 0, whether it is one or 0, which stands for any or none."""
    return isinstance(port, int) and not isinstance(port, bool) and least <= port <= _MAX_PORT


def is_ip_address(text: str) -> bool:
    """Whether a text is an IP address in its usual spelling, of IPv6 perhaps with a zone."""
    try:
        ip_address(text)
    except ValueError:
        return False
    # Python takes any zone, also one that would write another line into the log.
    return text.isprintable()


def is_host_name(text: str) -> bool:
    """Whether a text is the name of a host (RFC 1035) and not an IP address in any spelling.

    A name whose last label is a number, as in "127.1" or "0x7f", is an address to some resolvers.
    """
    last_label = text.rstrip(".").rpartition(".")[2]
    return bool(_HOST_NAME.fullmatch(text)) and not _NUMBER.fullmatch(last_label)


def compact_size(address_size: int) -> int:
    """The bytes of an address and port in compact form."""
    return address_size + _PORT_BYTES


def pack_address(address: Address, address_size: int) -> bytes:
    """The compact form of a peer's address (BEP 7, 11, 23), or b"" if it is of the other family.

    ::

        offset   size         name
        0        4 or 16      IP address
        4 or 16  2            port

    Args:
        address: (IP address, port).
        address_size: `IPV4_BYTES` or `IPV6_BYTES`.

    Raises:
        ValueError: the host is not an IP address, or the port not one from 1 to 65535.
    """
    packed = ip_address(address[0]).packed
    if not is_port(address[1]):
        raise ValueError(f"{address[1]!r} is not a port: must be 1 to 65535")
    return packed + address[1].to_bytes(_PORT_BYTES, "big") if len(packed) == address_size else b""


def unpack_addresses(data: bytes, address_size: int) -> Iterator[Address | None]:
    """Read compact addresses one after another, each as `normalise` makes it: None where no peer can have it.

    Args:
        data: the addresses, as `pack_address` writes them; an incomplete one at the end is left out.
        address_size: `IPV4_BYTES` or `IPV6_BYTES`.
    """
    stride = compact_size(address_size)
    for at in range(0, len(data) - stride + 1, stride):
        port = int.from_bytes(data[at + address_size : at + stride], "big")
        known = _judge(ip_address(data[at : at + address_size])) if port else None
        yield None if known is None else (known[0], port)


def unique(addresses: Iterable[Address | None], limit: int) -> tuple[Address, ...]:
    """The first addresses of some, without repetitions and without None.

    Args:
        addresses: the addresses.
        limit: the most that are returned.
    """
    return tuple(dict.fromkeys(filter(None, addresses)))[:limit]


def scope_of(host: Any) -> Scope:
    """The scope of an IP address. What is not an address of a host, such as a name, has the global scope."""
    known = _known_host(host)
    return Scope.GLOBAL if known is None else known[1]


@lru_cache(maxsize=1024)
def network_of(host: str) -> str:
    """What one party can be taken to hold all of: an IPv4 address, or the /64 of an IPv6 address."""
    address = ip_address(host.partition("%")[0])
    if isinstance(address, IPv6Address):
        mapped = address.ipv4_mapped
        return str(mapped) if mapped else str(IPv6Address(int(address) >> 64 << 64))
    return host


def may_connect(address: Any, told_by: str | None) -> bool:
    """Whether to connect to an address, given its source.

    No source sends us to a place that is nearer to us than the source is: a peer or tracker of the internet may name
    only addresses of the internet, one of our own network also those of such networks, and only the user and programs
    of this machine may name this machine. Otherwise a list of peers could reach what a firewall protects.

    Args:
        address: (host, port).
        told_by: the IP address of the source; a name counts as an address of the internet. None is the user, who may
            name any peer.
    """
    known = normalise(address)
    return known is not None and (told_by is None or scope_of(told_by) <= scope_of(known[0]))


def kind_of(address: str) -> AddressKind:
    """The kind of an IPv4 or IPv6 address; of one that carries an IPv4 address within it (mapped, 6to4, NAT64), that
    one's.

    Raises:
        ValueError: the text is not an IP address.
    """
    ip = _inner(ip_address(address))
    if ip.is_loopback or ip.is_unspecified or (ip.version == 4 and ip in _THIS_NETWORK):
        # To connect to 0.0.0.0 is to connect to this machine.
        return AddressKind.LOOPBACK
    if ip.is_multicast:
        return AddressKind.MULTICAST
    if ip.is_link_local:
        return AddressKind.LINK_LOCAL
    return AddressKind.PUBLIC if ip.is_global else AddressKind.PRIVATE


def _inner(ip: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    if isinstance(ip, IPv4Address):
        return ip
    if ip in _NAT64:
        return IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.ipv4_mapped or ip.sixtofour or ip


def _known_host(host: Any) -> tuple[str, Scope] | None:
    return _parse_host(host) if isinstance(host, str) and len(host) <= _MAX_LENGTH and host.isprintable() else None


@lru_cache(maxsize=1024)
def _parse_host(host: str) -> tuple[str, Scope] | None:
    """The canonical form of a host, and its scope. Cached, as each address is judged several times."""
    try:
        return _judge(ip_address(host))
    except ValueError:
        return None


def _judge(ip: IPv4Address | IPv6Address) -> tuple[str, Scope] | None:
    if isinstance(ip, IPv6Address):
        if ip.ipv4_mapped is not None:
            ip = ip.ipv4_mapped
        elif ip.scope_id is not None and not ip.is_link_local:
            # A zone means something for link-local addresses only; elsewhere it makes many addresses of one.
            ip = IPv6Address(int(ip))
    return (str(ip), _scope(ip)) if _is_host(ip) else None


def _scope(ip: IPv4Address | IPv6Address) -> Scope:
    if isinstance(ip, IPv6Address) and ip.is_site_local:
        # A deprecated kind, which the versions of Python classify differently.
        return Scope.LOCAL
    return _SCOPES.get(kind_of(str(ip)), Scope.LOCAL)


def _is_host(ip: IPv4Address | IPv6Address) -> bool:
    if ip.is_loopback:
        # The IPv6 one lies in a range that is reserved.
        return True
    if ip.is_multicast or ip.is_unspecified or ip.is_reserved:
        return False
    return not (isinstance(ip, IPv4Address) and ip in _THIS_NETWORK)
